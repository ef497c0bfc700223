"""Forecasts to a destination, along a path where one is given, else as the crow flies.

The prior is the pace profile along the path, or a learned `a + b * distance^0.6`. What past trips
from around here to around there took against their prior moves it, and so does how this trip has
gone so far, the less the longer it still takes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.geodesy import chords_m, ecef
from tracking.eta.band import Band
from tracking.eta.lane import Arrival
from tracking.eta.nearby import KEPT_SAMPLES, Nearby, Start
from tracking.eta.pace import PaceProfile, Path
from tracking.eta.packed import State, part, put
from tracking.eta.robust import least_absolute

Floats = NDArray[np.float64]

# Travel times grow more slowly than distances: longer trips use faster roads (shared study).
_POWER = 0.6
_FIRST_GUESS = (70.0, 3.4)
# Refitted to so many latest samples, every so many; at first whenever half as many are new.
_KEPT, _REFIT, _REFIT_FIRST = 20_000, 500, 60


class Trip(NamedTuple):
    """A trip that ended: its samples, how long each still took, and how each piece went.

    Attributes:
        starts: where it was, about once a minute.
        took_s: what it took from each of them to the end.
        path, pieces_s: what was driven and how long each piece took; None: not known.
        first_piece: for each start the first piece of the path still ahead.
    """

    starts: Sequence[Start]
    took_s: Floats
    arrived_s: float
    path: Path | None = None
    pieces_s: Floats | None = None
    first_piece: Sequence[int] = ()

    def across(self) -> "Trip":
        """The same as one of whose way nothing is known: its metres are the crow's."""
        here = np.array([start.here for start in self.starts]).reshape(-1, 2)
        there = np.array([start.there for start in self.starts]).reshape(-1, 2)
        left_m = chords_m(*ecef(*here.T), *ecef(*there.T)).tolist()
        starts = [s._replace(left_m=m) for s, m in zip(self.starts, left_m, strict=True)]
        return Trip(starts, self.took_s, self.arrived_s)


class TripEta:
    """Learns from trips that ended, forecasts those under way."""

    def __init__(self, *, usual_mps: float = 8.0, most: int = KEPT_SAMPLES) -> None:
        self._pace = PaceProfile(usual_mps=usual_mps)
        self._nearby = Nearby(most=most)
        self._band = Band(relative=True)
        self._by_distance = np.array(_FIRST_GUESS)
        self._seen: list[tuple[float, float]] = []
        self._unfitted = 0

    def learn(self, trip: Trip) -> None:
        """Take up a trip; trips are taken up in the order in which they ended."""
        self._nearby.learn(trip.starts, trip.took_s, self._priors(trip), trip.arrived_s)
        if trip.path is not None and trip.pieces_s is not None and len(trip.starts):
            self._pace.learn(trip.path, trip.pieces_s, trip.arrived_s, trip.starts[0].day_s)
        self._seen += [
            (start.left_m, took_s)
            for start, took_s in zip(trip.starts, trip.took_s.tolist(), strict=True)
        ]
        self._unfitted += len(trip.starts)
        if self._unfitted >= min(_REFIT, max(_REFIT_FIRST, len(self._seen) // 3)):
            self._refit()

    def calibrate(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Fit the band to forecasts that did not know their own trip."""
        self._band.fit(forecast_s, actual_s)

    def score(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Note how the forecasts of a trip that ended had been."""
        self._band.learn(forecast_s, actual_s)

    def forecast(self, start: Start, now_s: float, path: Path | None = None) -> Arrival:
        """When the destination will be reached; `path` is what is left of it."""
        prior_s = self._prior(start, now_s, path)
        # What distance alone expects is refitted as more is known; what was seen before that is
        # held against what is expected now.
        of_metres = self._of_metres if path is None or not len(path.cells) else None
        evidence = self._nearby.evidence(start, now_s, of_metres)
        p50_s = prior_s * evidence.ratio
        p10_s, p90_s = self._band.around(p50_s)
        return Arrival(p10_s, p50_s, p90_s, prior_s, p50_s, evidence.trips, 0.0)

    def state(self) -> State:
        """All of it, to be saved."""
        state: State = {
            "by_distance": self._by_distance,
            "seen": np.array(self._seen).reshape(-1, 2),
            "unfitted": np.array([self._unfitted]),
        }
        for name, held in (("pace", self._pace), ("nearby", self._nearby), ("band", self._band)):
            put(state, name, held.state())
        return state

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._by_distance = state["by_distance"]
        self._seen = [(left_m, took_s) for left_m, took_s in state["seen"].tolist()]
        self._unfitted = int(state["unfitted"][0])
        for name, held in (("pace", self._pace), ("nearby", self._nearby), ("band", self._band)):
            held.restore(part(state, name))

    def _prior(self, start: Start, now_s: float, path: Path | None) -> float:
        if path is not None and len(path.cells) and self._pace.knows:
            return max(1.0, float(self._pace.seconds(path, now_s, start.day_s).sum()))
        return float(self._of_metres(np.array([start.left_m]))[0])

    def _of_metres(self, left_m: Floats) -> Floats:
        """How long distances take, whatever lies between."""
        fixed_s, per_unit = self._by_distance.tolist()
        seconds: Floats = np.maximum(fixed_s + per_unit * np.maximum(left_m, 0.0) ** _POWER, 1.0)
        return seconds

    def _priors(self, trip: Trip) -> Floats:
        """What would have been expected of each sample, had nothing been known of this trip."""
        known = self._pace.knows and trip.path is not None and len(trip.path.cells)
        if trip.path is None or not known or not trip.starts:
            return self._of_metres(np.array([start.left_m for start in trip.starts]))
        # All pieces at once, at the hour it began: asking for each start anew takes ten times as
        # long and tells the same.
        began_s = trip.arrived_s - float(trip.took_s[0])
        pieces_s = self._pace.seconds(trip.path, began_s, trip.starts[0].day_s)
        left_s = np.append(pieces_s[::-1].cumsum()[::-1], 0.0)
        result: Floats = np.maximum(left_s[np.asarray(trip.first_piece)], 1.0)
        return result

    def _refit(self) -> None:
        self._seen = self._seen[-_KEPT:]
        left_m, took_s = np.array(self._seen).T
        rows = np.stack([np.ones(len(left_m)), left_m**_POWER], axis=1)
        self._by_distance = np.maximum(least_absolute(rows, took_s), 0.0)
        self._unfitted = 0
