"""Every error that this project raises for its users, as one tree.

    PriceError              a fault of ours                                   exit 1
    +-- UsageError          an option, setting or name that cannot be used    exit 2
    +-- DataRefused         the user's data cannot be worked with             exit 3
    +-- IndexUnusable       the index is missing, damaged or of another kind  exit 4
    +-- DownloadNeeded      weights or a file are not here and cannot be had  exit 6
    +-- IndexLocked         another writer holds the index                    exit 75

The message is one sentence, or two: what happened, and what to do. `exit_code` is what the command line returns.
"""


class PriceError(Exception):
    """Base of every error with a message meant for the user."""

    exit_code = 1


class UsageError(PriceError):
    """An option, setting, preset or encoder name that cannot be used as given."""

    exit_code = 2


class DataRefused(PriceError):
    """A catalogue, a query or a labelled file that cannot be worked with."""

    exit_code = 3


class IndexUnusable(PriceError):
    """An index that is missing, half-built, damaged, or made by another format or encoder."""

    exit_code = 4


class DownloadNeeded(PriceError):
    """Weights that are not on this machine and could not be fetched."""

    exit_code = 6


class IndexLocked(PriceError):
    """An index that another process is writing."""

    exit_code = 75
