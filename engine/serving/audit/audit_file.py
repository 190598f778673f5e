"""Write the audit of an index to a file: the whole of `price audit`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.serving.audit.audit import Audit, audit_rows
from engine.serving.listings.columns import AUDIT, Column, Kind
from engine.serving.listings.files import refuse_other_files, write_listing
from engine.serving.listings.listing import Listing
from engine.serving.pricer import Pricer
from engine.serving.scorable import scorable_rows
from index.errors import UsageError
from index.files import PARTIAL, atomic_write
from index.progress import OnProgress, silent
from index.storage.generations import lease_generation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

BATCH = 2_000  # rows that are written at once
SUMMARY = (
    Column("reason", Kind.TEXT, "Likely reason", "The kind of fault.", 24),
    Column("rows", Kind.NUMBER, "Rows", "Rows of the audit."),
)


@dataclass(frozen=True)
class AuditResult:
    """Result of an audit that was written to a file."""

    audit: Audit
    output: Path
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {**self.audit.to_json(), "output": str(self.output), "seconds": self.seconds}


def audit_file(index_dir: Path, out: Path, *, overwrite: bool = False, on_progress: OnProgress = silent) -> AuditResult:
    """Audit an index into `out`. UsageError for a file that is there without `overwrite`, or cannot be written."""
    started, out = time.monotonic(), out.absolute()
    refuse_other_files(out)
    if out.exists() and not (overwrite and out.is_file()):
        raise UsageError(f"{out} exists already: name another --output, or replace it with --overwrite.")
    on_progress("opening", 0, None)

    lease = lease_generation(index_dir)
    pricer = Pricer(lease.folder)
    on_progress("auditing", 0, None)
    audit = audit_rows(scorable_rows(lease), pricer.reference, pricer.model.parameters)

    def batches() -> Iterator[pa.Table]:
        return (audit.table.slice(first, BATCH) for first in range(0, audit.table.num_rows, BATCH))

    rows = sorted(audit.reasons.items(), key=lambda item: -item[1])
    listing = Listing("Audit", "item_id", AUDIT, audit.table.num_rows, batches, audit.currency, SUMMARY, rows)
    scratch = out.with_name(f".{out.name}{PARTIAL}.scratch")
    try:
        with atomic_write(out) as partial:
            write_listing(partial, out.suffix, listing, scratch)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written ({error.strerror or error}): mend that, or name another --output."
        ) from error
    return AuditResult(audit, out, time.monotonic() - started)
