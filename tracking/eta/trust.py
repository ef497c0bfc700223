"""Which of several forecasts to believe: those that were right of late."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# What ended longer ago tells of another traffic.
_RECENT_S = 3 * 3_600.0
# With fewer recent samples than this, the prior error still counts.
_PRIOR_N = 60.0
_PRIOR_ERROR = 0.15
# Errors that differ by a tenth differ in weight by almost two; at 1 nobody is ever preferred.
_SHARPNESS = 6.0
# Merits are those of so many latest forecasts, older ones fading: with a thousand, what an expert
# said before it had learned anything counts for days. One that is quite wrong is no worse.
_MEMORY_N, _PRIOR_MERITS, _WORST = 100.0, 20.0, 1.0


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
        total = _errors(forecasts_s, actual_s).sum(axis=0)
        self._recent.append((ended_s, float(len(actual_s)), total))
        self._samples += len(actual_s)
        self._sums += total

    def weights(self, now_s: float) -> Floats:
        """What each expert's forecast counts now; they add up to 1."""
        while self._recent and self._recent[0][0] < now_s - _RECENT_S:
            _, n, total = self._recent.popleft()
            self._samples -= n
            self._sums -= total
        weight = _weights((self._sums + _PRIOR_N * _PRIOR_ERROR) / (self._samples + _PRIOR_N))
        result: Floats = weight / weight.sum()
        return result

    def state(self) -> State:
        """All of it, to be saved."""
        return {
            "ended_s": np.array([ended_s for ended_s, _, _ in self._recent]),
            "n": np.array([n for _, n, _ in self._recent]),
            "totals": np.array([total for *_, total in self._recent]).reshape(-1, self._n),
            "samples": np.array([self._samples]),
            "sums": self._sums,
        }

    def restore(self, state: State) -> None:
        """Be what was saved."""
        ended_s, n = state["ended_s"].tolist(), state["n"].tolist()
        self._recent = deque(zip(ended_s, n, state["totals"], strict=True))
        self._samples, self._sums = float(state["samples"][0]), state["sums"]


class Merits:
    """Weights for experts of whom not all speak each time, from the last forecasts they made.

    For what ends too seldom to count by hours. `expected` are the relative errors they are thought
    to have until they show theirs.
    """

    def __init__(self, expected: Sequence[float]) -> None:
        self._expected = np.array(expected)
        self._samples = np.zeros(len(expected))
        self._sums = np.zeros(len(expected))

    def learn(self, forecasts_s: Floats, actual_s: float) -> None:
        """Take up how long something took, and what each said; NaN: nothing."""
        said = np.isfinite(forecasts_s)
        errors = np.minimum(_errors(np.where(said, forecasts_s, 0.0), np.array([actual_s])), _WORST)
        fade = np.where(said, 1.0 - 1.0 / _MEMORY_N, 1.0)
        self._samples = self._samples * fade + said
        self._sums = self._sums * fade + np.where(said, errors[0], 0.0)

    def weights(self, said: Bools) -> Floats:
        """What each counts now among those that say something; they add up to 1."""
        error = (self._sums + _PRIOR_MERITS * self._expected) / (self._samples + _PRIOR_MERITS)
        weight = np.where(said, _weights(error), 0.0)
        result: Floats = weight / weight.sum()
        return result

    def state(self) -> State:
        """All of it, to be saved."""
        return {"samples": self._samples, "sums": self._sums}

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._samples, self._sums = state["samples"], state["sums"]


def _errors(forecasts_s: Floats, actual_s: Floats) -> Floats:
    return np.abs(forecasts_s - actual_s[:, None]) / np.maximum(actual_s, 60.0)[:, None]


def _weights(error: Floats) -> Floats:
    weight: Floats = np.maximum(error, 1e-3) ** -_SHARPNESS
    return weight
