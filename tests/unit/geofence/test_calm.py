"""The machine that decides when a device has entered or left."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from itertools import pairwise
from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.calm import (
    OUTSIDE,
    Calm,
    Change,
    Glance,
    Presence,
    Profile,
    Seen,
    Verdict,
    forgotten,
    observe,
    settled,
)
from geofence.shapes import Kind
from tests.calm_study.machines import naive_turns
from tests.calm_study.parked import INTERVAL_S, NOISES, parked, stay

YARD = 7
NEIGHBOUR = 8
S = 1_000_000
START = 1_700_000_000 * S
ZONE = Calm.of(kind=Kind.POLYGON, inradius_m=1_000.0, layer=False)
POI = Calm.of(kind=Kind.CIRCLE, inradius_m=100.0, layer=False)


def fix(
    at_s: float,
    depth_m: float,
    presence: Presence,
    *,
    accuracy_m: float = nan,
    interval_s: float = 15.0,
    inradius_m: float = 1_000.0,
) -> Seen:
    """A fix `depth_m` inside the yard, negative outside, as the machine of `presence` sees it."""
    target = YARD if depth_m >= 0.0 else OUTSIDE
    away_m = depth_m if presence.zone == OUTSIDE else -depth_m
    time_us = START + round(at_s * S)
    return Seen(time_us, at_s, depth_m, accuracy_m, interval_s, target, away_m, inradius_m)


def walk(
    presence: Presence, depths_m: Iterable[float], calm: Calm = ZONE, *, step_s: float = 15.0
) -> list[Change]:
    """Show fixes `step_s` apart at these depths; the changes."""
    changes = [
        observe(presence, fix(i * step_s, depth_m, presence, interval_s=step_s), calm)
        for i, depth_m in enumerate(depths_m)
    ]
    return [change for change in changes if change is not None]


def test_an_entry_is_dated_at_the_first_fix_inside_not_at_the_one_that_confirmed_it() -> None:
    presence = Presence(YARD)
    (change,) = walk(presence, [-200, -40, 5, 12, 60])
    assert change == Change(OUTSIDE, YARD, START + 30 * S, 30.0, 5.0, 60.0)
    assert (presence.zone, presence.since_us) == (YARD, START + 30 * S)


def test_a_fix_on_the_other_side_that_is_not_beyond_the_buffer_changes_nothing() -> None:
    presence = Presence(YARD)
    assert walk(presence, [-40, 19, -15, 19, -3]) == []
    assert settled(presence)


def test_leaving_needs_the_buffer_as_entering_does() -> None:
    presence = Presence(YARD, zone=YARD)
    assert walk(presence, [50, -19, 50]) == []
    (change,) = walk(presence, [50, -5, -23])
    assert (change.left, change.entered, change.time_us) == (YARD, OUTSIDE, START + 15 * S)


def test_a_small_fence_has_a_small_buffer() -> None:
    assert walk(Presence(YARD), [-40, 6], POI)
    assert not walk(Presence(YARD), [-40, 6], ZONE)


def test_a_poor_accuracy_widens_the_buffer() -> None:
    for accuracy_m, entered in ((10.0, True), (40.0, False)):
        presence = Presence(YARD)
        change = observe(presence, fix(0, 30, presence, accuracy_m=accuracy_m), ZONE)
        assert (change is not None) == entered


def test_a_small_fence_stays_enterable_whatever_the_accuracy() -> None:
    presence = Presence(YARD)
    assert observe(presence, fix(0, 21, presence, accuracy_m=90.0, inradius_m=40.0), POI)


def test_a_fence_with_two_required_fixes_ignores_a_single_jump() -> None:
    calm = replace(ZONE, min_fixes=2)
    presence = Presence(YARD)
    assert walk(presence, [-300, 200, -300, -300], calm) == []
    (change,) = walk(presence, [-300, 200, 200], calm)
    assert change.time_us == START + 15 * S


def test_a_fence_with_its_own_buffers_uses_these() -> None:
    calm = Calm.of(kind=Kind.POLYGON, inradius_m=1_000.0, layer=False, enter_m=0.0, exit_m=150.0)
    presence = Presence(YARD)
    assert walk(presence, [-1, 1], calm)
    assert walk(presence, [50, -140, 50], calm) == []
    assert walk(presence, [50, -151], calm)


def test_a_long_shallow_stay_counts_from_its_first_fix() -> None:
    presence = Presence(YARD)
    changes = walk(presence, [-40, *[8.0] * 12])
    assert [change.time_us for change in changes] == [START + 15 * S]


def test_a_long_stay_too_shallow_to_tell_from_noise_does_not_count() -> None:
    assert walk(Presence(YARD), [-40, *[3.0] * 200]) == []


def test_a_run_that_is_broken_starts_again() -> None:
    presence = Presence(YARD)
    assert walk(presence, [8.0, 8.0, 8.0, -1.0] * 20) == []


def test_quick_returns_widen_the_buffer_until_the_device_is_far_from_the_border() -> None:
    presence = Presence(YARD)
    changes = walk(presence, [-25, 25] * 20)
    assert len(changes) == 2
    assert not settled(presence)
    walk(presence, [-150.0 if presence.zone == OUTSIDE else 150.0])
    assert settled(presence)


def test_a_slow_return_does_not_widen_the_buffer() -> None:
    presence = Presence(YARD)
    assert len(walk(presence, [25, -25] * 6, step_s=700.0)) == 12


def test_in_a_layer_leaving_one_zone_and_entering_the_next_is_one_change() -> None:
    presence = Presence(-1, zone=YARD)
    calm = Calm.of(kind=Kind.CIRCLE, inradius_m=100.0, layer=True)
    seen = Seen(START, 1.0, 2.0, nan, 15.0, NEIGHBOUR, 25.0, 100.0)
    assert observe(presence, seen, calm) == Change(YARD, NEIGHBOUR, START, 1.0, 2.0, 25.0)


def test_a_run_among_neighbours_ends_where_the_device_is_when_it_is_believed() -> None:
    presence = Presence(-1, zone=YARD)
    calm = Calm.of(kind=Kind.POLYGON, inradius_m=100.0, layer=True)
    changes = [
        observe(presence, Seen(START + i * S, 0.0, 0.0, nan, 15.0, target, away_m, 100.0), calm)
        for i, (target, away_m) in enumerate([(NEIGHBOUR, 5.0), (OUTSIDE, 9.0), (9, 30.0)])
    ]
    assert changes == [None, None, Change(YARD, 9, START, 0.0, 0.0, 30.0)]
    assert presence.zone == 9


def test_a_layer_has_an_outside_to_leave_to_and_to_enter_from() -> None:
    presence = Presence(-1, zone=YARD)
    calm = Calm.of(kind=Kind.POLYGON, inradius_m=100.0, layer=True)
    out = observe(presence, Seen(START, 0.0, 0.0, nan, 15.0, OUTSIDE, 30.0, 0.0), calm)
    back = observe(presence, Seen(START + S, 0.0, 0.0, nan, 15.0, 9, 60.0, 100.0), calm)
    assert out == Change(YARD, OUTSIDE, START, 0.0, 0.0, 30.0)
    assert back == Change(OUTSIDE, 9, START + S, 0.0, 0.0, 60.0)


def test_a_place_on_the_border_is_no_reason_to_change() -> None:
    presence = Presence(YARD)
    assert walk(presence, [0.0] * 100) == []


@pytest.mark.parametrize(
    ("calm", "interval_s", "expected_m"),
    [
        pytest.param(ZONE, 15.0, 21.0, id="a zone often seen"),
        pytest.param(ZONE, 30.0, 20.0, id="a zone seen twice a minute"),
        pytest.param(ZONE, 45.0, 15.0, id="between two tested intervals"),
        pytest.param(ZONE, 60.0, 10.0, id="a zone seen once a minute"),
        pytest.param(ZONE, 600.0, 5.0, id="a zone rarely seen"),
        pytest.param(ZONE, 0.0, 21.0, id="an interval not known yet"),
        pytest.param(POI, 15.0, 5.0, id="a depot"),
        pytest.param(POI, 600.0, 5.0, id="a depot rarely seen"),
    ],
)
def test_the_buffer_follows_the_time_between_fixes(
    calm: Calm, interval_s: float, expected_m: float
) -> None:
    presence = Presence(YARD)
    seen = fix(0, 1.0, presence, interval_s=interval_s)
    assert calm.buffer_m(presence, seen) == pytest.approx(expected_m)


@pytest.mark.parametrize(
    ("kind", "inradius_m", "layer", "profile"),
    [
        pytest.param(Kind.CIRCLE, 100.0, False, Profile.POI, id="a depot"),
        pytest.param(Kind.CIRCLE, 151.0, False, Profile.ZONE, id="a large circle"),
        pytest.param(Kind.CIRCLE, 100.0, True, Profile.ZONE, id="one of a layer"),
        pytest.param(Kind.POLYGON, 30.0, False, Profile.ZONE, id="a block between streets"),
        pytest.param(Kind.CORRIDOR, 30.0, False, Profile.ZONE, id="a road"),
    ],
)
def test_small_free_circles_are_places_and_all_else_is_ground(
    kind: Kind,
    inradius_m: float,
    layer: bool,  # noqa: FBT001 -- a table
    profile: Profile,
) -> None:
    assert Calm.of(kind=kind, inradius_m=inradius_m, layer=layer).profile is profile


@pytest.mark.parametrize(
    ("calm", "expected_m"),
    [pytest.param(ZONE, 16.0, id="ground"), pytest.param(POI, 5.0, id="a place")],
)
def test_no_buffer_is_wider_than_a_small_fence_allows(calm: Calm, expected_m: float) -> None:
    presence = Presence(YARD)
    assert calm.buffer_m(presence, fix(0, 1.0, presence, inradius_m=20.0)) == expected_m
    presence.zone = YARD
    assert calm.buffer_m(presence, fix(0, -1.0, presence, inradius_m=20.0)) >= expected_m


def test_at_a_fix_every_few_seconds_a_zone_asks_for_two_fixes_unless_one_is_deep() -> None:
    presence = Presence(YARD)
    assert walk(presence, [-40, 30, -40], step_s=3.0) == []
    (change,) = walk(presence, [-40, 30, 31], step_s=3.0)
    assert change.time_us == START + 3 * S
    assert walk(Presence(YARD), [-40, 50], step_s=3.0)


def test_a_trace_holds_the_numbers_behind_each_judgement() -> None:
    presence = Presence(YARD)
    trace: list[Glance] = []
    for i, depth_m in enumerate([-30.0, 10.0, 25.0]):
        observe(presence, fix(15 * i, depth_m, presence), ZONE, trace)
    assert trace == [
        Glance(START, -30.0, 21.0, 0, 0, 0.0, Verdict.NONE),
        Glance(START + 15 * S, 10.0, 21.0, 0, 1, 10.0, Verdict.NONE),
        Glance(START + 30 * S, 25.0, 21.0, 0, 2, 17.5, Verdict.FAST),
    ]


STEPS = st.lists(
    st.tuples(
        st.sampled_from([3, 15, 30, 120, 700]),
        st.floats(-150, 150, allow_nan=False),
        st.sampled_from([nan, 5.0, 15.0, 60.0]),
    ),
    max_size=60,
)


def fixes(steps: Sequence[tuple[int, float, float]]) -> list[tuple[float, float, float]]:
    """Steps as (time, depth, accuracy)."""
    at_s, result = 0.0, []
    for step_s, depth_m, accuracy_m in steps:
        at_s += step_s
        result.append((at_s, depth_m, accuracy_m))
    return result


@given(STEPS, st.sampled_from([ZONE, POI]))
def test_a_settled_presence_is_untouched_by_a_fix_in_its_own_zone(
    steps: list[tuple[int, float, float]], calm: Calm
) -> None:
    presence = Presence(YARD)
    for at_s, depth_m, accuracy_m in fixes(steps):
        before = astuple(presence)
        seen = fix(at_s, depth_m, presence, accuracy_m=accuracy_m)
        untouched = settled(presence) and seen.target == presence.zone
        change = observe(presence, seen, calm)
        if untouched:
            assert change is None
            assert astuple(presence) == before


@given(STEPS, st.sampled_from([ZONE, POI]))
def test_forgetting_a_presence_that_may_be_forgotten_changes_no_later_answer(
    steps: list[tuple[int, float, float]], calm: Calm
) -> None:
    kept, dropped = Presence(YARD), Presence(YARD)
    for at_s, depth_m, accuracy_m in fixes(steps):
        if forgotten(dropped, START + round(at_s * S)):
            dropped = Presence(YARD)
        answers = [
            observe(presence, fix(at_s, depth_m, presence, accuracy_m=accuracy_m), calm)
            for presence in (kept, dropped)
        ]
        assert answers[0] == answers[1]


@given(STEPS, st.sampled_from([ZONE, POI]))
def test_changes_alternate_in_time_order_and_lie_on_the_far_side(
    steps: list[tuple[int, float, float]], calm: Calm
) -> None:
    presence = Presence(YARD)
    changes = []
    for at_s, depth_m, accuracy_m in fixes(steps):
        change = observe(presence, fix(at_s, depth_m, presence, accuracy_m=accuracy_m), calm)
        if change is not None:
            # `lat` holds the depth of the fix the change is dated at.
            assert (change.entered == YARD) == (change.lat >= 0.0)
            changes.append(change)
    for before, after in pairwise(changes):
        assert before.entered == after.left
        assert before.time_us < after.time_us


@given(STEPS)
def test_a_trace_changes_no_answer(steps: list[tuple[int, float, float]]) -> None:
    plain, traced = Presence(YARD), Presence(YARD)
    trace: list[Glance] = []
    for at_s, depth_m, accuracy_m in fixes(steps):
        seen = fix(at_s, depth_m, plain, accuracy_m=accuracy_m)
        change = observe(plain, seen, POI)
        assert observe(traced, seen, POI, trace) == change
        assert plain == traced
        assert (trace[-1].verdict is not Verdict.NONE) == (change is not None)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("calm", "inradius_m"),
    [pytest.param(ZONE, 1_000.0, id="zone"), pytest.param(POI, 100.0, id="depot")],
)
@pytest.mark.parametrize("says_accuracy", [True, False], ids=["accuracy", "no accuracy"])
def test_a_week_parked_on_a_border_is_calm_and_the_true_leaving_is_found_at_once(
    noise: str,
    calm: Calm,
    inradius_m: float,
    says_accuracy: bool,  # noqa: FBT001 -- a table
) -> None:
    for seed in range(3):
        fixes, depth_m, left_at = parked(noise, 10.0, seed)
        if not says_accuracy:
            fixes = replace(fixes, accuracy_m=np.full(len(fixes.t), nan))
        assert len(naive_turns(fixes.t, depth_m)) > 2_500
        turns = stay(fixes, depth_m, calm, inradius_m)
        # 2 to 12 seen, over 144 weeks.
        assert len(turns) - 1 <= 20
        assert not turns[-1].inside
        was_inside = [turn for turn in turns if turn.t <= left_at][-1].inside
        if was_inside:
            assert turns[-1].t <= left_at + INTERVAL_S
