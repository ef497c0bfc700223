"""Following a way: left, found again, driven the wrong way round; and what is none of these."""

import random
from collections.abc import Iterable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.route.follow import (
    Fix,
    Following,
    Ground,
    Thresholds,
    Transition,
    follow,
    progress_of,
)
from tracking.route.line import Line

# Along the equator a thousandth of a degree is 111 m; 22 km in all.
STEP_DEG, STEP_M = 0.001, 111.32
STRAIGHT = Line.of([(5.0, 0.0), (5.2, 0.0)])
USUAL = Thresholds(detect_m=150.0, clear_m=75.0, n=3, of_m=5)
_states = msgspec.json.Decoder(Following)

Place = tuple[float, float]  # steps east, steps north


def fixes(places: Iterable[Place], accuracy_m: float | None = 8.0) -> list[Fix]:
    """A fix each 10 s."""
    return [
        Fix(10_000_000 * i, -1, "gps", 5.0 + STEP_DEG * east, STEP_DEG * north, accuracy_m)
        for i, (east, north) in enumerate(places)
    ]


def run(
    given_: Iterable[Fix], line: Line = STRAIGHT, thresholds: Thresholds = USUAL
) -> tuple[Following, list[Transition]]:
    state, told = Following(), []
    for fix in given_:
        state, new = follow(line, thresholds, state, fix)
        told += new
    return state, told


