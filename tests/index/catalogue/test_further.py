"""Claims about further columns: what a cell holds that was given for one."""

import pytest

from index.catalogue.further import further_cell
from index.errors import UsageError


@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_number_beyond_all_that_are_held_is_refused_by_name(sign: int) -> None:
    """JSON has no largest number."""
    with pytest.raises(UsageError, match=r"x is -?10{400}, and the index reads numbers there"):
        further_cell("number:x", sign * 10**400)
