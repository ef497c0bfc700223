"""What of that which was driven is fit to learn from."""

import numpy as np
import pytest

from tracking.eta.engine import Engine, Leg
from tracking.eta.lessons import Learned, Lesson, Told, Track, Unfit, learn, trip_of

BEGAN_S = 1_700_000_000.0
# A thousandth of a degree along the equator.
STEP_M = 111.32


def track(
    steps: int = 60, every_s: float = 10.0, *, per_step: int = 1, back: bool = False
) -> Track:
    """A straight drive to the east at 11 m/s, and back if asked."""
    lon = 5.0 + 0.001 * per_step * np.arange(float(steps + 1))
    if back:
        lon = np.concatenate([lon, lon[-2:0:-1]])
    return Track(BEGAN_S + every_s * np.arange(float(len(lon))), lon, np.zeros(len(lon)))


def unfit(track: Track) -> object:
    found = trip_of(track)
    return found if isinstance(found, Unfit) else None


class TestTrips:
    def test_a_sample_a_minute_and_each_piece_with_its_seconds(self) -> None:
        trip = trip_of(track())
        assert not isinstance(trip, Unfit)
        assert trip.path is not None
        assert trip.pieces_s is not None
        assert trip.took_s.tolist() == [600.0 - 60.0 * i for i in range(10)]
        assert [start.left_m for start in trip.starts] == pytest.approx(
            [STEP_M * (60 - 6 * i) for i in range(10)], rel=1e-3
        )
        assert trip.pieces_s.sum() == pytest.approx(600.0)
        assert trip.path.metres.sum() == pytest.approx(60 * STEP_M, rel=1e-3)
        assert trip.arrived_s == BEGAN_S + 600.0
        left = [trip.path.after(piece).metres.sum() for piece in trip.first_piece]
        assert left == pytest.approx([start.left_m for start in trip.starts], abs=110.0)

    def test_a_long_trip_leaves_no_more_samples_than_an_hour_does(self) -> None:
        trip = trip_of(track(steps=1_500))
        assert not isinstance(trip, Unfit)
        assert len(trip.starts) == 60

    def test_between_fixes_far_apart_the_way_is_not_known(self) -> None:
        trip = trip_of(track(steps=10, every_s=240.0, per_step=20))
        assert not isinstance(trip, Unfit)
        assert trip.path is None
        assert trip.starts[0].left_m == pytest.approx(200 * STEP_M, rel=1e-3)

    def test_what_teaches_nothing_is_told_why(self) -> None:
        whole = track()
        hole = whole.time_s + np.where(np.arange(61) > 30, 1_000.0, 0.0)
        jump = whole.lon + np.where(np.arange(61) > 30, 0.01, 0.0)
        assert unfit(track(steps=2)) is Unfit.FEW_FIXES
        assert unfit(track(steps=4)) is Unfit.SHORT
        assert unfit(track(every_s=1.0)) is Unfit.SHORT
        assert unfit(whole._replace(time_s=hole)) is Unfit.HOLE
        assert unfit(whole._replace(lon=jump)) is Unfit.JUMP
        assert unfit(track(steps=10, every_s=240.0, per_step=20, back=True)) is Unfit.ROUND
        assert unfit(whole) is None

    def test_a_round_tells_of_its_roads_and_not_of_where_it_ended(self) -> None:
        engine = Engine()
        before = engine.forecast(leg := Leg((5.0, 0.0), (5.06, 0.0), 60 * STEP_M), BEGAN_S)
        trip = trip_of(track(back=True))
        assert not isinstance(trip, Unfit)
        for _ in range(40):
            engine.learn(trip)
        assert engine.forecast(leg, BEGAN_S) == before
        on_road = engine.forecast(leg._replace(path=trip.path.after(0)), BEGAN_S)  # type: ignore[union-attr]
        assert on_road.p50_s == pytest.approx(1_190.0, rel=0.05)


class TestLearning:
    def test_each_lesson_counts_once_and_under_what_it_is(self) -> None:
        engine, lane = Engine(), ("Depot", "Shop")
        learned = learn(
            engine,
            [
                Lesson(1, track()),
                Lesson(2, Unfit.NOT_SEEN, lane),
                Lesson(3, track(), lane, [Told(known_way=False, forecast_s=500.0, actual_s=600.0)]),
                Lesson(1, track()),
                Lesson(4, track(steps=2)),
            ],
        )
        assert (learned.trips, learned.legs, learned.fixes, learned.scored) == (1, 1, 61, 1)
        assert learned.left_out == {Unfit.NOT_SEEN: 1, Unfit.KNOWN: 1, Unfit.FEW_FIXES: 1}

    def test_what_a_timetable_had_for_a_leg_is_learned_with_it(self) -> None:
        """Ten minutes are planned as twenty: soon a plan is halved, where it is known."""
        lane, planned, other = ("Depot", "Shop"), Engine(), Engine()
        for n in range(12):
            at = track()._replace(time_s=track().time_s + 86_400.0 * n)
            learn(planned, [Lesson(n, at, lane, planned_s=1_200.0)])
            learn(other, [Lesson(n, at, lane)])
        end_s = BEGAN_S + 86_400.0 * 12
        leg = Leg((5.0, 0.5), (5.5, 0.5), 55_000.0, lane=lane, planned_s=4_000.0)
        assert planned.forecast(leg, end_s).p50_s < 0.7 * other.forecast(leg, end_s).p50_s

    def test_portions_are_as_one(self) -> None:
        lessons = [Lesson(n, track(steps=40 + n)) for n in range(10)]
        one, other, parts = Engine(), Engine(), Learned()
        whole = learn(one, lessons)
        for lesson in lessons:
            parts.add(learn(other, [lesson]))
        assert one.save() == other.save()
        assert whole == parts

    def test_merits_compare_with_distance_at_the_usual_speed(self) -> None:
        """In town it is slow, outside it is fast; plain distance knows one speed only."""
        town, outside = np.full(30, 20.0), np.full(60, 8.0)
        lessons = []
        for n in range(60):
            steps_s = np.concatenate([town, outside[: 5 + 27 * (n % 3)]])
            time_s = BEGAN_S + 7_200.0 * n + np.concatenate([[0.0], steps_s.cumsum()])
            lon = 5.0 + 0.001 * np.arange(float(len(time_s)))
            lessons.append(Lesson(n, Track(time_s, lon, np.zeros(len(lon)))))
        merits = learn(Engine(), lessons).merits()
        assert [one.known_way for one in merits] == [True, False]
        for one in merits:
            assert one.forecasts > 20
            assert one.mae_s < 0.5 * one.plain_mae_s
            assert one.within > 0.7
