"""How long a metre takes: by cell, heading and time of day, where seldom driven as around it.

Seconds and metres are summed per H3 cell of resolution 10, its eight headings and six parts of the
day. Each level is shrunk to the one above, by as many metres as make it half believed. What was
driven long ago counts less; how today differs from usual is a ratio per cell that fades in an hour.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State, part, put

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOLUTION = 10
_COARSE = 8
# Hours at which parts of the day begin; 11 or 16 parts are worse (shared study).
_PARTS_H = np.array([6, 9, 12, 15, 18, 21])
# Metres that make a level half believed: around, cell and heading, part of the day.
_HALF_M = (500.0, 100.0, 1_500.0)
# History of so long ago counts 1/e.
_FADE_S = 14 * 86_400.0
# Live ratios fade in this, and start from a minute's worth of usual.
_LIVE_S, _LIVE_PRIOR_S = 2_700.0, 60.0
# Sums begin anew after so many of their times of fading.
_LONG = 20.0
# Keys kept of each level; beyond that those with the fewest metres are forgotten. 150 bytes each.
_MOST_KEYS = 500_000
_DIGITS_BELOW = np.int64((1 << 15) - 1)
_DIGITS_COARSE = np.int64((1 << 21) - 1)


class Path(NamedTuple):
    """Pieces of a way, in order: H3 cells of `RESOLUTION`, headings 0 (north) to 7, lengths."""

    cells: Ints
    headings: Ints
    metres: Floats

    def after(self, piece: int) -> "Path":
        """What is left from a piece on."""
        return Path(self.cells[piece:], self.headings[piece:], self.metres[piece:])


def headings_of(east_m: Floats, north_m: Floats) -> Ints:
    """Headings, 0 north to 7 north-west, of steps of so many metres."""
    turns: Ints = np.floor((np.degrees(np.arctan2(east_m, north_m)) + 22.5) / 45.0).astype(np.int64)
    return turns % 8


class _Sums:
    """Seconds and metres by key, in columns that grow."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        # The last row is of nobody and stays empty: where unknown keys look.
        self._sums = np.zeros((1, 2))

    def add(self, keys: Ints, seconds: Floats, metres: Floats) -> None:
        """Add up; keys may repeat."""
        slots = self._slots
        rows = np.array([slots.setdefault(key, len(slots)) for key in keys.tolist()])
        if len(slots) >= len(self._sums):
            more = 2 * len(slots) + 1 - len(self._sums)
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
        np.add.at(self._sums, rows, np.stack([seconds, metres], axis=1))
        if len(slots) > _MOST_KEYS:
            self._thin()

    def of(self, keys: Ints) -> Floats:
        """(seconds, metres) of each key, zeros for those never added."""
        get, none = self._slots.get, len(self._sums) - 1
        found: Floats = self._sums[[get(key, none) for key in keys.tolist()]]
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


class PaceProfile:
    """What was learned of a region's pace; `learn` as trips end, `seconds` as often as needed."""

    def __init__(self, *, usual_mps: float = 8.0) -> None:
        # Worth a hundred metres: any trip outweighs the guess.
        self._total = np.array([100.0 / usual_mps, 100.0])
        self._levels = (_Sums(), _Sums(), _Sums())
        self._live = _Sums()
        self._epoch_s: float | None = None
        self._live_epoch_s = 0.0

    def learn(self, path: Path, seconds: Floats, ended_s: float, day_s: float) -> None:
        """Take up a trip, piece by piece, that ended at `ended_s` and was driven around `day_s`."""
        self._advance(ended_s)
        expected_s = self.seconds(path, ended_s, day_s, live=False)
        weight = self._faded(ended_s)
        for level, keys in zip(self._levels, _keys(path, day_s), strict=True):
            level.add(keys, seconds * weight, path.metres * weight)
        self._total += (seconds.sum() * weight, path.metres.sum() * weight)
        if self._is_live(ended_s):
            live = float(np.exp((ended_s - self._live_epoch_s) / _LIVE_S))
            self._live.add(_keys(path, day_s)[1], seconds * live, expected_s * live)

    def seconds(self, path: Path, now_s: float, day_s: float, *, live: bool = True) -> Floats:
        """How long each piece takes a trip under way at `now_s`."""
        weight = self._faded(now_s)
        pace = np.full(len(path.cells), self._total[0] / self._total[1])
        keys = _keys(path, day_s)
        for level, half_m, at_level in zip(self._levels, _HALF_M, keys, strict=True):
            sums, shrink = level.of(at_level), half_m * weight
            pace = (sums[:, 0] + shrink * pace) / (sums[:, 1] + shrink)
        if live and self._is_live(now_s):
            sums = self._live.of(keys[1])
            prior_s = _LIVE_PRIOR_S * float(np.exp((now_s - self._live_epoch_s) / _LIVE_S))
            pace *= (sums[:, 0] + prior_s) / (sums[:, 1] + prior_s)
        return pace * path.metres

    def state(self) -> State:
        """All of it, to be saved."""
        epochs = [np.nan if self._epoch_s is None else self._epoch_s, self._live_epoch_s]
        state: State = {"total": self._total, "epochs": np.array(epochs)}
        for name, sums in self._named():
            put(state, name, sums.state())
        return state

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._total = state["total"]
        epoch_s, self._live_epoch_s = state["epochs"].tolist()
        self._epoch_s = None if np.isnan(epoch_s) else epoch_s
        for name, sums in self._named():
            sums.restore(part(state, name))

    def _named(self) -> list[tuple[str, _Sums]]:
        return [("around", self._levels[0]), ("cell", self._levels[1]),
                ("hour", self._levels[2]), ("live", self._live)]  # fmt: skip

    def _is_live(self, now_s: float) -> bool:
        """Whether what is live tells of then; else it has faded, or had not begun."""
        return abs(now_s - self._live_epoch_s) <= _LONG * _LIVE_S

    def _faded(self, now_s: float) -> float:
        """The weight of what happens now, which grows instead of all else shrinking."""
        if self._epoch_s is None:
            return 1.0
        return float(np.exp((now_s - self._epoch_s) / _FADE_S))

    def _advance(self, now_s: float) -> None:
        """Begin anew what has faded, before its weights grow beyond all numbers."""
        if self._epoch_s is None:
            self._epoch_s = self._live_epoch_s = now_s
        if now_s - self._live_epoch_s > _LONG * _LIVE_S:
            self._live = _Sums()
            self._live_epoch_s = now_s
        if now_s - self._epoch_s > _LONG * _FADE_S:
            factor = float(np.exp((self._epoch_s - now_s) / _FADE_S))
            for level in self._levels:
                level.scale(factor)
            self._total *= factor
            self._epoch_s = now_s


def _keys(path: Path, day_s: float) -> tuple[Ints, Ints, Ints]:
    """Keys of around, of cell and heading, and of the part of the day.

    A cell of resolution 10 leaves its lowest 15 bits all set: there is room for both.
    """
    part = int(np.searchsorted(_PARTS_H, day_s / 3_600.0, side="right")) % len(_PARTS_H)
    fine = (path.cells & ~_DIGITS_BELOW) | path.headings
    return path.cells | _DIGITS_COARSE, fine, fine | ((part + 1) << 3)
