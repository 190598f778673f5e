"""Claims about the report: what it measures, against the measures themselves, and the keys that scripts rely on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble.cross_fit import HeldOutPredictions
from engine.ensemble.uncertainty.confidence import Spread
from engine.evaluation.report import LEAST_IN_SLICE, SLICES, Evaluation, evaluate
from engine.metrics import bootstrap, coverage, interval_score, median_ape, row_smape, smape
from engine.settings.schema import Settings

ROWS = 250
SETTINGS = Settings(coverage=0.8, seed=0)


def held_out_of(rows=ROWS, seed=0, **changed) -> tuple[HeldOutPredictions, np.ndarray]:
    """Estimates of which the correction takes half of the error, and random neighbours add some."""
    random = np.random.default_rng(seed)
    log_price, error = random.normal(2.7, 1, rows), random.normal(0, 0.6, rows)
    answer = log_price + error / 2
    parts = {
        "stages": {"constant median": np.full(rows, 2.7), "blend": log_price + error, "blend + correction": answer},
        "control": log_price + 1.1 * error,
        "spread": spread_of(answer, random.permutation(np.linspace(0.05, 0.6, rows))),
        "plain": (answer - 0.4, answer + 0.4),
        "similarity": random.random(rows),
        "likeness": random.random(rows),
    }
    return HeldOutPredictions(**{**parts, **changed}), log_price


def spread_of(answer, expected_error) -> Spread:
    """Ends of one width; every tenth row unlike the catalogue, every seventh brief."""
    place = np.arange(len(answer))
    return Spread(
        expected_error, answer - 0.3, answer + 0.5, place % 10 == 3, place % 7 == 5, np.full(len(answer), 0.5)
    )


def report(rows=ROWS, groups=None, **changed) -> Evaluation:
    held_out, log_price = held_out_of(rows, **changed)
    groups = np.arange(rows) if groups is None else groups
    return evaluate(held_out, log_price, groups, SETTINGS, method="out of fold")


def test_every_stage_has_its_smape_and_its_bootstrap_interval():
    held_out, log_price = held_out_of()
    evaluation = report()
    assert list(evaluation.stages) == list(held_out.stages)
    for name, stage in held_out.stages.items():
        score, rows = evaluation.stages[name], row_smape(np.exp(log_price), np.exp(stage))
        assert score.value == pytest.approx(smape(np.exp(log_price), np.exp(stage)))
        assert (score.low, score.high) == bootstrap(rows, groups=np.arange(ROWS), seed=0)
        assert score.low < score.value < score.high
    assert evaluation.smape == evaluation.stages["blend + correction"]


def test_a_frame_has_a_row_for_each_stage():
    evaluation = report()
    frame = evaluation.to_frame()
    assert list(frame.columns) == ["smape", "low", "high"]
    assert list(frame.index) == list(evaluation.stages)
    for name, score in evaluation.stages.items():
        assert tuple(frame.loc[name]) == (score.value, score.low, score.high)


def test_the_answer_is_scored_by_median_ape_coverage_and_width_in_money():
    held_out, log_price = held_out_of()
    evaluation, price = report(), np.exp(log_price)
    assert evaluation.median_ape == pytest.approx(median_ape(price, np.exp(held_out.stages["blend + correction"])))
    assert evaluation.coverage == coverage(price, np.exp(held_out.spread.low), np.exp(held_out.spread.high))
    assert 0.5 < evaluation.coverage < 1
    assert evaluation.width == pytest.approx(np.exp(0.8))
    assert (evaluation.n, evaluation.coverage_wanted, evaluation.method) == (ROWS, 0.8, "out of fold")


def test_a_correction_that_helps_has_a_gain_above_nothing_and_one_that_harms_below():
    helps = report()
    assert 0 < helps.gain.low < helps.gain.value < helps.gain.high
    held_out, log_price = held_out_of()
    turned = {
        **held_out.stages,
        "blend": held_out.stages["blend + correction"],
        "blend + correction": held_out.stages["blend"],
    }
    harms = report(stages=turned)
    assert harms.gain.value == pytest.approx(-helps.gain.value)
    assert harms.gain.high < 0
    blend, answer = (smape(np.exp(log_price), np.exp(held_out.stages[s])) for s in ("blend", "blend + correction"))
    assert helps.gain.value == pytest.approx(blend - answer)


def test_the_control_is_the_gain_of_random_neighbours_and_what_is_beyond_it_the_difference():
    held_out, log_price = held_out_of()
    evaluation, price = report(), np.exp(log_price)
    blend, by_chance = smape(price, np.exp(held_out.stages["blend"])), smape(price, np.exp(held_out.control))
    assert evaluation.control.value == pytest.approx(blend - by_chance)
    assert evaluation.control.high < 0
    assert evaluation.beyond_control.value == pytest.approx(evaluation.gain.value - evaluation.control.value)
    assert 0 < evaluation.beyond_control.low < evaluation.beyond_control.value < evaluation.beyond_control.high


def test_random_neighbours_that_help_as_much_leave_nothing_beyond():
    held_out, _ = held_out_of()
    evaluation = report(control=held_out.stages["blend + correction"])
    assert (evaluation.beyond_control.value, evaluation.beyond_control.low, evaluation.beyond_control.high) == (0, 0, 0)
    assert evaluation.control == evaluation.gain


def test_near_duplicates_are_drawn_together():
    twice = np.tile(np.arange(ROWS), 2)
    held_out, log_price = held_out_of()
    double = {"stages": {name: np.tile(each, 2) for name, each in held_out.stages.items()}}
    double |= {name: np.tile(getattr(held_out, name), 2) for name in ("control", "similarity", "likeness")}
    twofold = {name: np.tile(values, 2) for name, values in vars(held_out.spread).items()}
    double |= {"spread": Spread(**twofold), "plain": None}
    by_group = evaluate(HeldOutPredictions(**double), np.tile(log_price, 2), twice, SETTINGS, method="out of fold")
    alone = evaluate(
        HeldOutPredictions(**double), np.tile(log_price, 2), np.arange(2 * ROWS), SETTINGS, method="out of fold"
    )
    for name in ("smape", "gain", "control", "beyond_control"):
        together, singly = getattr(by_group, name), getattr(alone, name)
        assert together.high - together.low > 1.2 * (singly.high - singly.low)
        assert together.value == pytest.approx(singly.value)


@pytest.mark.parametrize("by", ["by_price", "by_similarity", "by_prediction", "by_expected_error", "by_likeness"])
@pytest.mark.parametrize("rows", [1, LEAST_IN_SLICE, 2 * LEAST_IN_SLICE, 137, ROWS, 999])
def test_slices_take_every_row_once(by, rows):
    evaluation = report(rows)
    slices = getattr(evaluation, by)
    count = np.array([part.n for part in slices])
    assert count.sum() == rows
    assert count.max() - count.min() <= 1
    assert len(slices) == min(max(rows // LEAST_IN_SLICE, 1), SLICES)
    assert np.average([part.smape for part in slices], weights=count) == pytest.approx(evaluation.smape.value)
    assert np.average([part.coverage for part in slices], weights=count) == pytest.approx(evaluation.coverage)
    gains = [part.gain.value for part in slices]
    assert np.average(gains, weights=count) == pytest.approx(evaluation.gain.value)


def test_slices_rise_by_price_and_by_similarity_and_say_from_where_to_where():
    held_out, log_price = held_out_of()
    evaluation = report()
    for slices, values, digits in (
        (evaluation.by_price, np.exp(log_price), 2),
        (evaluation.by_similarity, held_out.similarity, 3),
    ):
        ends = [[float(end) for end in part.label.split(" to ")] for part in slices]
        flat = [end for pair in ends for end in pair]
        assert flat == sorted(flat)
        assert (flat[0], flat[-1]) == (round(values.min(), digits), round(values.max(), digits))


def test_a_slice_is_scored_on_its_own_rows():
    held_out, log_price = held_out_of()
    evaluation = report()
    dearest = np.argsort(log_price)[-evaluation.by_price[-1].n :]
    price, answer = np.exp(log_price[dearest]), held_out.stages["blend + correction"][dearest]
    gain = row_smape(price, np.exp(held_out.stages["blend"][dearest])) - row_smape(price, np.exp(answer))
    part = evaluation.by_price[-1]
    assert part.smape == pytest.approx(smape(price, np.exp(answer)))
    assert part.gain.value == pytest.approx(gain.mean())
    assert part.coverage == coverage(price, np.exp(held_out.spread.low[dearest]), np.exp(held_out.spread.high[dearest]))
    assert part.width == pytest.approx(np.exp(0.8))
    assert part.gain.low < part.gain.value < part.gain.high


def test_rows_without_a_neighbour_are_a_slice_like_any_other():
    held_out, _ = held_out_of()
    evaluation = report(similarity=np.where(np.arange(ROWS) < 100, 0.0, held_out.similarity))
    assert sum(part.n for part in evaluation.by_similarity) == ROWS
    assert evaluation.by_similarity[0].label == "0.000 to 0.000"


def test_slices_by_what_is_known_of_an_item_say_from_where_to_where_in_their_units():
    held_out, _ = held_out_of()
    evaluation = report()
    answer = np.exp(held_out.stages["blend + correction"])
    assert evaluation.by_prediction[0].label.startswith(f"{answer.min():.2f} to ")
    assert evaluation.by_prediction[-1].label.endswith(f" to {answer.max():.2f}")
    assert evaluation.by_expected_error[0].label.startswith("5% to ")
    assert evaluation.by_expected_error[-1].label.endswith(" to 82%")  # exp(0.6) - 1
    assert evaluation.by_likeness[-1].label.endswith(f" to {held_out.likeness.max():.3f}")


def test_the_surest_rows_are_those_of_the_least_expected_error_and_scored_alone():
    held_out, log_price = held_out_of()
    evaluation, price = report(), np.exp(log_price)
    answer = np.exp(held_out.stages["blend + correction"])
    assert [part.covered for part in evaluation.sureness] == [0.1, 0.3, 0.6, 0.9, 1.0]
    for part in evaluation.sureness:
        rows = sorted(range(ROWS), key=lambda row: held_out.spread.expected_error[row])[: round(part.covered * ROWS)]
        off = [abs(answer[row] - price[row]) / price[row] for row in rows]
        for name, share in (("within_10", 0.1), ("within_20", 0.2), ("within_30", 0.3)):
            assert getattr(part, name) == pytest.approx(sum(each <= share for each in off) / len(rows))
        assert part.median_ape == pytest.approx(100 * np.median(off))
        assert part.smape == pytest.approx(smape(price[rows], answer[rows]))
    assert evaluation.sureness[-1].smape == pytest.approx(evaluation.smape.value)


def test_rows_of_a_confidence_are_scored_alone_and_all_are_of_one():
    held_out, log_price = held_out_of()
    evaluation, price, spread = report(), np.exp(log_price), held_out.spread
    answer = np.exp(held_out.stages["blend + correction"])
    word = np.where(spread.expected_error > np.log(1.2), "medium", "high")
    word = np.where((spread.expected_error > np.log(1.4)) | spread.unlike | spread.brief, "low", word)
    assert [part.confidence for part in evaluation.by_confidence] == ["high", "medium", "low"]
    for part in evaluation.by_confidence:
        rows = np.flatnonzero(word == part.confidence)
        assert part.n == len(rows) > 10
        assert part.within_20 == pytest.approx(np.mean(np.abs(answer[rows] / price[rows] - 1) <= 0.2))
        assert part.smape == pytest.approx(smape(price[rows], answer[rows]))
        assert part.coverage == coverage(price[rows], np.exp(spread.low[rows]), np.exp(spread.high[rows]))


def test_a_confidence_that_no_row_has_is_scored_as_nothing():
    held_out, _ = held_out_of()
    answer = held_out.stages["blend + correction"]
    evaluation = report(spread=replace(held_out.spread, expected_error=np.full(len(answer), 0.9)))
    high, medium, low = evaluation.by_confidence
    assert (high.n, high.within_20, high.smape, high.coverage) == (0, None, None, None)
    assert medium.n == 0 and low.n == ROWS
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_the_interval_is_scored_beside_that_by_the_level_of_the_price_alone():
    held_out, log_price = held_out_of()
    evaluation, spread = report(), held_out.spread
    assert evaluation.interval_score == pytest.approx(interval_score(log_price, spread.low, spread.high, 0.8))
    assert evaluation.interval_score_by_level == pytest.approx(interval_score(log_price, *held_out.plain, 0.8))
    assert report(plain=None).interval_score_by_level is None


def test_json_has_exactly_the_keys_of_the_contract_first():
    document = report().to_json()
    contract = ["n", "smape", "smape_low", "smape_high", "median_ape", "coverage", "stages"]
    assert list(document)[:7] == contract
    assert all(isinstance(document[key], int | float) for key in contract[:-1])
    assert all(isinstance(value, float) for value in document["stages"].values())


def test_json_says_what_the_report_says():
    held_out, log_price = held_out_of()
    settings = Settings(coverage=0.8, seed=4)
    evaluation = evaluate(held_out, log_price, np.arange(ROWS), settings, method="x", notes=("one", "two"))
    document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    best = evaluation.smape
    assert [document[key] for key in ("smape", "smape_low", "smape_high")] == [best.value, best.low, best.high]
    assert (document["n"], document["method"], document["seed"], document["notes"]) == (ROWS, "x", 4, ["one", "two"])
    assert document["stages"] == {name: score.value for name, score in evaluation.stages.items()}
    assert document["stage_intervals"]["blend"] == [evaluation.stages["blend"].low, evaluation.stages["blend"].high]
    for name in ("gain", "control", "beyond_control"):
        score = getattr(evaluation, name)
        assert document[name] == {"value": score.value, "low": score.low, "high": score.high}
    assert [part["n"] for part in document["by_price"]] == [part.n for part in evaluation.by_price]
    assert document["by_similarity"][0]["gain"]["value"] == evaluation.by_similarity[0].gain.value
    assert (document["coverage"], document["coverage_wanted"]) == (evaluation.coverage, 0.8)
    assert (document["median_ape"], document["width"]) == (evaluation.median_ape, evaluation.width)


def test_the_seed_decides_the_intervals_and_no_value():
    held_out, log_price = held_out_of()
    one, same, other = (
        evaluate(held_out, log_price, np.arange(ROWS), Settings(coverage=0.8, seed=seed), method="out of fold")
        for seed in (0, 0, 1)
    )
    assert one == same
    assert one.smape.value == other.smape.value
    assert one.smape.low != other.smape.low
