"""Seconds and metres by key, and how now differs from usual."""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State, part, put

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Live ratios fade in this, and start from a minute's worth of usual.
_LIVE_S, _LIVE_PRIOR_S = 2_700.0, 60.0
# What differs everywhere is believed from hours of driving on, or one jam would slow all of it.
_ALL_PRIOR_S = 20_000.0
# Sums begin anew after so many of their times of fading.
LONG = 20.0
# Keys kept; beyond that those with the smallest second sum are forgotten. 150 bytes each.
_MOST_KEYS = 500_000


class Sums:
    """Two sums by key, in columns that grow."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        # The last row is of nobody and stays empty: where unknown keys look.
        self._sums = np.zeros((1, 2))

    def add(self, keys: Ints, firsts: Floats, seconds: Floats) -> None:
        """Add up; keys may repeat."""
        slots = self._slots
        rows = np.array([slots.setdefault(key, len(slots)) for key in keys.tolist()])
        if len(slots) >= len(self._sums):
            more = 2 * len(slots) + 1 - len(self._sums)
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
        np.add.at(self._sums, rows, np.stack([firsts, seconds], axis=1))
        if len(slots) > _MOST_KEYS:
            self._thin()

    def of(self, keys: Ints) -> Floats:
        """Both sums of each key, zeros for those never added."""
        none = repeat(len(self._sums) - 1)
        # Twice as quick as a list of them: a long way has a thousand keys.
        rows = np.fromiter(map(self._slots.get, keys.tolist(), none), np.int64, len(keys))
        found: Floats = self._sums.take(rows, axis=0)
        return found

    def scale(self, factor: float) -> None:
        """Let everything fade."""
        self._sums *= factor

    def state(self) -> State:
        """All of it, to be saved."""
        n = len(self._slots)
        return {"keys": np.fromiter(self._slots, np.int64, n), "sums": self._sums[:n]}

    def restore(self, state: State) -> None:
        """Be what was saved."""
        keys = state["keys"].tolist()
        self._slots = dict(zip(keys, range(len(keys)), strict=True))
        self._sums = np.pad(state["sums"], ((0, 1), (0, 0)))

    def _thin(self) -> None:
        """Keep the half that was driven most."""
        state = self.state()
        kept = np.sort(np.argsort(-state["sums"][:, 1], kind="stable")[: _MOST_KEYS // 2])
        self.restore({"keys": state["keys"][kept], "sums": state["sums"][kept]})


class LiveRatio:
    """How much longer it takes now than usually, by key; what was driven an hour ago has faded.

    Weights grow with time instead of all else shrinking, and begin anew before they grow beyond
    all numbers.
    """

    def __init__(self) -> None:
        self._sums = Sums()
        self._all = np.zeros(2)
        self._epoch_s = np.nan

    def learn(self, keys: Ints, took_s: Floats, expected_s: Floats, at_s: Floats) -> None:
        """Note how long each piece took that was driven at `at_s`, and would have usually."""
        latest_s = float(at_s.max())
        if not latest_s - self._epoch_s <= LONG * _LIVE_S:
            self._sums, self._all, self._epoch_s = Sums(), np.zeros(2), latest_s
        if not self._tells_of(float(at_s.min())):
            return
        weight = np.exp((at_s - self._epoch_s) / _LIVE_S)
        took, expected = took_s * weight, expected_s * weight
        self._sums.add(keys, took, expected)
        self._all += (took.sum(), expected.sum())

    def ratios(self, keys: Ints, now_s: float, towards: float = 1.0) -> Floats:
        """Of each key what now takes over what is usual; `towards` for those nobody drove."""
        if not self._tells_of(now_s):
            return np.full(len(keys), towards)
        sums = self._sums.of(keys)
        prior_s = _LIVE_PRIOR_S * float(np.exp((now_s - self._epoch_s) / _LIVE_S))
        ratio: Floats = (sums[:, 0] + towards * prior_s) / (sums[:, 1] + prior_s)
        return ratio

    def everywhere(self, now_s: float) -> float:
        """The same of all keys together."""
        if not self._tells_of(now_s):
            return 1.0
        prior_s = _ALL_PRIOR_S * float(np.exp((now_s - self._epoch_s) / _LIVE_S))
        return float((self._all[0] + prior_s) / (self._all[1] + prior_s))

    def state(self) -> State:
        """All of it, to be saved."""
        state: State = {"all": self._all, "epoch": np.array([self._epoch_s])}
        put(state, "sums", self._sums.state())
        return state

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._all, self._epoch_s = state["all"], float(state["epoch"][0])
        self._sums.restore(part(state, "sums"))

    def _tells_of(self, now_s: float) -> bool:
        """Whether it is about then; else it has faded, or had not begun."""
        return bool(abs(now_s - self._epoch_s) <= LONG * _LIVE_S)
