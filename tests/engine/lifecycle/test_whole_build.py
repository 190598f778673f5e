"""Claims about the progress of a build as a whole: it only grows, and says by how much of all work."""

import pytest

from engine.lifecycle.whole_build import KERNEL, MODELS, PARTS, STACKER, as_a_whole, expected_seconds
from engine.settings.schema import Settings


def test_parts_grow_through_all_stages_and_other_reports_pass_as_they_are():
    told = []
    tell = as_a_whole(lambda *news: told.append(news), {KERNEL: 1.0, MODELS: 7.0, STACKER: 2.0})
    tell("reading", 3, None)
    for stage, total in ((KERNEL, 4), (MODELS, 10), (STACKER, 5)):
        for done in range(total + 1):
            tell(stage, done, total)
    assert told[0] == ("reading", 3, None)
    parts = [done for _, done, _ in told[1:]]
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert parts[-1] == PARTS
    assert {total for *_, total in told[1:]} == {PARTS}
    assert ("building, fitting models", 450, PARTS) in told  # the kernel's tenth and half of seven tenths


@pytest.mark.parametrize("members", [("mlp", "lexical", "kernel", "gbdt"), ("gbdt",)])
def test_a_stage_that_a_build_has_not_takes_no_part(members):
    settings = Settings(folds=5, members=members)
    expected = expected_seconds(10_000, settings)
    assert (expected[KERNEL] > 0) == ("kernel" in members)
    assert expected[MODELS] > 0
    more = expected_seconds(20_000, settings)
    assert all(more[stage] > seconds for stage, seconds in expected.items() if seconds)
