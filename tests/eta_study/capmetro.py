"""Buses as Austin's were recorded: a fix every 120 to 240 s, a timetable, no shapes.

Each trip is put on the straight lines through its stops by Viterbi: 80 m off costs 1, going back
more than 60 m costs 10, faster than 28 m/s costs 20. The truth is when the second-last stop was
passed, between the two fixes around it.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracking.eta.lane import Lane

Floats = NDArray[np.float64]

_M_PER_DEG = 111_195.0
_GAP_S = 420.0
_DAY_S = 86_400.0
# Fixes this near the first stop have not left.
_ORIGIN_M = 30.0


@dataclass(frozen=True, slots=True)
class Plane:
    """Metres east and north of the middle of a city."""

    lon: float
    lat: float

    def of(self, lon: float, lat: float) -> tuple[float, float]:
        """Where a place is on it."""
        east_m = _M_PER_DEG * float(np.cos(np.radians(self.lat)))
        return (lon - self.lon) * east_m, (lat - self.lat) * _M_PER_DEG


@dataclass(frozen=True, slots=True)
class Timetable:
    """Stops as metres east and north, and each trip's (planned seconds, stop)."""

    plane: Plane
    stops: dict[str, tuple[float, float]]
    trips: dict[str, list[tuple[float, str]]]


@dataclass(frozen=True, slots=True)
class Run:
    """A trip as it was driven: fixes by time, how far along they are, in both measures.

    Attributes:
        at_m, at_plan: metres along the stops, and planned seconds there, of each fix.
        arrived_s: when the second-last stop was passed; None where that was not seen.
    """

    stops: tuple[str, ...]
    plan_s: Floats
    along_m: Floats
    t: Floats
    at_m: Floats
    at_plan: Floats
    arrived_s: float | None

    @property
    def target(self) -> int:
        """The place that is forecast."""
        return len(self.stops) - 2

    def lane(self, *, planned: bool) -> Lane:
        """The stops, by plan or by distance."""
        return Lane(self.stops, self.plan_s if planned else self.along_m, planned)

    def done(self, fix: int, *, planned: bool) -> float:
        """How far a fix is along the lane."""
        if not planned:
            return float(self.at_m[fix])
        return float(self.plan_s[0] if self.waits(fix) else self.at_plan[fix])

    def waits(self, fix: int) -> bool:
        """Whether it is still at its first stop."""
        return bool(self.at_m[fix] < _ORIGIN_M)

    def passed(self, *, planned: bool) -> Floats:
        """When each stop was passed, NaN where fixes around it are too far apart."""
        if planned:
            return _passed(self.t, self.at_plan, self.plan_s)
        return _passed(self.t, self.at_m, self.along_m)

    def samples(self, *, waiting: bool) -> list[tuple[int, float]]:
        """Fixes one minute to two hours before arrival, and how long before."""
        if self.arrived_s is None:
            return []
        left = [(fix, self.arrived_s - t) for fix, t in enumerate(self.t.tolist())]
        return [
            (fix, left_s)
            for fix, left_s in left
            if 60.0 < left_s <= 7_200.0 and (waiting or not self.waits(fix))
        ]

    def nearest_stop_plan_s(self, fix: int) -> float:
        """What the plan has left from the stop that is nearest along the way: the baseline."""
        nearest = int(np.abs(self.along_m - self.at_m[fix]).argmin())
        return float(self.plan_s[self.target] - self.plan_s[nearest])


