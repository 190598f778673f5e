"""Claims about the rows of a report: their comparables are those that corrected them, added rows or none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.ensemble.cross_fit import Answer, answer_out_of_fold
from engine.evaluation import index_figures as figures_module
from engine.evaluation.index_figures import HeldOutRow, index_figures
from engine.serving.pricer import Pricer
from engine.serving.scorable import open_scorable_rows

Price = Callable[..., Any]


@pytest.fixture(scope="module")
def index(shop: Any, run_price: Price, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index to which rows were added since the build, which are in no score."""
    folder = Path(shutil.copytree(shop.index, tmp_path_factory.mktemp("figures") / "index"))
    assert run_price("add", shop.holdout, "--image-dir", shop.images, "--index", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def shown(index: Path) -> tuple[HeldOutRow, ...]:
    """All scored rows, each with all its comparables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures_module, "MOST_ROWS", 10_000)
        patch.setattr(figures_module, "MOST_COMPARABLES", 10_000)
        figures = index_figures(index)
    return (*figures.worst, *figures.best)


@pytest.fixture(scope="module")
def scored(index: Path) -> tuple[list[str], Answer]:
    """Ids of the scored rows, and what is known of their correction."""
    rows = open_scorable_rows(index)
    answer = answer_out_of_fold(rows.oof, rows.log_price, rows.search_vectors, rows.settings)
    ids = Pricer.open(index).reference.ids()
    return [ids[number] for number in rows.number], answer


def test_comparables_with_their_weights_give_the_correction(
    shown: tuple[HeldOutRow, ...], scored: tuple[list[str], Answer]
) -> None:
    ids, answer = scored
    place = {item_id: row for row, item_id in enumerate(ids)}
    assert len(shown) >= len(ids) - 1 and len(set(answer.parameters_by_fold)) > 1
    corrected = 0
    for row in shown:
        at = place[row.item_id]
        fold = answer.task.fold[at]
        residual = answer.task.residual[fold]
        moved = sum(comparable.weight * residual[place[comparable.item_id]] for comparable in row.quote.comparables)
        shift = answer.parameters_by_fold[fold].alpha * moved
        assert np.log(row.quote.price) == pytest.approx(answer.task.base[at] + shift, abs=1e-9)
        assert sum(c.weight for c in row.quote.comparables) == pytest.approx(float(bool(row.quote.comparables)))
        corrected += bool(row.quote.comparables)
    assert corrected > len(shown) / 2


def test_comparables_lie_in_the_band_of_their_fold_around_the_price_before_the_correction(
    shown: tuple[HeldOutRow, ...], scored: tuple[list[str], Answer]
) -> None:
    ids, answer = scored
    place = {item_id: row for row, item_id in enumerate(ids)}
    for row in shown:
        at = place[row.item_id]
        own = answer.parameters_by_fold[answer.task.fold[at]]
        assert len(row.quote.comparables) <= own.k
        for comparable in row.quote.comparables:
            assert abs(np.log(comparable.price) - answer.task.base[at]) <= own.band + 1e-6
