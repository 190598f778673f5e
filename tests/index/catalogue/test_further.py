"""Claims about further columns: what a cell holds that was given for one."""

import pytest

from index.catalogue.further import further_cell
from index.catalogue.shops.values import read_number
from index.errors import UsageError


@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_number_beyond_all_that_are_held_is_refused_by_name(sign: int) -> None:
    """JSON has no largest number."""
    with pytest.raises(UsageError, match=r"x is -?10{400}, and the index reads numbers there"):
        further_cell("number:x", sign * 10**400)


@pytest.mark.parametrize("cell", ["1e29", "-1e29", "1e30", "1e300", "-1e300", "nan", "inf"])
def test_a_number_that_is_given_holds_what_a_file_s_cell_would_hold(cell: str) -> None:
    """Beyond float32, in which the models read numbers, XGBoost refuses the whole table."""
    assert further_cell("number:x", cell) == further_cell("number:x", float(cell)) == read_number(cell)
