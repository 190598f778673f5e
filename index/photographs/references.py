"""STUB"""

import re


def first_reference(cell: str) -> str:
    return re.split(r"[|;\n]|, ?(?=https?://|//)", cell.strip())[0].strip()
