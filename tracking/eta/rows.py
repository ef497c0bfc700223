"""Rows of trips, found by key: they grow at the end, and the oldest are forgotten."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tracking.eta.packed import State, texts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)

# Forgetting moves everything: it waits until a quarter more than is kept is there.
_SLACK = 1.25
_NONE = np.empty(0, np.int64)


class Rows(Generic[Key]):
    """A time and `width` values per row; rows added together are one trip.

    The latest `most` are kept, whole trips, and up to a quarter more.
    """

    def __init__(self, width: int, dtype: DTypeLike = np.float64, *, most: int) -> None:
        self.times_s = np.empty(1_024)
        self.values: NDArray[Any] = np.empty((width, 1_024), dtype)
        self.trips = np.empty(1_024, np.int64)
        self._most = most
        self._n = 0
        self._trips = 0
        # Lists while they grow, arrays once asked.
        self._grown: dict[Key, list[int]] = {}
        self._asked: dict[Key, Ints] = {}

    def add(self, keys: Sequence[Key], times_s: ArrayLike, values: ArrayLike) -> None:
        """Add the rows of a trip."""
        start, self._n = self._n, self._n + len(keys)
        self._reserve(self._n)
        self.times_s[start : self._n] = times_s
        self.values[:, start : self._n] = values
        self.trips[start : self._n] = self._trips
        for row, key in enumerate(keys, start):
            self._grown.setdefault(key, []).append(row)
            self._asked.pop(key, None)
        self._trips += 1
        if self._n > self._most * _SLACK:
            self._forget()

    def of(self, key: Key) -> Ints:
        """The rows of a key, in the order they were added."""
        rows = self._asked.get(key)
        if rows is None:
            grown = self._grown.get(key)
            if grown is None:
                return _NONE
            rows = self._asked[key] = np.array(grown, np.int64)
        return rows

    def of_all(self, keys: Iterable[Key]) -> Ints:
        """The rows of these keys, one key's behind the other's; most have none."""
        found = [self.of(key) for key in keys if key in self._grown]
        return np.concatenate(found) if found else _NONE

    def state(self) -> State:
        """All of it, to be saved."""
        n = self._n
        return {
            "times_s": self.times_s[:n],
            "values": self.values[:, :n],
            "trips": self.trips[:n],
            "next": np.array([self._trips]),
            "keys": texts(list(self._grown)),
            "counts": np.array([len(rows) for rows in self._grown.values()], np.int64),
            "rows": np.array([row for rows in self._grown.values() for row in rows], np.int64),
        }

    def restore(self, state: State, key: Any) -> None:  # noqa: ANN401 -- a type, for msgspec
        """Be what was saved; keys are read as `key`."""
        self.times_s, self.values, self.trips = state["times_s"], state["values"], state["trips"]
        self._n, self._trips = len(self.times_s), int(state["next"][0])
        keys: list[Key] = msgspec.json.decode(state["keys"].tobytes(), type=list[key])
        rows, ends = state["rows"].tolist(), np.cumsum(state["counts"]).tolist()
        starts = [0, *ends[:-1]]
        self._grown = {
            key: rows[start:end] for key, start, end in zip(keys, starts, ends, strict=False)
        }
        self._asked = {}

    def _reserve(self, n: int) -> None:
        more = n - len(self.trips)
        if more > 0:
            more = max(more, len(self.trips), 1_024)
            self.times_s = np.pad(self.times_s, (0, more))
            self.values = np.pad(self.values, ((0, 0), (0, more)))
            self.trips = np.pad(self.trips, (0, more))

    def _forget(self) -> None:
        n = self._n
        gone = int(np.searchsorted(self.trips[:n], self.trips[n - self._most]))
        self.times_s = self.times_s[gone:n].copy()
        self.values = self.values[:, gone:n].copy()
        self.trips = self.trips[gone:n].copy()
        self._n = n - gone
        kept = {
            key: [row - gone for row in rows if row >= gone] for key, rows in self._grown.items()
        }
        self._grown = {key: rows for key, rows in kept.items() if rows}
        self._asked = {}
