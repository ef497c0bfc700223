"""How far a forecast may be off: p10 and p90 by how far ahead it looks, kept honest online."""

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State

Floats = NDArray[np.float64]

# Seconds ahead; beyond the last is a bucket of its own.
_EDGES_S = np.array([180.0, 360.0, 600.0, 900.0, 1_500.0, 2_400.0, 3_600.0])
# A bucket of fewer is told by all of them together.
_ENOUGH = 50
# How fast the band follows: above 0.05 it chases single trips and covers too little.
_STEP = 0.005
# A calibration is fitted to so many latest forecasts, and anew when half as many are new.
_KEPT, _LEAST_NEW = 3_000, 100


class Band:
    """Quantiles of the error, in parts of the seconds ahead or in seconds.

    Until `fit` it is a guess: a quarter of the time ahead to either side.
    """

    def __init__(self, *, relative: bool) -> None:
        self._relative = relative
        self._low = np.full(len(_EDGES_S) + 1, -0.25 if relative else -120.0)
        self._high = -self._low
        self._width = self._high - self._low

    def fit(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Learn from forecasts made without knowing how the trips ended."""
        off = self._off(forecast_s, actual_s)
        buckets = np.searchsorted(_EDGES_S, forecast_s)
        everything = np.quantile(off, (0.1, 0.9))
        for bucket in range(len(self._low)):
            here = off[buckets == bucket]
            low, high = np.quantile(here, (0.1, 0.9)) if len(here) >= _ENOUGH else everything
            self._low[bucket], self._high[bucket] = low, high
        self._width = self._high - self._low

    def learn(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Move with a trip that ended: each side by how often it is missed, not by how far."""
        if not len(forecast_s):
            return
        off = self._off(forecast_s, actual_s)
        buckets = np.searchsorted(_EDGES_S, forecast_s)
        np.add.at(
            self._low, buckets, _STEP * (0.1 - (off < self._low[buckets])) * self._width[buckets]
        )
        np.add.at(
            self._high, buckets, _STEP * (0.9 - (off < self._high[buckets])) * self._width[buckets]
        )

    def around(self, forecast_s: float) -> tuple[float, float]:
        """p10 and p90 of a forecast; neither in the past, nor on the wrong side of it."""
        bucket = int(np.searchsorted(_EDGES_S, forecast_s))
        unit = max(forecast_s, 1.0) if self._relative else 1.0
        low_s = forecast_s + unit * float(self._low[bucket])
        high_s = forecast_s + unit * float(self._high[bucket])
        return max(0.0, min(low_s, forecast_s)), max(high_s, forecast_s)

    def state(self) -> State:
        """All of it, to be saved."""
        return {"low": self._low, "high": self._high, "width": self._width}

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._low, self._high, self._width = state["low"], state["high"], state["width"]

    def _off(self, forecast_s: Floats, actual_s: Floats) -> Floats:
        off = actual_s - forecast_s
        return off / np.maximum(forecast_s, 1.0) if self._relative else off


class Calibration:
    """A band that is fitted to the last forecasts again and again, and follows in between."""

    def __init__(self, *, relative: bool) -> None:
        self._band = Band(relative=relative)
        # Forecasts and what came, the oldest first.
        self._pairs = np.empty((0, 2))
        self._unfitted = 0

    def learn(self, forecast_s: Floats, actual_s: Floats) -> None:
        """Take up forecasts made without knowing how it ended."""
        self._pairs = np.concatenate([self._pairs, np.stack([forecast_s, actual_s], axis=1)])
        self._unfitted += len(forecast_s)
        if self._unfitted < max(_LEAST_NEW, len(self._pairs) // 2):
            self._band.learn(forecast_s, actual_s)
            return
        self._pairs = self._pairs[-_KEPT:].copy()
        self._band.fit(*self._pairs.T)
        self._unfitted = 0

    def around(self, forecast_s: float) -> tuple[float, float]:
        """As `Band.around`."""
        return self._band.around(forecast_s)

    def state(self) -> State:
        """All of it, to be saved."""
        counted = np.array([self._unfitted])
        return {**self._band.state(), "pairs": self._pairs, "unfitted": counted}

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._band.restore(state)
        self._pairs, self._unfitted = state["pairs"], int(state["unfitted"][0])
