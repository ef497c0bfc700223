"""Which of several forecasts to believe: those that were right of late."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What ended longer ago tells of another traffic.
_RECENT_S = 3 * 3_600.0
# With fewer recent samples than this, the prior error still counts.
_PRIOR_N = 60.0
_PRIOR_ERROR = 0.15
# Errors that differ by a tenth differ in weight by almost two; at 1 nobody is ever preferred.
_SHARPNESS = 6.0


class Trust:
    """Weights for `n` experts, from the relative errors of the trips of the last hours."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._recent: deque[tuple[float, float, Floats]] = deque()
        self._samples = 0.0
        self._sums = np.zeros(n)

    def learn(self, ended_s: float, forecasts_s: Floats, actual_s: Floats) -> None:
        """Take up a trip that ended: a row of `forecasts_s` per sample, a column per expert."""
        if not len(actual_s):
            return
        errors = np.abs(forecasts_s - actual_s[:, None]) / np.maximum(actual_s, 60.0)[:, None]
        total = errors.sum(axis=0)
        self._recent.append((ended_s, float(len(actual_s)), total))
        self._samples += len(actual_s)
        self._sums += total

    def weights(self, now_s: float) -> Floats:
        """What each expert's forecast counts now; they add up to 1."""
        while self._recent and self._recent[0][0] < now_s - _RECENT_S:
            _, n, total = self._recent.popleft()
            self._samples -= n
            self._sums -= total
        error = (self._sums + _PRIOR_N * _PRIOR_ERROR) / (self._samples + _PRIOR_N)
        weight = np.maximum(error, 1e-3) ** -_SHARPNESS
        result: Floats = weight / weight.sum()
        return result
