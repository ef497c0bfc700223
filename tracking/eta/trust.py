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


class Trust:
    """Weights for `n` experts, from the relative errors of the trips of the last `recent_s`.

    `expected` are the errors they are thought to have until they show theirs; None: all alike.
    """

    def __init__(
        self, n: int, *, recent_s: float = _RECENT_S, expected: Sequence[float] | None = None
    ) -> None:
        self._n = n
        self._recent_s = recent_s
        self._expected = np.full(n, _PRIOR_ERROR) if expected is None else np.array(expected)
        # When a trip ended, of each expert how many forecasts, and the sum of their errors.
        self._recent: deque[tuple[float, Floats, Floats]] = deque()
        self._samples = np.zeros(n)
        self._sums = np.zeros(n)

    def learn(self, ended_s: float, forecasts_s: Floats, actual_s: Floats) -> None:
        """Take up a trip that ended: a row of `forecasts_s` per sample, a column per expert.

        NaN is of an expert that had nothing to say.
        """
        if not len(actual_s):
            return
        errors = np.abs(forecasts_s - actual_s[:, None]) / np.maximum(actual_s, 60.0)[:, None]
        said = np.isfinite(errors)
        n, total = said.sum(axis=0).astype(np.float64), np.where(said, errors, 0.0).sum(axis=0)
        self._recent.append((ended_s, n, total))
        self._samples += n
        self._sums += total

    def weights(self, now_s: float, said: Bools | None = None) -> Floats:
        """What each expert's forecast counts now; they add up to 1.

        `said` are those that have something to say, one at least; None: all.
        """
        while self._recent and self._recent[0][0] < now_s - self._recent_s:
            _, n, total = self._recent.popleft()
            self._samples -= n
            self._sums -= total
        error = (self._sums + _PRIOR_N * self._expected) / (self._samples + _PRIOR_N)
        weight = np.maximum(error, 1e-3) ** -_SHARPNESS
        if said is not None:
            weight = np.where(said, weight, 0.0)
        result: Floats = weight / weight.sum()
        return result

    def state(self) -> State:
        """All of it, to be saved."""
        return {
            "ended_s": np.array([ended_s for ended_s, _, _ in self._recent]),
            "n": np.array([n for _, n, _ in self._recent]).reshape(-1, self._n),
            "totals": np.array([total for *_, total in self._recent]).reshape(-1, self._n),
            "samples": self._samples,
            "sums": self._sums,
        }

    def restore(self, state: State) -> None:
        """Be what was saved."""
        recent = zip(state["ended_s"].tolist(), state["n"], state["totals"], strict=True)
        self._recent = deque(recent)
        self._samples, self._sums = state["samples"], state["sums"]
