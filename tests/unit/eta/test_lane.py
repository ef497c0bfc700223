"""Forecasts along known places."""

import numpy as np
import pytest

from tracking.eta.lane import Lane, LaneEta, Progress

PLAN = np.arange(6.0) * 600.0 + 28_800.0
STOPS = ("a", "b", "c", "d", "e", "f")
LANE = Lane(STOPS, PLAN, planned=True)


def driven(engine: LaneEta, *, late_s: float, slower: float, n: int, today: bool = False) -> None:
    for trip in range(n):
        passed = PLAN[0] + late_s + (PLAN - PLAN[0]) * slower + trip
        engine.learn(LANE, passed, passed % 86_400, today=today)


def test_without_history_the_plans_remainder_is_the_forecast() -> None:
    arrival = LaneEta(planned=True).forecast(LANE, Progress(PLAN[2], PLAN[2], PLAN[2]), 4)
    assert arrival.p50_s == pytest.approx(1_200.0)
    assert arrival.p10_s < arrival.p50_s < arrival.p90_s
    assert arrival.trips == 0.0


def test_a_trip_that_waits_at_its_first_stop_leaves_by_plan() -> None:
    progress = Progress(PLAN[0], PLAN[0] - 300.0, PLAN[0] - 300.0)
    assert LaneEta(planned=True).forecast(LANE, progress, 1).p50_s == pytest.approx(900.0)


def test_history_between_the_same_places_moves_the_forecast() -> None:
    engine = LaneEta(planned=True)
    driven(engine, late_s=0.0, slower=1.5, n=30)
    arrival = engine.forecast(LANE, Progress(PLAN[0], PLAN[0], PLAN[0]), 4)
    assert arrival.like_s == pytest.approx(1.5 * 2_400.0, rel=0.05)
    assert arrival.prior_s == pytest.approx(2_400.0)


def test_trips_with_such_a_delay_count_more_than_others() -> None:
    engine = LaneEta(planned=True)
    driven(engine, late_s=0.0, slower=1.0, n=30)
    driven(engine, late_s=600.0, slower=0.8, n=30)
    late = engine.forecast(LANE, Progress(PLAN[0], PLAN[0] + 600.0, PLAN[0] + 600.0), 4)
    on_time = engine.forecast(LANE, Progress(PLAN[0], PLAN[0], PLAN[0]), 4)
    assert late.like_s < 0.9 * on_time.like_s


def test_a_trip_of_today_counts_only_once_it_has_arrived() -> None:
    engine = LaneEta(planned=True)
    driven(engine, late_s=0.0, slower=2.0, n=8, today=True)
    before = engine.sample(LANE, Progress(PLAN[0], PLAN[0] + 10.0, PLAN[0] + 10.0), 4)
    assert before.trips == 0.0
    after_s = PLAN[0] + 3 * 3_600.0
    later = Lane(STOPS, PLAN + 3 * 3_600.0, planned=True)
    after = engine.sample(later, Progress(later.size[0], after_s, after_s), 4)
    assert after.trips > 1.0
    assert after.like_s > 1.5 * 2_400.0


def test_without_a_plan_metres_are_driven_as_fast_as_before() -> None:
    engine = LaneEta(planned=False, usual_mps=10.0)
    lane = Lane(STOPS, np.arange(6.0) * 1_000.0, planned=False)
    for trip in range(20):
        passed = 28_800.0 + trip + np.arange(6.0) * 500.0
        engine.learn(lane, passed, passed)
    arrival = engine.forecast(lane, Progress(2_000.0, 29_800.0, 29_800.0), 5)
    assert arrival.prior_s == pytest.approx(300.0)
    assert arrival.like_s == pytest.approx(1_500.0, rel=0.05)


def test_between_places_no_trip_joined_the_hops_of_others_tell() -> None:
    engine = LaneEta(planned=False, usual_mps=10.0)
    along_m = np.arange(4.0) * 1_000.0
    for trip in range(20):
        passed = 28_800.0 + trip + along_m * 0.5
        engine.learn(Lane("abcx", along_m, planned=False), passed, passed)
        engine.learn(Lane("ycde", along_m, planned=False), passed, passed)
    lane = Lane("abcde", np.arange(5.0) * 1_000.0, planned=False)
    arrival = engine.forecast(lane, Progress(0.0, 29_000.0, 29_000.0), 4)
    assert arrival.trips == 0.0
    assert arrival.like_s + arrival.held_s == pytest.approx(2_000.0, rel=0.05)


def test_a_place_already_passed_is_reached_now() -> None:
    arrival = LaneEta(planned=True).forecast(LANE, Progress(PLAN[4], PLAN[4], PLAN[4]), 3)
    assert arrival.p50_s == 0.0


def test_a_systematic_error_is_corrected_after_calibration() -> None:
    engine = LaneEta(planned=True)
    late = [
        engine.sample(LANE, Progress(PLAN[1], PLAN[1] + delay, PLAN[1] + delay), 4)
        for delay in range(0, 600, 3)
    ]
    actual = np.array([1_800.0 - 0.3 * delay for delay in range(0, 600, 3)])
    engine.calibrate(late, actual)
    arrival = engine.arrival(late[100])
    assert arrival.held_s == pytest.approx(-90.0, abs=30.0)
