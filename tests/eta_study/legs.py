"""Capmetro's runs as legs of shipments, from the first stop to the second-last.

By the whole engine, with the timetable or without. The way is known, as a planned route through the
stops, or the ends are alone; of the timetable always only these.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from tests.eta_study.capmetro import Plane, Run, Timetable
from tests.eta_study.score import Score
from tracking.eta.engine import Drive, Engine, Leg, local_day_s
from tracking.eta.nearby import Place, Start
from tracking.eta.trip import Trip
from tracking.eta.way import Way, way_of

Floats = NDArray[np.float64]

_DAY_S = 86_400.0
_M_PER_DEG = 111_195.0


class Ride(NamedTuple):
    """A run that arrived: what is learned of it, and the legs forecast on its way."""

    drive: Drive
    legs: list[Leg]
    fixes: int
    origin: Place
    whole_m: float
    planned_s: float

    @property
    def arrived_s(self) -> float:
        """When it came to its end."""
        return self.drive.trip.arrived_s


def study(
    name: str,
    table: Timetable,
    train: Sequence[list[Run]],
    test: list[Run],
    *,
    known_way: bool,
    timetable: bool = False,
) -> Score:
    """Learn run by run in the order of arriving, the test day's as they arrive.

    The baseline is the distance left at the mean speed of the training days, along the way or as
    the crow flies.
    """
    days = [
        _rides(runs, table, day, known_way=known_way) for day, runs in enumerate([*train, test])
    ]
    if timetable:
        days = [[_timed(ride) for ride in rides] for rides in days]
    engine, score = Engine(), Score(name)
    for ride in (ride for day in days[:-1] for ride in day):
        _learn(engine, ride, score)
    baseline_mps = _usual_mps([ride for day in days[:-1] for ride in day])
    moments = sorted(
        (ride.arrived_s - left_s, number, i, left_s)
        for number, ride in enumerate(days[-1])
        for i, left_s in enumerate(ride.drive.trip.took_s.tolist())
    )
    arrivals = list(days[-1])
    for now_s, number, i, left_s in moments:
        while arrivals and arrivals[0].arrived_s <= now_s:
            _learn(engine, arrivals.pop(0), score)
        leg = days[-1][number].legs[i]
        with score.forecasting():
            arrival = engine.forecast(leg, now_s)
        score.add(left_s, leg.left_m / baseline_mps, arrival)
    return score


def _learn(engine: Engine, ride: Ride, score: Score) -> None:
    with score.learning(ride.fixes):
        # In the order in which it becomes known: it has arrived before it has stayed.
        engine.learn_drive(ride.drive)
        engine.learn(ride.drive.trip)


def _rides(runs: list[Run], table: Timetable, day: int, *, known_way: bool) -> list[Ride]:
    # Hours by the sun are those of the service day.
    midnight_s = day * _DAY_S - table.plane.lon * 240.0
    found = [_ride(run, table, midnight_s, known_way=known_way) for run in runs]
    return sorted((ride for ride in found if ride), key=lambda ride: ride.arrived_s)


def _ride(run: Run, table: Timetable, midnight_s: float, *, known_way: bool) -> Ride | None:
    samples = run.samples(waiting=False)
    if run.arrived_s is None or len(samples) < 2:
        return None
    target = run.target
    places = [_degrees(table.plane, table.stops[stop]) for stop in run.stops[: target + 1]]
    way = way_of(places)
    fixes = [fix for fix, _ in samples]
    along_m = np.interp(run.at_m[fixes], run.along_m[: target + 1], way.along_m)
    left_s = np.array([left for _, left in samples])
    trip = _trip(way, np.array(places), along_m, left_s, run.arrived_s + midnight_s)
    if not known_way:
        trip = trip.across()
    lane = (run.stops[0], run.stops[target])
    legs = [
        Leg(
            start.here, start.there, start.left_m,
            way.between(m, way.length_m) if known_way else None, lane,
        )
        for start, m in zip(trip.starts, along_m.tolist(), strict=True)
    ]  # fmt: skip
    planned_s = float(run.plan_s[target] - run.plan_s[0])
    return Ride(Drive(trip, lane), legs, len(run.t), places[0], way.length_m, planned_s)


def _timed(ride: Ride) -> Ride:
    """With what the timetable has for it, by the part of the way that is ahead."""
    legs = []
    for leg in ride.legs:
        behind_m = h3.great_circle_distance(ride.origin[::-1], leg.here[::-1], unit="m")
        if leg.path is not None:
            # Along the way as well.
            behind_m = max(ride.whole_m - leg.left_m, 0.0)
        part = leg.left_m / max(leg.left_m + behind_m, 1.0)
        legs.append(leg._replace(planned_s=ride.planned_s * part))
    return ride._replace(legs=legs, drive=ride.drive._replace(planned_s=legs[0].planned_s))


def _trip(way: Way, places: Floats, along_m: Floats, left_s: Floats, arrived_s: float) -> Trip:
    """The part of the way that was seen, from the first sample on."""
    at_s = arrived_s - left_s
    ends_m, ends_s = np.append(along_m, way.length_m), np.append(at_s, arrived_s)
    first = way.piece(float(along_m[0]))
    edges_s = np.interp(way.edges_m[first:], ends_m, ends_s)
    lons, lats = (np.interp(along_m, way.along_m, degrees).tolist() for degrees in places.T)
    there = (float(places[-1, 0]), float(places[-1, 1]))
    starts = [
        Start((lon, lat), there, way.length_m - m, local_day_s(now_s, lon))
        for lon, lat, m, now_s in zip(lons, lats, along_m.tolist(), at_s.tolist(), strict=True)
    ]
    pieces = [way.piece(m) - first for m in along_m.tolist()]
    return Trip(starts, left_s, arrived_s, way.path.after(first), np.diff(edges_s), pieces)


def _usual_mps(rides: Sequence[Ride]) -> float:
    metres = sum(ride.drive.trip.starts[0].left_m for ride in rides)
    return metres / sum(float(ride.drive.trip.took_s[0]) for ride in rides)


def _degrees(plane: Plane, at_m: tuple[float, float]) -> tuple[float, float]:
    east_m = _M_PER_DEG * float(np.cos(np.radians(plane.lat)))
    return plane.lon + at_m[0] / east_m, plane.lat + at_m[1] / _M_PER_DEG
