"""Forecasts along known places: a timetable's stops or a shipment's, with planned times or without.

The prior is what the plan has left, or distance at the usual pace. Past trips between the same two
places tell how much longer it takes at this hour and with such a delay; those of today count more.
Without a plan the hops on the way tell as well, and count more where few trips went all of it.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.eta.band import Band
from tracking.eta.hops import Hops
from tracking.eta.packed import State, part, put
from tracking.eta.passages import Between, Passages
from tracking.eta.robust import least_absolute
from tracking.eta.trust import Trust

Floats = NDArray[np.float64]

_DAY_S = 86_400.0
# Trips this much slower or faster than planned waited, broke down or were misread.
_LEAST, _MOST = 0.4, 2.5
# Parts of a plan below this are rounded to the minute and say nothing.
_LEAST_SIZE_S, _LEAST_SIZE_M = 60.0, 100.0
_SPEEDS_MPS = (1.0, 40.0)
# Kernels. Optima are flat: doubling or halving any costs 2 to 3 s of 115 (shared study).
_HOURS_PLANNED_S, _HOURS_MEASURED_S = 20_000.0, 3_600.0
_LEAD_S = 120.0
_TODAY_S = 14_400.0
_TODAY_N = 8
_PRIOR_PLANNED, _PRIOR_MEASURED = 0.5, 0.3
# Without a plan a trip of today says more than one of another day.
_TODAY_WEIGHT = 2.0
# A delay is made up over so much of the plan, if at all.
_RECOVERY_S = 900.0

# Until calibrated: no correction of a plan's delays; the hops' share of a forecast without one.
_UNCORRECTED, _BY_HOPS = (0.0,) * 6, (0.4, 0.6, 0.0)
# Where so many trips went all of the way, the hops count e times less.
_FEW_TRIPS = 2.0


class Lane(NamedTuple):
    """The places of a trip, in order, and how far along each is.

    Attributes:
        size: planned times on the clock of the fixes, or metres from the first place.
        planned: which of the two it is.
    """

    places: Sequence[Hashable]
    size: Floats
    planned: bool


class Progress(NamedTuple):
    """How far a trip on a lane is, by `size`; `day_s` is `now_s` as seconds of the local day."""

    done: float
    now_s: float
    day_s: float


class Arrival(NamedTuple):
    """When a place will be reached, in seconds from now, and what moved the forecast.

    Attributes:
        prior_s: what the plan, or the usual pace, says alone.
        like_s: what past trips make of it.
        trips: how much evidence that is, in trips just like this one.
        held_s: seconds added because delays are made up, and early ones held; without a plan,
            because of the hops on the way.
    """

    p10_s: float
    p50_s: float
    p90_s: float
    prior_s: float
    like_s: float
    trips: float
    held_s: float


class Sample(NamedTuple):
    """A forecast in its parts, to be scored when the trip has ended."""

    now_s: float
    prior_s: float
    like_s: float
    trips: float
    features: Floats


class LaneEta:
    """Learns from trips that ended, forecasts those under way; one instance per kind of traffic.

    `usual_mps` is the pace of lanes without a plan until history knows better. With `rolling` a
    trip is of its day and of today at once, so that learning can go on for ever.
    """

    def __init__(self, *, planned: bool, usual_mps: float = 8.0, rolling: bool = False) -> None:
        self.planned = planned
        self.usual_mps = usual_mps
        self._past: Passages[Hashable] = Passages()
        self._today: Passages[Hashable] = self._past if rolling else Passages()
        self._hops = Hops(usual_mps=usual_mps)
        self._correction = np.array(_UNCORRECTED if planned else _BY_HOPS)
        self._band = Band(relative=not planned)
        self._trust = Trust(2)

    def learn(self, lane: Lane, passed_s: Floats, day_s: Floats, *, today: bool = False) -> None:
        """Take up a trip that ended: when it passed each place, NaN where that was not seen."""
        lead = passed_s - lane.size if lane.planned else np.zeros(len(passed_s))
        book = self._today if today else self._past
        book.add(lane.places, passed_s, lane.size, lead, day_s)
        if _has_hops(lane):
            self._hops.learn(lane.places, passed_s, lane.size, day_s, today=today)

    def calibrate(self, samples: Sequence[Sample], actual_s: Floats) -> None:
        """Fit correction and band to forecasts that did not know their own trip's history."""
        features = np.array([sample.features for sample in samples])
        like_s = np.array([sample.like_s for sample in samples])
        self._correction = least_absolute(features, actual_s - like_s)
        self._band.fit(like_s + features @ self._correction, actual_s)

    def score(self, samples: Sequence[Sample], actual_s: Floats, ended_s: float) -> None:
        """Note how the forecasts of a trip that ended had been."""
        if not samples:
            return
        forecasts = np.array([(sample.prior_s, self._corrected(sample)) for sample in samples])
        self._trust.learn(ended_s, forecasts, actual_s)
        self._band.learn(forecasts[:, 1], actual_s)

    def forecast(self, lane: Lane, progress: Progress, target: int) -> Arrival:
        """When place number `target` of the lane will be reached."""
        return self.arrival(self.sample(lane, progress, target))

    def arrival(self, sample: Sample) -> Arrival:
        """The forecast a sample makes by what is known now."""
        corrected_s = self._corrected(sample)
        of_prior, of_history = self._trust.weights(sample.now_s).tolist()
        p50_s = max(0.0, of_prior * sample.prior_s + of_history * corrected_s)
        p10_s, p90_s = self._band.around(p50_s)
        held_s = corrected_s - sample.like_s
        return Arrival(p10_s, p50_s, p90_s, sample.prior_s, sample.like_s, sample.trips, held_s)

    def sample(
        self, lane: Lane, progress: Progress, target: int, *, usual: float | None = None
    ) -> Sample:
        """What plan and history say of a trip under way, before correction and trust.

        `usual` is what each unit of size takes where history is thin; None: as planned, or at the
        usual pace.
        """
        left = max(0.0, float(lane.size[target]) - progress.done)
        waits_s = lead_s = 0.0
        if lane.planned:
            late_s = progress.now_s - progress.done
            # At the origin it will not leave early.
            waits_s = max(0.0, -late_s) if progress.done <= lane.size[0] else 0.0
            lead_s = late_s + waits_s
        behind = int(np.searchsorted(lane.size, progress.done, side="right")) - 1
        behind = min(max(behind, 0), max(target - 1, 0))
        if usual is None:
            usual = 1.0 if self.planned else 1.0 / self.usual_mps
        ends = (lane.places[behind], lane.places[target])
        ratio, trips = self._ratio(ends, progress, lead_s, usual)
        prior_s = left if lane.planned else left / self.usual_mps
        if lane.planned:
            features = _delays(left, lead_s, trips)
        elif _has_hops(lane):
            features = _hopped(self._hops_s(lane, progress, behind, target) - left * ratio, trips)
        else:
            features = _hopped(0.0, trips)
        return Sample(progress.now_s, prior_s + waits_s, left * ratio + waits_s, trips, features)

    def size(self, here: Hashable, there: Hashable) -> float | None:
        """How much there is between two places, by the median of those who went; None: nobody."""
        rows = self._past.between(here, there)
        return None if rows is None else float(np.median(rows.size))

    def state(self) -> State:
        """All a rolling one has learned of lanes of two places, to be saved."""
        state: State = {"correction": self._correction}
        for name, held in (("past", self._past), ("band", self._band), ("trust", self._trust)):
            put(state, name, held.state())
        return state

    def restore(self, state: State, place: Any) -> None:  # noqa: ANN401 -- a type, for msgspec
        """Be what was saved; places are read as `place`."""
        self._correction = state["correction"]
        self._past.restore(part(state, "past"), place)
        self._band.restore(part(state, "band"))
        self._trust.restore(part(state, "trust"))

    def _hops_s(self, lane: Lane, progress: Progress, behind: int, target: int) -> float:
        metres = np.diff(np.maximum(lane.size[behind : target + 1], progress.done))
        places = lane.places[behind : target + 1]
        return self._hops.seconds(places, metres, progress.now_s, progress.day_s)

    def _corrected(self, sample: Sample) -> float:
        return max(0.0, sample.like_s + float(sample.features @ self._correction))

    def _ratio(
        self, ends: tuple[Hashable, Hashable], progress: Progress, lead_s: float, usual: float
    ) -> tuple[float, float]:
        """Seconds per unit of size that trips like this one took, and how many they are."""
        weight = _PRIOR_PLANNED if self.planned else _PRIOR_MEASURED
        total, trips = weight * usual, 0.0
        for book, recent in ((self._past, False), (self._today, True)):
            rows = book.between(*ends)
            if rows is None:
                continue
            weights = self._weights(rows, progress, lead_s, recent=recent)
            ratios = rows.took_s / np.maximum(rows.size, 1e-9)
            total += float(np.where(weights > 0, weights * ratios, 0.0).sum())
            trips += float(weights.sum())
        return total / (weight + trips), trips

    def _weights(self, rows: Between, progress: Progress, lead_s: float, *, recent: bool) -> Floats:
        """How much like this trip each past one is; 0 for what is no evidence."""
        if recent:
            age_s = progress.now_s - rows.arrived_s
            weights = np.exp(-np.maximum(age_s, 0.0) / _TODAY_S)
            # Known are those that have arrived; of these the last few.
            known = np.sort(age_s[age_s >= 0])[:_TODAY_N]
            weights[(age_s < 0) | (age_s > known.max(initial=0.0))] = 0.0
        else:
            apart_s = np.abs(rows.left_s - progress.day_s)
            hours_s = _HOURS_PLANNED_S if self.planned else _HOURS_MEASURED_S
            weights = np.exp(-np.minimum(apart_s, _DAY_S - apart_s) / hours_s)
        if self.planned:
            weights *= np.exp(-np.abs(rows.lead - lead_s) / _LEAD_S)
            ratio = rows.took_s / np.maximum(rows.size, 1.0)
            usable = (rows.size > _LEAST_SIZE_S) & (ratio > _LEAST) & (ratio < _MOST)
        else:
            weights *= _TODAY_WEIGHT if recent else 1.0
            speed = rows.size / np.maximum(rows.took_s, 1.0)
            usable = (rows.size > _LEAST_SIZE_M) & (speed > _SPEEDS_MPS[0])
            usable &= speed < _SPEEDS_MPS[1]
        return np.where(usable, weights, 0.0)


def _has_hops(lane: Lane) -> bool:
    """Whether there is more to know than how long all of it takes."""
    return not lane.planned and len(lane.places) > 2


def _hopped(further_s: float, trips: float) -> Floats:
    """How much further off the sum of the hops is than what trips all the way took, and a term."""
    return np.array([further_s, further_s * float(np.exp(-trips / _FEW_TRIPS)), 60.0])


def _delays(left: float, lead_s: float, trips: float) -> Floats:
    """What a correction of the delay may build on: the late recover, the early are held."""
    late_s, early_s = max(lead_s, 0.0), max(-lead_s, 0.0)
    share = 1.0 - float(np.exp(-left / _RECOVERY_S))
    return share * np.array(
        [
            late_s,
            early_s,
            min(early_s, 120.0),
            min(late_s, 300.0),
            60.0,
            late_s * float(np.exp(-trips / 2.0)),
        ]
    )
