"""What errors by bin come to, against counting one by one."""

from bisect import bisect_right
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.eta.accuracy import LIMITS_S, Bin, Score, judged

# The key of a group, an error in seconds, and how much it counts.
samples = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(-90_000, 90_000),
        st.floats(0.001, 1.0),
    ),
    min_size=1,
    max_size=60,
)


def binned(samples: list[tuple[str, float, float]]) -> list[Bin]:
    """Each sample an arrival of its own."""
    bins: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for key, error_s, weight in samples:
        bins[key, bisect_right(LIMITS_S, abs(error_s))].append((error_s, weight))
    return [
        Bin(
            None, key, number, len(some), float(len(some)), float(len(some)),
            sum(w for _, w in some), sum(e * w for e, w in some), sum(abs(e) * w for e, w in some),
            0.0, 0.0, 2 * sum(abs(e) * w for e, w in some), 0.0, 0.0,
        )
        for (key, number), some in bins.items()
    ]  # fmt: skip


def exact(samples: list[tuple[float, float]], part: float) -> float:
    """The smallest error that a part of the weight does not exceed."""
    total = sum(weight for _, weight in samples)
    below = 0.0
    for error_s, weight in sorted((abs(error_s), weight) for error_s, weight in samples):
        below += weight
        if below >= part * total - 1e-9:
            return error_s
    raise AssertionError("the whole weight does not exceed the largest")


def agree(score: Score, samples: list[tuple[float, float]]) -> None:
    total = sum(weight for _, weight in samples)
    mae_s = sum(abs(error_s) * weight for error_s, weight in samples) / total
    assert (score.forecasts, score.arrivals) == (len(samples), len(samples))
    assert score.mae_s == pytest.approx(mae_s, rel=1e-6, abs=0.06)
    bias_s = sum(error_s * weight for error_s, weight in samples) / total
    assert score.bias_s == pytest.approx(bias_s, rel=1e-6, abs=0.06)
    # Medians are as exact as the bins.
    assert score.median_s == pytest.approx(exact(samples, 0.5), rel=0.021, abs=1.06)
    assert score.p90_s == pytest.approx(exact(samples, 0.9), rel=0.021, abs=1.06)


@given(samples)
def test_groups_and_all_of_them_are_what_counting_one_by_one_finds(
    samples: list[tuple[str, float, float]],
) -> None:
    found = judged("lane", binned(samples))
    for group in found.groups:
        agree(group, [(e, w) for key, e, w in samples if key == group.key])
    agree(found.total, [(e, w) for _, e, w in samples])
    assert {group.key for group in found.groups} == {key for key, _, _ in samples}


def test_nothing_to_compare_is_no_error() -> None:
    found = judged("hour", [])
    assert (found.groups, found.total) == ([], Score("all", 0, 0))


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("horizon", ["1-5 min", "10-20 min", "over 120 min"]),
        ("hour", ["2", "11", "23"]),
        ("legs", ["1", "2", "10"]),
    ],
)
def test_what_has_an_order_is_told_in_it(by: str, keys: list[str]) -> None:
    bins = binned([(key, 10.0, 1.0) for key in reversed(keys)])
    assert [group.key for group in judged(by, bins).groups] == keys  # type: ignore[arg-type]


def test_of_others_the_most_frequent_come_first() -> None:
    bins = binned([("rare", 10.0, 1.0), ("often", 20.0, 1.0), ("often", 30.0, 1.0)])
    assert [group.key for group in judged("lane", bins).groups] == ["often", "rare"]
