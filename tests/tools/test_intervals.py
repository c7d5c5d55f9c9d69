"""Bootstrap intervals against values worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from doll_tools.intervals import crossed_interval


def _crossed(values: list[list[float]], **arguments: int) -> tuple[float, float, float]:
    """A row a seed; every column is a patient."""
    seeds, patients = np.indices(np.shape(values))
    return crossed_interval(np.ravel(values), patients.ravel(), seeds.ravel(), **arguments)


def test_interval_is_that_of_all_possible_draws() -> None:
    values = np.array([[0.0, 0.3, 1.0], [0.5, 0.2, 0.9]])
    draws = [
        values[np.ix_(seeds, images)].mean()
        for seeds in itertools.product(range(2), repeat=2)
        for images in itertools.product(range(3), repeat=3)
    ]
    mean, low, high = _crossed(values.tolist(), resamples=40000)
    assert mean == pytest.approx(values.mean())
    assert [low, high] == pytest.approx(np.quantile(draws, [0.025, 0.975], method="inverted_cdf"), abs=0.03)


def test_without_seeds_it_is_scipys_bootstrap_of_patients() -> None:
    values, patients = np.random.default_rng(3).random(30), np.arange(30) // 3
    sums, counts = values.reshape(10, 3).sum(1), np.full(10, 3)
    expected = stats.bootstrap(
        (sums, counts), lambda a, b: a.sum() / b.sum(), paired=True, vectorized=False, method="percentile", rng=0
    ).confidence_interval
    for seeds in (None, np.zeros(30)):
        mean, low, high = crossed_interval(values, patients, seeds, 20000)
        assert (mean, low, high) == pytest.approx((values.mean(), expected.low, expected.high), abs=0.01)


def test_rows_of_one_patient_count_as_one() -> None:
    """Ten equal rows a patient: as wide as with one row, and sqrt(10) times as wide as if all were patients."""
    values = np.random.default_rng(0).normal(0.0, 1.0, 100)
    one = crossed_interval(values, range(100))
    ten = crossed_interval(np.repeat(values, 10), np.repeat(range(100), 10))
    apart = crossed_interval(np.repeat(values, 10), range(1000))
    assert ten == pytest.approx(one)
    assert (one[2] - one[1]) / (apart[2] - apart[1]) == pytest.approx(math.sqrt(10), rel=0.1)


def test_seeds_that_differ_widen_the_interval() -> None:
    alike = _crossed([[0.4, 0.6, 0.5]] * 4)
    apart = _crossed([[0.4 + d, 0.6 + d, 0.5 + d] for d in (-0.3, -0.1, 0.1, 0.3)])
    assert alike[0] == pytest.approx(apart[0])
    assert apart[2] - apart[1] > 1.5 * (alike[2] - alike[1])


def test_mean_is_over_rows_not_patients_and_empty_values_are_left_out() -> None:
    assert crossed_interval([1.0, 1.0, 1.0, 0.0, math.nan], list("aaabb")) == (0.75, 0.0, 1.0)


@pytest.mark.parametrize(("values", "mean"), [([], math.nan), ([math.nan], math.nan), ([0.5, 0.7], 0.6)])
def test_one_patient_gives_no_interval(values: list[float], mean: float) -> None:
    found = crossed_interval(values, ["a"] * len(values), range(len(values)))
    assert found == pytest.approx((mean, math.nan, math.nan), nan_ok=True)


def test_the_seed_decides_the_draws() -> None:
    first, same, other = (crossed_interval(np.arange(20.0) % 7, range(20), seed=seed) for seed in (3, 3, 4))
    assert first == same != other
