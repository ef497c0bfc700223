"""Quotas: exact over time in one process, and paid back where several let in too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.rates import Quota, Rates


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rates(clock: Clock, limit: int = 6, window_s: float = 60) -> Rates:
    return Rates({"key": Quota(limit, window_s)}, clock)


def taken(of: Rates, n: int, who: str = "a") -> list[bool]:
    verdicts = [of.take("key", who) for _ in range(n)]
    return [verdict is not None and verdict.admitted for verdict in verdicts]


def test_the_quota_may_be_used_at_once_and_comes_back_evenly(clock: Clock) -> None:
    of = rates(clock)
    assert taken(of, 8) == [True] * 6 + [False] * 2
    clock.now += 9.9
    assert taken(of, 1) == [False]
    clock.now += 0.1
    assert taken(of, 2) == [True, False]
    clock.now += 60
    assert taken(of, 7) == [True] * 6 + [False]


def test_a_verdict_tells_what_is_left_and_when_to_come_back(clock: Clock) -> None:
    of = rates(clock)
    first = of.take("key", "a")
    assert first is not None
    assert first.remaining == 5
    assert first.reset_s == pytest.approx(10)
    taken(of, 5)
    clock.now += 4
    refused = of.take("key", "a")
    assert refused is not None
    assert (refused.admitted, refused.remaining) == (False, 0)
    assert refused.retry_s == pytest.approx(6)
    assert refused.reset_s == pytest.approx(56)
    assert of.look("key", "a") == refused


def test_looking_takes_nothing(clock: Clock) -> None:
    of = rates(clock)
    taken(of, 5)
    assert [of.look("key", "a") for _ in range(3)][-1] == of.look("key", "a")
    assert taken(of, 2) == [True, False]


def test_nobody_uses_the_quota_of_another(clock: Clock) -> None:
    of = rates(clock)
    assert taken(of, 7)[-1] is False
    assert taken(of, 6, "b") == [True] * 6


def test_zero_is_no_quota(clock: Clock) -> None:
    assert rates(clock, limit=0).take("key", "a") is None
    assert rates(clock).take("other", "a") is None


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 20))
def test_no_window_ever_lets_in_more_than_twice_the_quota(waits: list[float], limit: int) -> None:
    """A full quota at its start, and what comes back during it: never more."""
    clock = Clock()
    of = rates(clock, limit)
    admitted: list[float] = []
    for wait in waits:
        clock.now += wait
        if taken(of, 1) == [True]:
            admitted.append(clock.now)
    for start in admitted:
        within = [moment for moment in admitted if start <= moment < start + 60]
        assert len(within) <= 2 * limit


def test_what_others_let_in_counts_and_a_debt_is_waited_for(clock: Clock) -> None:
    of = rates(clock)
    taken(of, 2)
    charges = of.charges()
    assert [charge[:2] for charge in charges] == [("key", "a")]
    assert charges[0].used_s == pytest.approx(20)
    taken(of, 1)
    # Others let in seven in the same moment, so that together they are two beyond the quota.
    of.settle(charges, [90.0])
    assert taken(of, 1) == [False]
    (still,) = of.charges()
    assert still.used_s == pytest.approx(10)
    of.settle([still], [100.0])
    clock.now += 49.9
    assert taken(of, 1) == [False]
    clock.now += 0.2
    assert taken(of, 1) == [True]


def test_what_could_not_be_told_is_told_later(clock: Clock) -> None:
    of = rates(clock)
    taken(of, 2)
    of.restore(of.charges())
    taken(of, 1)
    (charge,) = of.charges()
    assert charge.used_s == pytest.approx(30)
    of.restore([charge])
    clock.now += 100
    of.restore(of.charges())
    assert of.charges() == []


def test_who_asks_no_more_is_forgotten(clock: Clock) -> None:
    of = rates(clock)
    for i in range(1_000):
        taken(of, 1, str(i))
    clock.now += 60
    charges = of.charges()
    of.settle(charges, [0.0] * len(charges))
    assert len(of._accounts) == 0
