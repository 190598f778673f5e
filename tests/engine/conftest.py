"""Made-up items for the tests of the engine: an easy law of price, and inputs that tell of it."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.features.inputs import NUMBERS, Inputs

WORDS = 40
DEAR = 4  # a word that says what an item costs, beside the four that say what kind of thing it is


@pytest.fixture
def make_items():
    """rows -> (inputs, log price). Names and words tell the kind; a third of the items has no photograph."""

    def make(rows, seed=0):
        random = np.random.default_rng(seed)
        kind = random.integers(0, 4, rows)
        name = unit_rows(np.eye(4, 6)[kind] + random.normal(0, 0.1, (rows, 6)))
        photo = unit_rows(random.normal(size=(rows, 5)))
        photo[random.random(rows) < 1 / 3] = 0
        words = (random.random((rows, WORDS)) < 0.15).astype(np.float32)
        words[:, :4] = np.eye(4)[kind]
        numbers = random.normal(size=(rows, len(NUMBERS))).astype(np.float32)
        inputs = Inputs({"name": name, "photo": photo}, numbers, random.integers(0, 3, rows), csr_matrix(words))
        log_price = 2 + 0.8 * kind + 0.4 * words[:, DEAR] + 0.2 * numbers[:, 0]
        return inputs, (log_price + random.normal(0, 0.05, rows)).astype(np.float64)

    return make


def unit_rows(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
