"""STUB"""
from dataclasses import dataclass
import datetime as dt
@dataclass(frozen=True)
class DateConvention:
    note: str = ""
    def read(self, cell: str | None) -> dt.date:
        return dt.date.fromisoformat((cell or "").strip())
def decide_dates(cells) -> DateConvention:
    return DateConvention()
