"""What was driven, made fit to learn from: fixes become trips, or are left out for a reason."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.eta.engine import ROUND, Drive, Engine, Trial, local_day_s
from tracking.eta.nearby import Start
from tracking.eta.trip import Trip
from tracking.eta.way import way_of

Floats = NDArray[np.float64]

_LEAST_FIXES = 4
_LEAST_S, _LEAST_M = 120.0, 500.0
# Nobody saw where it was for so long, or it went so fast.
_HOLE_S, _JUMP_MPS = 900.0, 70.0
# A way is known where this part of it is in steps this short; else roads wind between the fixes.
_STEP_M, _SHORT_STEPS = 1_500.0, 0.8
# A sample a minute; of trips of more than an hour as many as of an hour.
_EVERY_S, _MOST_SAMPLES = 60.0, 60
# Trials kept for judging; those of the last part of them, when the most was known.
_TRIALS, _LAST, _LEAST_TRIALS = 20_000, 0.2, 50
# Samples end this long before the trip does.
_END_S = 30.0


class Unfit(StrEnum):
    """Why something that was driven teaches nothing."""

    FEW_FIXES = "few_fixes"
    TOO_LONG = "too_many_fixes"
    SHORT = "too_short"
    HOLE = "hole_in_the_fixes"
    JUMP = "jump"
    ROUND = "around_and_back"
    KNOWN = "known_already"
    NOT_SEEN = "stop_said_not_seen"
    NO_DEPARTURE = "no_departure"
    OTHER_DEVICE = "other_device"
    CAME_BACK = "came_back"


class Track(NamedTuple):
    """The ok fixes from a departure to an arrival: Unix seconds and degrees."""

    time_s: Floats
    lon: Floats
    lat: Floats


class Told(NamedTuple):
    """A forecast that was stored while a leg was driven, and what it came to."""

    known_way: bool
    forecast_s: float
    actual_s: float


class Lesson(NamedTuple):
    """Something that was driven, to be learned once.

    Attributes:
        key: the same for what is the same, however often it is told.
        lane: names of the places between which a shipment was carried; None: a device's trip.
        planned_s: what a timetable had for it; None: there was none.
        driven: its fixes, or why there is nothing to learn.
    """

    key: int
    driven: Track | Unfit
    lane: tuple[str, str] | None = None
    told: Sequence[Told] = ()
    planned_s: float | None = None


class Merit(NamedTuple):
    """How good forecasts were that were made of trips before they were learned.

    `plain_mae_s` is the error of distance at the usual speed on the same; `within` the part that
    came between p10 and p90.
    """

    known_way: bool
    forecasts: int
    mae_s: float
    plain_mae_s: float
    within: float


@dataclass(slots=True)
class Learned:
    """What a course of lessons came to; the last trials are kept, in the order of the lessons."""

    trips: int = 0
    legs: int = 0
    fixes: int = 0
    scored: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    trials: deque[Trial] = field(default_factory=lambda: deque(maxlen=_TRIALS))

    @property
    def any(self) -> bool:
        """Whether anything was learned."""
        return bool(self.trips or self.legs or self.scored)

    @property
    def seen(self) -> int:
        """How many lessons there were."""
        return self.trips + self.legs + self.left_out.total()

    def merits(self) -> list[Merit]:
        """What the last part of the trials shows, by whether the way was known."""
        n = max(round(len(self.trials) * _LAST), _LEAST_TRIALS)
        last = list(self.trials)[-n:]
        return [
            _merit([one for one in last if one.known_way is known_way])
            for known_way in (True, False)
            if any(one.known_way is known_way for one in last)
        ]

    def add(self, other: "Learned") -> None:
        """Go on with what more was learned."""
        self.trips += other.trips
        self.legs += other.legs
        self.fixes += other.fixes
        self.scored += other.scored
        self.left_out += other.left_out
        self.trials += other.trials


def _merit(trials: Sequence[Trial]) -> Merit:
    rows = [
        (one.actual_s, one.plain_s, one.arrival.p10_s, one.arrival.p50_s, one.arrival.p90_s)
        for one in trials
    ]
    actual, plain, low, middle, high = np.array(rows).T
    return Merit(
        known_way=trials[0].known_way,
        forecasts=len(trials),
        mae_s=float(np.abs(middle - actual).mean()),
        plain_mae_s=float(np.abs(plain - actual).mean()),
        within=float(((low <= actual) & (actual <= high)).mean()),
    )


def learn(engine: Engine, lessons: Iterable[Lesson]) -> Learned:
    """Have an engine learn, in this order."""
    learned = Learned()
    for lesson in lessons:
        if not engine.is_new(lesson.key):
            learned.left_out[Unfit.KNOWN] += 1
            continue
        for known_way in (True, False):
            told = [one for one in lesson.told if one.known_way is known_way]
            if told:
                engine.score(
                    [one.forecast_s for one in told],
                    [one.actual_s for one in told],
                    known_way=known_way,
                )
                learned.scored += len(told)
        trip = lesson.driven if isinstance(lesson.driven, Unfit) else trip_of(lesson.driven)
        if isinstance(trip, Unfit):
            learned.left_out[trip] += 1
        elif lesson.lane is not None:
            learned.trials += engine.learn_drive(Drive(trip, lesson.lane, lesson.planned_s))
            learned.legs += 1
        else:
            learned.trials += engine.learn(trip)
            learned.trips += 1
            learned.fixes += len(lesson.driven[0])
    return learned


def trip_of(track: Track) -> Trip | Unfit:
    """The trip a track tells of, or why it teaches nothing."""
    time_s, lon, lat = track
    if len(time_s) < _LEAST_FIXES:
        return Unfit.FEW_FIXES
    steps_s = np.diff(time_s)
    way = way_of(np.stack([lon, lat], axis=1))
    steps_m = np.diff(way.along_m)
    if time_s[-1] - time_s[0] < _LEAST_S or way.length_m < _LEAST_M:
        return Unfit.SHORT
    if steps_s.max() > _HOLE_S:
        return Unfit.HOLE
    if (steps_m / np.maximum(steps_s, 1.0)).max() > _JUMP_MPS:
        return Unfit.JUMP
    fixes = _samples(time_s)
    left_m = way.length_m - way.along_m[fixes]
    there = (float(lon[-1]), float(lat[-1]))
    starts = [
        Start((lon_, lat_), there, m, local_day_s(at_s, lon_))
        for lon_, lat_, m, at_s in zip(
            lon[fixes].tolist(), lat[fixes].tolist(), left_m.tolist(), time_s[fixes].tolist(),
            strict=True,
        )
    ]  # fmt: skip
    took_s, arrived_s = time_s[-1] - time_s[fixes], float(time_s[-1])
    trip = Trip(starts, took_s, arrived_s)
    if steps_m[steps_m <= _STEP_M].sum() < _SHORT_STEPS * way.length_m:
        trip = trip.across()
        return Unfit.ROUND if trip.starts[0].left_m < ROUND * way.length_m else trip
    first = [way.piece(along_m) for along_m in way.along_m[fixes].tolist()]
    return trip._replace(path=way.path, pieces_s=way.spread(time_s), first_piece=first)


def _samples(time_s: Floats) -> list[int]:
    """The fixes that become samples: the first, and about one a minute."""
    took_s = float(time_s[-1] - time_s[0])
    every_s = max(_EVERY_S, took_s / _MOST_SAMPLES)
    moments_s = np.arange(time_s[0], time_s[-1] - _END_S, every_s)
    fixes = np.unique(np.searchsorted(time_s, moments_s))
    return [fix for fix in fixes.tolist() if time_s[-1] - time_s[fix] >= _END_S]