def timetable(stops_csv: Path, schedule_csv: Path) -> Timetable:
    """Read the schedule; trips of fewer than four known stops are left out."""
    with gzip.open(stops_csv, "rt", newline="") as lines:
        places = {
            row["stop_id"]: (float(row["stop_lon"]), float(row["stop_lat"]))
            for row in csv.DictReader(lines)
        }
    plane = Plane(*np.median(list(places.values()), axis=0).tolist())
    stops = {id_: plane.of(*place) for id_, place in places.items()}
    trips: dict[str, list[tuple[float, str]]] = defaultdict(list)
    with gzip.open(schedule_csv, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["stop_id"] in stops:
                hours, minutes, seconds = map(int, row["arrival_time"].split(":"))
                planned_s = 3_600.0 * hours + 60.0 * minutes + seconds
                trips[row["trip_id"]].append((planned_s, row["stop_id"]))
    by_time = {trip: sorted(calls, key=lambda call: call[0]) for trip, calls in trips.items()}
    return Timetable(
        plane, stops, {trip: calls for trip, calls in by_time.items() if len(calls) >= 4}
    )


def day(file: Path, table: Timetable) -> list[Run]:
    """The trips of a day's recording that are in the timetable."""
    fixes: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    seen: set[tuple[str, float]] = set()
    with gzip.open(file, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            moment = datetime.fromisoformat(row["timestamp"])
            t = 3_600.0 * moment.hour + 60.0 * moment.minute + moment.second
            if (row["vehicle_id"], t) in seen:
                continue
            seen.add((row["vehicle_id"], t))
            place = table.plane.of(float(row["longitude"]), float(row["latitude"]))
            fixes[row["vehicle_id"], row["trip_id"]].append((t, *place))
    return [
        _run(table.trips[trip], table, of_trip)
        for (_, trip), of_trip in sorted(fixes.items())
        if trip in table.trips and len(of_trip) > 1
    ]


def _run(
    calls: list[tuple[float, str]], table: Timetable, fixes: Iterable[tuple[float, float, float]]
) -> Run:
    plan_s = np.array([planned_s for planned_s, _ in calls])
    path = np.array([table.stops[stop] for _, stop in calls])
    along_m = np.concatenate([[0.0], np.hypot(*np.diff(path, axis=0).T).cumsum()])
    rows = np.array(sorted(fixes))
    # The service day goes on after midnight.
    if plan_s[0] - np.median(rows[:, 0]) > _DAY_S / 2:
        rows[:, 0] += _DAY_S
    else:
        rows[:, 0] += np.where(plan_s[0] - rows[:, 0] > _DAY_S / 2, _DAY_S, 0.0)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
    at_m = np.maximum.accumulate(_matched(rows, path, along_m))
    at_plan = np.interp(at_m, along_m, plan_s)
    stops = tuple(stop for _, stop in calls)
    arrived_s = _arrival(rows[:, 0], at_plan, plan_s)
    return Run(stops, plan_s, along_m, rows[:, 0], at_m, at_plan, arrived_s)


def _matched(fixes: Floats, path: Floats, along_m: Floats) -> Floats:
    """How far along the path each fix is, by the cheapest sequence."""
    steps = np.diff(path, axis=0)
    squared = np.maximum((steps**2).sum(axis=1), 1e-9)
    length = np.sqrt(squared)
    candidates: list[tuple[Floats, NDArray[np.int64]]] = []
    before: tuple[float, Floats, Floats] | None = None
    for t, x, y in fixes.tolist():
        share = np.clip((([x, y] - path[:-1]) * steps).sum(axis=1) / squared, 0.0, 1.0)
        off_m = np.hypot(*(path[:-1] + share[:, None] * steps - [x, y]).T)
        near = np.flatnonzero(off_m < max(400.0, float(off_m.min()) + 1.0))
        at_m = along_m[near] + share[near] * length[near]
        cost = (off_m[near] / 80.0) ** 2
        came = np.zeros(len(near), np.int64)
        if before is not None:
            step_m = at_m[None, :] - before[1][:, None]
            jump = 10.0 * (step_m < -60.0) + 20.0 * (step_m > 28.0 * (t - before[0]))
            total = before[2][:, None] + jump
            came = total.argmin(axis=0)
            cost = cost + total.min(axis=0)
        candidates.append((at_m, came))
        before = (t, at_m, cost)
    assert before is not None, "a run has fixes"
    chosen = int(before[2].argmin())
    found = []
    for at_m, came in reversed(candidates):
        found.append(at_m[chosen])
        chosen = int(came[chosen])
    return np.array(found[::-1])


def _passed(t: Floats, at: Floats, places: Floats) -> Floats:
    found = np.full(len(places), np.nan)
    after = np.searchsorted(at, places, side="left")
    inside = (after > 0) & (after < len(at))
    k = after[inside]
    share = (places[inside] - at[k - 1]) / np.maximum(at[k] - at[k - 1], 1e-9)
    passed = t[k - 1] + share * (t[k] - t[k - 1])
    passed[t[k] - t[k - 1] > _GAP_S] = np.nan
    found[inside] = passed
    return found


def _arrival(t: Floats, at_plan: Floats, plan_s: Floats) -> float | None:
    """When the second-last stop was passed; a stay at the terminal is cut off."""
    reached = np.flatnonzero(at_plan >= plan_s[-2])
    if not len(reached) or reached[0] == 0:
        return None
    k = int(reached[0])
    if t[k] - t[k - 1] > _GAP_S:
        return None
    planned = float(at_plan[k] - at_plan[k - 1])
    took = float(t[k] - t[k - 1])
    if at_plan[k] >= plan_s[-1] - 1.0:
        took = min(took, planned)
    return float(t[k - 1] + (plan_s[-2] - at_plan[k - 1]) / max(planned, 1e-9) * took)
