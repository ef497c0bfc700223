"""What people are told of a forecast: no flapping, nothing held back, nothing that has passed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tracking.estimates import StopEstimate
from tracking.eta.itinerary import Ahead
from tracking.eta.spread import Spread
from tracking.eta.telling import step_of, told

START_S = 1_764_000_000.0
OFF_S = st.floats(-1_800.0, 1_800.0)


def ahead(arrive_s: float, *, early_s: float = 300.0, late_s: float = 600.0) -> Ahead:
    arrive = Spread(arrive_s - early_s, arrive_s, arrive_s + late_s)
    leave = arrive.plus(Spread(150.0, 300.0, 500.0))
    return Ahead(
        0, arrive, leave, 1, 10_000.0, arrive_s - START_S, 0.0, 1_000.0, 0.0, 10_000.0, "detour",
        None,
    )  # fmt: skip


def tell(before: StopEstimate | None, arrive_s: float, now_s: float, **how: bool) -> StopEstimate:
    return told(before, ahead(arrive_s), now_s, model=0, **how)


@given(st.lists(st.floats(-119.0, 119.0), max_size=40), st.floats(3_000.0, 3_600.0))
def test_noise_around_one_arrival_is_never_told(noise_s: list[float], left_s: float) -> None:
    arrive_s = START_S + left_s
    # Half a minute is lost by rounding.
    first = tell(None, arrive_s, START_S)
    estimate = first
    for i, off_s in enumerate(noise_s):
        estimate = tell(estimate, arrive_s + off_s, START_S + 10.0 * i)
        assert estimate.arrive == first.arrive


@given(st.floats(400.0, 7_000.0), st.floats(1.05, 2.9), st.booleans())
def test_a_shift_is_told_at_the_second_look_a_jump_at_the_first(
    left_s: float,
    steps: float,
    later: bool,  # noqa: FBT001 -- drawn
) -> None:
    first = tell(None, START_S + left_s, START_S)
    off_s = (steps * step_of(left_s) + 30.0) * (1 if later else -0.6)
    shifted_s = max(START_S + left_s + off_s, START_S + 1.0)
    if abs(shifted_s - first.arrive.timestamp()) <= step_of(shifted_s - START_S):
        return
    second = tell(tell(first, shifted_s, START_S), shifted_s, START_S)
    assert abs(second.arrive.timestamp() - shifted_s) <= 30.0
    jumped_s = START_S + left_s + 3 * step_of(10 * left_s) + 60.0
    assert abs(tell(first, jumped_s, START_S).arrive.timestamp() - jumped_s) <= 30.0


def test_one_wild_look_is_not_told() -> None:
    first = tell(None, START_S + 3_000.0, START_S)
    for _ in range(5):
        wild = tell(first, START_S + 3_900.0, START_S)
        assert wild.arrive == first.arrive
        first = tell(wild, START_S + 3_000.0, START_S)
        assert first.away[0] == 0


@given(st.lists(OFF_S, min_size=1, max_size=60), st.floats(60.0, 7_200.0))
def test_what_is_told_is_whole_minutes_in_order_and_moves_by_one_or_more(
    off_s: list[float], left_s: float
) -> None:
    estimates: list[StopEstimate] = []
    for i, off in enumerate(off_s):
        now_s = START_S + 60.0 * i
        forecast_s = max(START_S + left_s + off, now_s + 1.0)
        estimates.append(tell(estimates[-1] if estimates else None, forecast_s, now_s))
        last = estimates[-1]
        assert last.arrive.second == last.early.second == last.late.second == 0
        assert last.early <= last.arrive <= last.late
        assert last.arrive <= last.depart
        assert last.p10 <= last.p50 <= last.p90
        assert last.arrive.timestamp() > now_s - 60.0, "it has passed"
    for before, after in pairwise(estimates):
        moved_s = abs((after.arrive - before.arrive).total_seconds())
        assert moved_s == 0 or moved_s >= 60.0


def test_what_people_know_of_is_told_at_once() -> None:
    first = tell(None, START_S + 3_000.0, START_S)
    assert tell(first, START_S + 3_090.0, START_S).arrive == first.arrive
    moved = tell(first, START_S + 3_090.0, START_S, at_once=True)
    assert (moved.arrive - first.arrive).total_seconds() == 120.0
    assert tell(moved, START_S + 3_070.0, START_S, at_once=True).arrive == moved.arrive


def test_a_range_that_narrows_is_told_though_the_arrival_stays() -> None:
    first = tell(None, START_S + 1_200.0, START_S)
    narrow = ahead(START_S + 1_200.0, early_s=30.0, late_s=60.0)
    again = told(told(first, narrow, START_S, model=0), narrow, START_S, model=0)
    assert again.arrive == first.arrive
    assert (again.late - again.early).total_seconds() <= 180.0
    assert again.basis == first.basis
