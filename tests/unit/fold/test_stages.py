"""What the fold says of short stories told in fixes."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.geodesy import ecef
from tracking.fold import DeviceState, Fact, Fix, Rules, fold
from tracking.fold.state import Motion, dump_state, load_record, unpack_state
from tracking.quality import Quality

RULES = Rules()
START_US = 1_700_000_000_000_000
# At this latitude one degree of longitude is 68.68 km.
LAT = 52.0
M = 1 / 68_677.0


def fix(
    t_s: float,
    east_m: float,
    *,
    seq: int = -1,
    speed_mps: float = nan,
    accuracy_m: float = nan,
    quality: Quality = Quality.OK,
) -> Fix:
    lon = 13.0 + east_m * M
    x, y, z = (float(v[0]) for v in ecef(np.array([lon]), np.array([LAT])))
    time_us = START_US + round(t_s * 1e6)
    return Fix(time_us, seq, quality, lon, LAT, speed_mps, accuracy_m, x, y, z)


def tell(*story: Fix, rules: Rules = RULES) -> tuple[DeviceState, list[Quality], list[Fact]]:
    state, verdicts = fold(DeviceState(), story, rules)
    return state, [v.quality for v in verdicts], [f for v in verdicts for f in v.facts]


def drive(t_s: float, east_m: float, *, n: int, step_s: float = 30, mps: float = 10) -> list[Fix]:
    return [fix(t_s + i * step_s, east_m + i * step_s * mps) for i in range(n)]


def at_s(fact: Fact) -> float:
    return (fact.time_us - START_US) / 1e6


def test_a_first_fix_is_where_the_device_stands_and_no_event() -> None:
    state, _, facts = tell(fix(0, 0))
    assert (state.motion, facts) == (Motion.STOPPED, [])


def test_a_departure_is_dated_at_its_first_fix_and_starts_a_trip_where_it_stood() -> None:
    _, _, facts = tell(fix(0, 0), fix(600, 3), fix(660, 150), fix(690, 350))
    assert [(f.type, at_s(f)) for f in facts] == [("motion.started", 660), ("trip.started", 660)]
    assert facts[0].confirmed_us == fix(690, 0).time_us
    assert facts[1].data["lon"] == fix(0, 0).lon


def test_one_stray_fix_is_no_departure() -> None:
    _, _, facts = tell(fix(0, 0), fix(60, 180), fix(120, 5), fix(180, 170), fix(240, 0))
    assert facts == []


def test_a_fix_far_away_is_a_departure_by_itself() -> None:
    _, _, facts = tell(fix(0, 0), fix(240, 3_000))
    assert [f.type for f in facts] == ["motion.started", "trip.started"]


def test_a_stay_becomes_a_stop_at_its_first_fix_and_later_the_end_of_the_trip() -> None:
    there = drive(0, 0, n=11)  # arrives at 300 s, 3,000 m
    stay = [fix(300 + t, 3_000 + wiggle) for t, wiggle in ((60, 8), (120, -9), (180, 4), (300, 0))]
    state, _, facts = tell(*there, *stay)
    stopped, ended = facts[2:]
    assert (stopped.type, at_s(stopped)) == ("motion.stopped", 300)
    assert (ended.type, at_s(ended)) == ("trip.ended", 300)
    assert ended.data["distance_m"] == pytest.approx(3_000, abs=1)
    assert ended.data["duration_s"] == 270
    assert state.motion == Motion.STOPPED


def test_a_halt_at_a_light_is_no_stop_and_a_short_stop_does_not_end_the_trip() -> None:
    there = drive(0, 0, n=11)
    light = [fix(330 + 30 * i, 3_000) for i in range(4)]
    on = drive(450, 3_300, n=3)
    _, _, facts = tell(*there, *light, *on)
    assert [f.type for f in facts] == ["motion.started", "trip.started"]

    stop = [fix(330 + 30 * i, 3_000) for i in range(6)]
    on = drive(510, 3_500, n=3)
    _, _, facts = tell(*there, *stop, *on)
    assert [f.type for f in facts[2:]] == ["motion.stopped", "motion.started"]


def test_a_parked_device_that_scatters_drives_no_metre_and_raises_nothing() -> None:
    rng = np.random.default_rng(3)
    story = [fix(30 * i, float(e)) for i, e in enumerate(rng.normal(0, 12, 2_000))]
    state, _, facts = tell(*story)
    assert facts == []
    assert state.odometer_m == 0


def test_the_odometer_counts_the_way_driven() -> None:
    state, _, _ = tell(*drive(0, 0, n=101, mps=14))
    assert state.odometer_m == pytest.approx(100 * 30 * 14, rel=1e-4)


def test_silence_on_the_way_ends_the_trip_where_the_device_was_last_seen() -> None:
    _, _, facts = tell(*drive(0, 0, n=5), fix(120 + 3_600, 60_000), fix(120 + 3_630, 60_300))
    assert [(f.type, at_s(f)) for f in facts[2:4]] == [("motion.stopped", 120), ("trip.ended", 120)]
    assert {f.data["reason"] for f in facts[2:4]} == {"gap"}
    assert [f.type for f in facts[4:]] == ["motion.started", "trip.started"]


def test_a_jump_is_impossible_and_moves_nothing() -> None:
    story = drive(0, 0, n=5)
    state, qualities, _ = tell(*story, fix(130, 90_000), fix(150, 1_500))
    assert qualities[5:] == [Quality.IMPOSSIBLE_SPEED, Quality.OK]
    assert state.odometer_m == pytest.approx(1_500, abs=1)


def test_a_run_of_impossible_fixes_that_agree_is_where_the_device_is() -> None:
    story = drive(0, 0, n=5)
    elsewhere = [fix(130 + 30 * i, 90_000 + 300 * i) for i in range(4)]
    state, qualities, facts = tell(*story, *elsewhere)
    assert qualities[5:] == [Quality.IMPOSSIBLE_SPEED] * 2 + [Quality.OK] * 2
    assert state.ok_lon == elsewhere[-1].lon
    assert facts[-1].type == "trip.ended"
    assert facts[-1].data["reason"] == "relocated"
    assert state.odometer_m < 2_000


def test_a_run_of_impossible_fixes_that_disagree_is_not() -> None:
    story = drive(0, 0, n=5)
    wild = [fix(130 + i, 90_000 * (i + 1)) for i in range(6)]
    _, qualities, _ = tell(*story, *wild)
    assert qualities[5:] == [Quality.IMPOSSIBLE_SPEED] * 6


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param(fix(0, 0, seq=2), Quality.DUPLICATE, id="same time and place"),
        pytest.param(fix(0, 20, seq=2), Quality.OK, id="same time, a step away"),
        pytest.param(fix(0, 500, seq=2), Quality.IMPOSSIBLE_SPEED, id="same time, far away"),
        pytest.param(fix(9, 0, speed_mps=8), Quality.STATIC, id="stuck while claiming to move"),
        pytest.param(fix(9, 0, speed_mps=0), Quality.OK, id="standing still"),
        pytest.param(fix(9, 0), Quality.OK, id="place repeated, speed unknown"),
        pytest.param(fix(1, 900, accuracy_m=900), Quality.OK, id="within its own accuracy"),
    ],
)
def test_quality_is_judged_against_the_last_ok_fix(second: Fix, expected: Quality) -> None:
    _, qualities, _ = tell(fix(0, 0, seq=1), second)
    assert qualities == [Quality.OK, expected]


def test_a_fix_flawed_by_itself_keeps_its_code_and_moves_only_the_head() -> None:
    state, qualities, facts = tell(fix(0, 0), fix(60, 9_000, quality=Quality.INACCURATE))
    assert qualities == [Quality.OK, Quality.INACCURATE]
    assert (state.ok_us, state.head_us) == (fix(0, 0).time_us, fix(60, 0).time_us)
    assert facts == []


def test_missing_sequence_numbers_are_counted_and_a_restart_is_none() -> None:
    state, _, _ = tell(*[fix(i, 0, seq=s) for i, s in enumerate((5, 6, 9, 0, 1, 3))])
    assert state.seq_missing == 2 + 1


def test_the_state_given_is_not_changed() -> None:
    before = DeviceState()
    fold(before, drive(0, 0, n=20), RULES)
    assert before == DeviceState()


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-400, 4_000)), max_size=40), st.data())
def test_folding_in_parts_is_folding_at_once(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    t_s, story = 0, list[Fix]()
    for gap_s, east_m in steps:
        t_s += gap_s
        story.append(fix(t_s, east_m, seq=len(story)))
    cut = data.draw(st.integers(0, len(story)))
    first, early = fold(DeviceState(), story[:cut], RULES)
    stored = load_record(dump_state(first)[0])
    assert stored is not None
    second, late = fold(unpack_state(stored[0]), story[cut:], RULES)
    assert (second, early + late) == fold(DeviceState(), story, RULES)


def test_a_stored_state_of_another_version_is_not_read() -> None:
    assert load_record(dump_state(replace(DeviceState(), version=99))[0]) is None
    assert load_record(b"short") is None
    assert load_record(None) is None
