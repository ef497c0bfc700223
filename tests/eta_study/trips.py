"""The campus shuttle, whose remaining path is given, and the taxis, whose destination is."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from tests.eta_study.score import Score
from tracking.eta.engine import Engine, Leg, local_day_s
from tracking.eta.lane import Arrival
from tracking.eta.nearby import Start
from tracking.eta.pace import RESOLUTION, headings_of
from tracking.eta.pace import Path as Way
from tracking.eta.trip import Trip, TripEta

Floats = NDArray[np.float64]

_DAY_S = 86_400.0
_EVERY_S = 60.0
_M_PER_DEG = 111_195.0
# A heading is that of half a minute, or noise of the receiver would turn it.
_HEADING_FIXES = 4
# What jumps further in 15 s was not driven.
_JUMP_MPS = 45.0


@dataclass(frozen=True, slots=True)
class Drive:
    """A trip: seconds, degrees, metres still to go, seconds of the local day, and its way.

    `left_m` is by the way where that is given to the forecaster, else as the crow flies;
    `driven_m` is by the way in any case.
    """

    t: Floats
    lon: Floats
    lat: Floats
    left_m: Floats
    day_s: Floats
    driven_m: float
    way: Way | None

    def samples(self, least_s: float) -> tuple[list[int], Floats]:
        """A fix a minute while at least so much is left, and how much that is."""
        moments = np.arange(self.t[0], self.t[-1] - least_s + 1e-9, _EVERY_S)
        fixes = np.searchsorted(self.t, moments, side="right") - 1
        return fixes.tolist(), self.t[-1] - self.t[fixes]

    def start(self, fix: int) -> Start:
        """Where it is at a fix."""
        here = (float(self.lon[fix]), float(self.lat[fix]))
        there = (float(self.lon[-1]), float(self.lat[-1]))
        return Start(here, there, float(self.left_m[fix]), float(self.day_s[fix]))

    def trip(self, least_s: float) -> Trip:
        """All of it, to learn from."""
        fixes, left_s = self.samples(least_s)
        starts = [self.start(fix) for fix in fixes]
        pieces_s = None if self.way is None else np.diff(self.t)
        return Trip(starts, left_s, float(self.t[-1]), self.way, pieces_s, fixes)


class Forecaster(Protocol):
    """What is studied."""

    def learn(self, trip: Trip) -> None:
        """Take up a trip that ended."""

    def forecast(self, start: Start, now_s: float, path: Way | None = None) -> Arrival:
        """When its destination will be reached."""

    def calibrate(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Fit the range to forecasts that did not know their own trip."""

    def score(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Note how the forecasts of a trip that ended had been."""


class Whole:
    """The engine as shipments use it: it calibrates itself, by trips it has not learned yet."""

    def __init__(self) -> None:
        self._engine = Engine()

    def learn(self, trip: Trip) -> None:
        """Take up a trip that ended, its hours told by the sun as the engine does."""
        moments_s = (trip.arrived_s - trip.took_s).tolist()
        starts = [
            start._replace(day_s=local_day_s(at_s, start.here[0]))
            for start, at_s in zip(trip.starts, moments_s, strict=True)
        ]
        self._engine.learn(trip._replace(starts=starts))

    def forecast(self, start: Start, now_s: float, path: Way | None = None) -> Arrival:
        """When the leg to its destination will have been driven."""
        return self._engine.forecast(Leg(start.here, start.there, start.left_m, path), now_s)

    def calibrate(self, forecast_s: Floats, actual_s: Floats) -> None:
        """It has."""

    def score(self, forecast_s: Floats, actual_s: Floats) -> None:
        """It has."""


def study(
    name: str,
    train: Sequence[Drive],
    test: Sequence[Drive],
    *,
    least_s: float,
    make: Callable[[], Forecaster] = TripEta,
) -> Score:
    """Learn trip by trip, calibrating on what was not known yet, then go on with the test trips.

    The baseline is the distance left at `usual_mps` of the training trips.
    """
    score, engine = Score(name), make()
    forecasts: list[float] = []
    truth: list[float] = []
    for drive in sorted(train, key=lambda drive: float(drive.t[-1])):
        fixes, left_s = drive.samples(least_s)
        forecasts += [_forecast(engine, drive, fix).p50_s for fix in fixes]
        truth += left_s.tolist()
        with score.learning(len(drive.t)):
            engine.learn(drive.trip(least_s))
    # The first third knew too little to be typical.
    typical = len(truth) // 3
    engine.calibrate(np.array(forecasts[typical:]), np.array(truth[typical:]))
    _replay(engine, test, score, usual_mps(train), least_s)
    return score


def _replay(
    engine: Forecaster, drives: Sequence[Drive], score: Score, baseline_mps: float, least_s: float
) -> None:
    moments = sorted(
        (float(drive.t[fix]), number, fix, left)
        for number, drive in enumerate(drives)
        for fix, left in zip(*drive.samples(least_s), strict=True)
    )
    endings = sorted((float(drive.t[-1]), number) for number, drive in enumerate(drives))
    told: dict[int, list[tuple[float, float]]] = {}
    for now_s, number, fix, left_s in moments:
        while endings and endings[0][0] <= now_s:
            ended = endings.pop(0)[1]
            engine.learn(drives[ended].trip(least_s))
            if ended in told:
                engine.score(*np.array(told[ended]).T)
        drive = drives[number]
        with score.forecasting():
            arrival = _forecast(engine, drive, fix)
        told.setdefault(number, []).append((arrival.p50_s, float(left_s)))
        score.add(float(left_s), float(drive.left_m[fix]) / baseline_mps, arrival)


def _forecast(engine: Forecaster, drive: Drive, fix: int) -> Arrival:
    way = None if drive.way is None else drive.way.after(fix)
    return engine.forecast(drive.start(fix), float(drive.t[fix]), way)


def chicago(tracks_zip: Path, zone: int, utc_offset_h: float) -> list[Drive]:
    """The shuttle's trips by time, which is not the order of their numbers.

    Places are metres of a northern UTM zone. Files tell no time zone.
    """
    with zipfile.ZipFile(tracks_zip) as file:
        names = [name for name in file.namelist() if "trip_" in name and "MACOSX" not in name]
        rows = [np.loadtxt(io.StringIO(file.read(name).decode()), ndmin=2) for name in names]
        drives = [_shuttle(of_trip, zone, utc_offset_h) for of_trip in rows]
    return sorted(drives, key=lambda drive: float(drive.t[0]))


def _shuttle(rows: Floats, zone: int, utc_offset_h: float) -> Drive:
    rows = rows[np.argsort(rows[:, 2], kind="stable")]
    rows = rows[np.concatenate([[True], np.diff(rows[:, 2]) > 0])]
    east_m, north_m, t = rows.T
    lon, lat = _from_utm(east_m, north_m, zone)
    metres = np.hypot(np.diff(east_m), np.diff(north_m))
    n = len(t) - 1
    first = np.maximum(np.arange(n) - _HEADING_FIXES, 0)
    last = np.minimum(np.arange(n) + _HEADING_FIXES + 1, n)
    cells = [
        int(h3.latlng_to_cell(*place, RESOLUTION))
        for place in zip((lat[1:] + lat[:-1]) / 2, (lon[1:] + lon[:-1]) / 2, strict=True)
    ]
    headings = headings_of(east_m[last] - east_m[first], north_m[last] - north_m[first])
    way = Way(np.array(cells, np.int64), headings, metres)
    left_m = np.concatenate([metres[::-1].cumsum()[::-1], [0.0]])
    day_s = (t + 3_600.0 * utc_offset_h) % _DAY_S
    return Drive(t, lon, lat, left_m, day_s, float(metres.sum()), way)


def _from_utm(east_m: Floats, north_m: Floats, zone: int) -> tuple[Floats, Floats]:
    """Degrees of a UTM zone of the north; Snyder, Map Projections (1987), p. 63."""
    e2 = 0.00669437999014
    second = e2 / (1 - e2)
    x, meridian = (east_m - 500_000.0) / 0.9996, north_m / 0.9996
    mu = meridian / (6_378_137.0 * (1 - e2 / 4 - 3 * e2**2 / 64))
    e1 = (1 - np.sqrt(1 - e2)) / (1 + np.sqrt(1 - e2))
    foot = mu + 1.5 * e1 * np.sin(2 * mu) + 21 * e1**2 / 16 * np.sin(4 * mu)
    c, t = second * np.cos(foot) ** 2, np.tan(foot) ** 2
    n = 6_378_137.0 / np.sqrt(1 - e2 * np.sin(foot) ** 2)
    r = 6_378_137.0 * (1 - e2) / (1 - e2 * np.sin(foot) ** 2) ** 1.5
    d = x / n
    lat = foot - n * np.tan(foot) / r * (
        d**2 / 2 - (5 + 3 * t + 10 * c - 4 * c**2 - 9 * second) * d**4 / 24
    )
    lon = (d - (1 + 2 * t + c) * d**3 / 6) / np.cos(foot)
    return np.degrees(lon) + 6.0 * zone - 183.0, np.degrees(lat)


def porto(train_csv: Path) -> list[Drive]:
    """The taxis' trips by time; those that jump are left out."""
    drives = []
    with gzip.open(train_csv, "rt") as lines:
        for row in csv.DictReader(lines):
            line: Floats = np.array(json.loads(row["POLYLINE"])).astype(np.float64)
            if len(line) < 2:
                continue
            t = float(row["TIMESTAMP"]) + 15.0 * np.arange(float(len(line)))
            drive = _taxi(line, t)
            if drive is not None:
                drives.append(drive)
    return sorted(drives, key=lambda drive: float(drive.t[0]))


def _taxi(line: Floats, t: Floats) -> Drive | None:
    east_m = _M_PER_DEG * float(np.cos(np.radians(line[0, 1])))
    metres = line * np.array([east_m, _M_PER_DEG])
    steps_m = np.hypot(*np.diff(metres, axis=0).T)
    if steps_m.max() / 15.0 > _JUMP_MPS:
        return None
    left_m, driven_m = np.hypot(*(metres - metres[-1]).T), float(steps_m.sum())
    return Drive(t, line[:, 0], line[:, 1], left_m, _solar_day_s(t, line), driven_m, None)


def _solar_day_s(t: Floats, line: Floats) -> Floats:
    """Nothing here is by parts of the day, so that the sun's time will do."""
    return (t + float(line[0, 0]) * 240.0) % _DAY_S


def usual_mps(drives: Sequence[Drive]) -> float:
    """How fast `left_m` becomes less, for baselines: mean speed by the usual detour."""
    driven_m = np.array([drive.driven_m for drive in drives])
    took_s = np.array([float(drive.t[-1] - drive.t[0]) for drive in drives])
    direct_m = np.array([float(drive.left_m[0]) for drive in drives])
    detour = float(np.median(driven_m / np.maximum(direct_m, 1.0)))
    return float(driven_m.sum() / took_s.sum()) / detour


def split(drives: Sequence[Drive]) -> tuple[list[Drive], list[Drive]]:
    """The first two thirds, as far as they had ended when the last third began, and the rest."""
    cut = len(drives) * 2 // 3
    begins_s = float(drives[cut].t[0])
    return [drive for drive in drives[:cut] if drive.t[-1] <= begins_s], list(drives[cut:])
