"""One tenant's forecaster: everything that was learned, asked leg by leg.

A leg is forecast by up to three experts: trips from around here to around there (`TripEta`), trips
between just these two places, and the plan, each corrected by what it was worth before. They are
weighted by how right they have been of late. All is kept twice, for legs whose way is known and for
those that are known as the crow flies only, because the same hour is another number of metres.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking.eta.band import Calibration
from tracking.eta.lane import Arrival, Lane, LaneEta, Progress
from tracking.eta.nearby import Place, Start
from tracking.eta.pace import Path
from tracking.eta.packed import State, damaged, pack, part, put, unpack
from tracking.eta.trip import Trip, TripEta
from tracking.eta.trust import Merits

Floats = NDArray[np.float64]

# Where a leg begins and ends as a place of its lane: other lanes of the same depot are other
# traffic, and there may be a hundred thousand.
_End = tuple[str, str, int]
# Whether the way is known.
_KINDS = (True, False)
# How much of its lane is left decides who knows best: at its start a lane knows as much as trips
# around do, at its end more, and between them the distance as the crow flies tells little of a
# winding way. Relative errors each expert is thought to have at the end, between and at the start;
# of Austin's buses those of trips around were 1.4, 0.14 and 0.10, of lanes 0.7, 0.24 and 0.09.
_STAGES = (0.3, 0.9)
# A timetable knows more than either until it is shown wrong: the last of the three.
_EXPECTED = ((0.3, 0.15, 0.1), (0.15, 0.25, 0.1), (0.15, 0.15, 0.1))
# With a plan, who has seen less than one trip like it would only guess, and is not asked.
_LEAST_TRIPS = 1.0
# Who ended so near to where it began has been around: that tells how fast roads are, but not how
# long it takes from here to there.
ROUND = 0.25
# Trips and legs known to be learned; what is told anew of an older one may count twice.
_REMEMBERED = 50_000


class Leg(NamedTuple):
    """The rest of a way to a stop, from where something is or from the stop before.

    Attributes:
        left_m: along `path` where that is given, else as the crow flies.
        lane: names of the places between which it runs, for what is known of just these; None:
            it began nowhere in particular.
        planned_s: what the plan has left for it, where stops have planned times; None: no plan.
    """

    here: Place
    there: Place
    left_m: float
    path: Path | None = None
    lane: tuple[str, str] | None = None
    planned_s: float | None = None


class Drive(NamedTuple):
    """A trip between two named places that ended, and what the plan had for it."""

    trip: Trip
    lane: tuple[str, str]
    planned_s: float | None = None


class Trial(NamedTuple):
    """A forecast of what had not been learned yet, and what came.

    `plain_s` is the distance left at the usual speed of all trips so far.
    """

    known_way: bool
    plain_s: float
    actual_s: float
    arrival: Arrival


class _Heard(NamedTuple):
    """What the experts say of a leg: trips around, its lane, the plan; NaN: nothing.

    `trip` is the first one's word in full, `trips` the evidence of all, `stage` how much of the
    lane is left.
    """

    trip: Arrival
    experts_s: Floats
    trips: float
    stage: int


class Engine:
    """Learns from trips that ended, forecasts those under way. No clock, no I/O.

    Memory: at most 200,000 samples of trips (a minute of driving each), 100,000 ends of legs of
    either kind and 1,500,000 sums of pace; the oldest, or least driven, are forgotten.
    """

    def __init__(self) -> None:
        self._trips = {kind: TripEta() for kind in _KINDS}
        self._lanes = {kind: LaneEta(planned=False, rolling=True) for kind in _KINDS}
        self._plans = LaneEta(planned=True, rolling=True)
        self._merits = {kind: [Merits(errors) for errors in _EXPECTED] for kind in _KINDS}
        self._bands = {kind: Calibration(relative=True) for kind in _KINDS}
        # Metres and seconds of all trips; worth a minute at 8 m/s at first.
        self._driven = {kind: np.array([480.0, 60.0]) for kind in _KINDS}
        self._known: dict[int, None] = {}
        self._tried = 0

    def is_new(self, key: int) -> bool:
        """Note that something with this key is learned; False: it has been before."""
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return True

    def learn(self, trip: Trip) -> list[Trial]:
        """Take up a trip; trips are taken up in the order in which they ended.

        What would have been forecast of it is told, and moves the ranges.
        """
        if not trip.starts:
            return []
        ways = _ways(trip)
        trials = self._try(ways, None)
        for known_way, way in ways.items():
            self._trips[known_way].learn(way)
            self._driven[known_way] += (way.starts[0].left_m, float(trip.took_s[0]))
        return trials

    def learn_drive(self, drive: Drive) -> list[Trial]:
        """Take up a trip between two named places, for what is known of just these.

        What it tells of the region is learned from the trips of its device, by `learn`.
        """
        trip = drive.trip
        if not trip.starts:
            return []
        ways = _ways(trip)
        trials = self._try(ways, drive)
        left_at_s = trip.arrived_s - float(trip.took_s[0])
        passed_s = np.array([left_at_s, trip.arrived_s])
        day_s = (passed_s + trip.starts[0].day_s - left_at_s) % 86_400.0
        for known_way, way in ways.items():
            lane = _lane(drive.lane, way.starts[0].left_m)
            self._lanes[known_way].learn(lane, passed_s, day_s)
        if drive.planned_s is not None:
            self._plans.learn(_plan(drive.lane, left_at_s, drive.planned_s), passed_s, day_s)
        return trials

    def score(
        self, forecast_s: Sequence[float], actual_s: Sequence[float], *, known_way: bool
    ) -> None:
        """Note how forecasts of legs that ended had been: the ranges follow."""
        self._bands[known_way].learn(np.array(forecast_s), np.array(actual_s))

    def forecast(self, leg: Leg, now_s: float) -> Arrival:
        """When a leg that goes on at `now_s` (Unix seconds) will have been driven."""
        return self._blend(leg, self._ask(leg, now_s))

    def save(self) -> bytes:
        """All that was learned. What is loaded from it forecasts and learns bit by bit alike."""
        state: State = {
            "driven": np.array([self._driven[kind] for kind in _KINDS]),
            "tried": np.array([self._tried]),
            "known": np.fromiter(self._known, np.int64, len(self._known)),
        }
        for name, held in self._named():
            put(state, name, held.state())
        return pack(state)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """The engine that was saved.

        Raises:
            ModelUnreadable: it is damaged, or of a newer format; the message says what to do.
        """
        state = unpack(data)
        engine = cls()
        try:
            engine._restore(state)
        except (KeyError, IndexError, ValueError, TypeError, msgspec.DecodeError) as exc:
            raise damaged(exc) from exc
        return engine

    def _restore(self, state: State) -> None:
        self._driven = dict(zip(_KINDS, state["driven"], strict=True))
        self._tried = int(state["tried"][0])
        self._known = dict.fromkeys(state["known"].tolist())
        for name, held in self._named():
            if isinstance(held, LaneEta):
                held.restore(part(state, name), _End)
            else:
                held.restore(part(state, name))

    def _named(self) -> list[tuple[str, TripEta | LaneEta | Merits | Calibration]]:
        parts: list[tuple[str, TripEta | LaneEta | Merits | Calibration]] = [("plans", self._plans)]
        for kind in _KINDS:
            name = "along" if kind else "across"
            parts += [
                (f"{name} trips", self._trips[kind]),
                (f"{name} lanes", self._lanes[kind]),
                *((f"{name} merits {i}", merits) for i, merits in enumerate(self._merits[kind])),
                (f"{name} band", self._bands[kind]),
            ]
        return parts

    def _ask(self, leg: Leg, now_s: float) -> _Heard:
        known_way, day_s = leg.path is not None, local_day_s(now_s, leg.here[0])
        start = Start(leg.here, leg.there, leg.left_m, day_s)
        trip = self._trips[known_way].forecast(start, now_s, leg.path)
        experts_s, trips, stage = np.array([trip.p50_s, np.nan, np.nan]), trip.trips, 1
        if leg.lane is not None:
            sample = self._lanes[known_way].sample(
                _lane(leg.lane, leg.left_m),
                Progress(0.0, now_s, day_s),
                1,
                usual=trip.p50_s / max(leg.left_m, 1.0),
            )
            whole_m = self._lanes[known_way].size(*_ends(leg.lane))
            if sample.trips > 0.0 and whole_m is not None:
                experts_s[1] = sample.like_s
                trips += sample.trips
                stage = bisect(_STAGES, leg.left_m / max(whole_m, 1.0))
        if leg.planned_s is not None:
            plan = _plan(leg.lane or ("", ""), now_s, leg.planned_s)
            experts_s[2] = self._plans.sample(plan, Progress(now_s, now_s, day_s), 1).like_s
            if trip.trips < _LEAST_TRIPS:
                experts_s[0] = np.nan
        return _Heard(trip, experts_s, trips, stage)

    def _blend(self, leg: Leg, heard: _Heard) -> Arrival:
        known_way, said = leg.path is not None, np.isfinite(heard.experts_s)
        weights = self._merits[known_way][heard.stage].weights(said)
        p50_s = max(0.0, float(weights[said] @ heard.experts_s[said]))
        p10_s, p90_s = self._bands[known_way].around(p50_s)
        prior_s = self._plain_s(leg) if leg.planned_s is None else leg.planned_s
        return Arrival(p10_s, p50_s, p90_s, prior_s, heard.trip.p50_s, heard.trips, 0.0)

    def _try(self, ways: Mapping[bool, Trip], drive: Drive | None) -> list[Trial]:
        """Forecast what is about to be learned; experts and ranges are judged by it."""
        trials: list[Trial] = []
        self._tried += 1
        for known_way, way in ways.items():
            # One start of each, and all parts of trips alike, as forecasts are asked for.
            i = self._tried % len(way.starts)
            leg, actual_s = _leg(way, i, drive), float(way.took_s[i])
            heard = self._ask(leg, way.arrived_s - actual_s)
            told = self._blend(leg, heard)
            if drive is not None:
                self._merits[known_way][heard.stage].learn(heard.experts_s, actual_s)
            self.score([told.p50_s], [actual_s], known_way=known_way)
            trials.append(Trial(known_way, self._plain_s(leg), actual_s, told))
        return trials

    def _plain_s(self, leg: Leg) -> float:
        """What distance alone says: at the usual speed, along the way or as the crow flies."""
        metres, seconds = self._driven[leg.path is not None].tolist()
        return float(leg.left_m * seconds / metres)


def _ways(trip: Trip) -> dict[bool, Trip]:
    """The trip as each kind of leg would know it."""
    across, ways = trip.across(), {}
    if trip.path is not None:
        ways[True] = trip
    if trip.path is None or across.starts[0].left_m >= ROUND * trip.starts[0].left_m:
        ways[False] = across
    return ways


def _leg(way: Trip, start: int, drive: Drive | None) -> Leg:
    """What was left of a trip at one of its starts."""
    at = way.starts[start]
    path = None if way.path is None else way.path.after(way.first_piece[start])
    if drive is None:
        return Leg(at.here, at.there, at.left_m, path)
    planned_s = drive.planned_s
    if planned_s is not None:
        planned_s *= at.left_m / max(way.starts[0].left_m, 1.0)
    return Leg(at.here, at.there, at.left_m, path, drive.lane, planned_s)


def _lane(lane: tuple[str, str], metres: float) -> Lane:
    return Lane(_ends(lane), np.array([0.0, metres]), planned=False)


def _plan(lane: tuple[str, str], now_s: float, planned_s: float) -> Lane:
    return Lane(_ends(lane), np.array([now_s, now_s + planned_s]), planned=True)


def _ends(lane: tuple[str, str]) -> tuple[_End, _End]:
    return (*lane, 0), (*lane, 1)


def local_day_s(time_s: float, lon: float) -> float:
    """Seconds of the solar day at a longitude: the hour of day wherever no time zone is known.

    Learning and forecasting use the same, so summer time shifts both alike.
    """
    return (time_s + lon * 240.0) % 86_400.0