def changes(told: Iterable[Transition]) -> list[tuple[str, int]]:
    """What changed and at which fix."""
    return [(one.change, one.first.time_us // 10_000_000) for one in told]


def east(start: float, end: float, north: float = 0.0, step: float = 1.0) -> Iterator[Place]:
    at = start
    while (end - at) * step > 0:
        yield at, north
        at += step


WRONG_TURN = [
    *east(0, 20), *((20.0, 1.0 * i) for i in range(1, 11)), *((20.0, 10.0 - i) for i in range(10)),
    *east(20, 60),
]  # fmt: skip


def test_a_wrong_turn_is_dated_where_it_began_and_ends_where_it_came_back() -> None:
    state, told = run(fixes(WRONG_TURN))
    # 111 m beside it is not yet off; 222 m is. Back is within 75 m.
    assert changes(told) == [("deviated", 21), ("rejoined", 40)]
    off, back = told
    assert [round(seen.offset_m) for seen in off.fixes] == [221, 332, 442]
    assert (off.first.lon, off.first.lat) == pytest.approx((5.02, 0.002))
    assert off.confirmed == (230_000_000, -1)
    assert {seen.vote for seen in back.fixes} == {"on"}
    assert (state.off, state.opposite) == (False, False)
    shown = progress_of(state)
    assert shown is not None
    assert shown.progress_m == pytest.approx(59 * STEP_M, abs=1)


def test_going_to_a_stop_beside_the_way_is_not_leaving_it_but_going_on_from_there_is() -> None:
    # 334 m beside it.
    stop = Ground(5.02, 0.003, 50.0)
    there = [*east(0, 20), *((20.0, 0.5 * i) for i in range(1, 7))]
    back = [*there, *((20.0, 3.0 - 0.5 * i) for i in range(1, 7)), *east(20, 60)]
    onward = [*there, *((20.0, 3.0 + 1.0 * i) for i in range(1, 8))]
    usual = USUAL._replace(stops=(stop, Ground(5.19, 0.0, 150.0)))
    assert changes(run(fixes(back))[1]) == [("deviated", 22), ("rejoined", 30)]
    assert changes(run(fixes(back), thresholds=usual)[1]) == []
    assert changes(run(fixes(onward), thresholds=usual)[1]) == [("deviated", 29)]


def test_who_turns_round_on_the_way_drives_in_the_opposite_direction_until_turning_again() -> None:
    places = [*east(0, 50), *east(50, 30, step=-1), *east(30, 80)]
    state, told = run(fixes(places))
    # 50 m are allowed, so the first fix behind the furthest begins it.
    assert changes(told) == [("reversed", 51), ("resumed", 71)]
    assert state.progress_m == pytest.approx(79 * STEP_M, abs=1)
    assert not state.opposite


def test_standing_and_creeping_is_no_turn() -> None:
    rng = random.Random(7)
    creeping = [(30 + rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4)) for _ in range(500)]
    state, told = run(fixes([*east(0, 30), *creeping]))
    assert told == []
    assert state.progress_m is not None
    assert 29.5 * STEP_M < state.progress_m < 30.5 * STEP_M


def test_a_single_stray_fix_and_a_jump_back_are_nothing() -> None:
    places = [*east(0, 30), (30.0, 40.0), *east(31, 40), (20.0, 0.0), (20.0, 0.0), *east(42, 50)]
    assert run(fixes(places))[1] == []


def test_an_inaccurate_fix_is_no_evidence_unless_it_is_far_away_all_the_same() -> None:
    places = [*east(0, 10), *east(10, 20, north=3.0)]
    assert changes(run(fixes(places, accuracy_m=300.0))[1]) == []
    assert changes(run(fixes(places, accuracy_m=100.0))[1]) == [("deviated", 10)]
    assert changes(run(fixes(places, accuracy_m=None))[1]) == [("deviated", 10)]
    far = [*east(0, 10), *east(10, 20, north=9.0)]
    assert changes(run(fixes(far, accuracy_m=300.0))[1]) == [("deviated", 10)]


def test_a_tunnel_is_no_deviation() -> None:
    passed = fixes([*east(0, 20), *east(100, 120)])
    late = [*passed[:20], *(fix._replace(time_us=fix.time_us + 400_000_000) for fix in passed[20:])]
    state, told = run(late)
    assert told == []
    assert state.progress_m == pytest.approx(119 * STEP_M, abs=1)


def test_from_a_depot_beside_the_way_it_may_come_to_it() -> None:
    yard = [*((0.0, 5.0 - i) for i in range(5)), *east(0, 20)]
    assert run(fixes(yard))[1] == []
    away = [(0.0, 5.0 + i) for i in range(20)]
    assert changes(run(fixes(away))[1]) == [("deviated", 10)]


def test_a_loop_of_the_way_that_passes_near_is_no_short_cut() -> None:
    # Out on one road and back on another one, 60 m beside it.
    line = Line.of([(5.0, 0.0), (5.1, 0.0), (5.1, 0.00054), (5.0, 0.00054)])
    there = [(float(i), 0.0) for i in range(101)]
    back = [(100.0 - i, 0.54) for i in range(101)]
    halfway, told = run(fixes(there[:60]), line)
    assert told == []
    assert halfway.progress_m == pytest.approx(59 * STEP_M, abs=1)
    state, told = run(fixes([*there, *back]), line)
    assert told == []
    assert state.progress_m == pytest.approx(line.length_m, abs=60)


def test_who_begins_nearer_to_the_way_back_begins_the_way_out() -> None:
    line = Line.of([(5.0, 0.0), (5.1, 0.0), (5.1, 0.0001), (5.0, 0.0001)])
    state, told = run(fixes([(float(i), 0.1) for i in range(30)]), line)
    assert told == []
    assert state.progress_m == pytest.approx(29 * STEP_M, abs=1)


def test_a_few_fixes_nearer_to_a_later_part_of_the_way_are_no_leap_to_it() -> None:
    # Back 111 m beside the way out; some fixes on the way out stray towards it.
    line = Line.of([(5.0, 0.0), (5.1, 0.0), (5.1, 0.001), (5.0, 0.001)])
    state, told = run(fixes([*east(0, 30), *east(30, 33, north=0.8), *east(33, 40)]), line)
    assert told == []
    assert state.progress_m == pytest.approx(39 * STEP_M, abs=1)
    strayed, _ = run(fixes([*east(0, 30), *east(30, 33, north=0.8)]), line)
    assert strayed.progress_m == pytest.approx(29 * STEP_M, abs=1)


def test_there_and_back_on_one_road_is_no_opposite_direction() -> None:
    line = Line.of([(5.0, 0.0), (5.1, 0.0), (5.0, 0.0)])
    state, told = run(fixes([*east(0, 100), *east(100, 0, step=-1)]), line)
    assert told == []
    assert state.progress_m == pytest.approx(line.length_m - STEP_M, abs=1)


_PLACES = st.lists(st.tuples(st.floats(-5, 60), st.floats(-4, 4)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(_PLACES, st.data())
def test_wherever_it_is_interrupted_and_kept_it_goes_on_as_if_it_had_not_been(
    places: list[Place], data: st.DataObject
) -> None:
    whole = fixes(places)
    cut = data.draw(st.integers(0, len(whole)))
    state, told = run(whole[:cut])
    state = _states.decode(msgspec.json.encode(state))
    for fix in whole[cut:]:
        state, new = follow(STRAIGHT, USUAL, state, fix)
        told += new
    assert (state, told) == run(whole)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.6, 0.6)), min_size=50, max_size=80))
def test_jitter_within_the_clear_distance_never_raises_anything(jitter: list[Place]) -> None:
    # Up to 33 m along and 67 m beside it.
    places = [(0.5 * i + along, beside) for i, (along, beside) in enumerate(jitter)]
    assert run(fixes(places))[1] == []


@settings(max_examples=60, deadline=None)
@given(_PLACES)
def test_changes_alternate_and_each_takes_as_many_fixes_as_are_wanted(places: list[Place]) -> None:
    told = run(fixes(places))[1]
    sides = [one.change for one in told if one.change in {"deviated", "rejoined"}]
    turns = [one.change for one in told if one.change in {"reversed", "resumed"}]
    assert sides == [("deviated", "rejoined")[i % 2] for i in range(len(sides))]
    assert turns == [("reversed", "resumed")[i % 2] for i in range(len(turns))]
    assert len(sides) <= len(places) / USUAL.n
    assert len(turns) <= len(places) / 3
