"""How long a metre takes: by cell, heading and time of day, where seldom driven as around it.

Seconds and metres are summed per H3 cell of resolution 10, its eight headings and six parts of the
day. Each level is shrunk to the one above, by as many metres as make it half believed. What was
driven long ago counts less; how today differs from usual is a ratio per cell that fades in an hour.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State, part, put
from tracking.eta.sums import LONG, LiveRatio, Sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOLUTION = 10
_COARSE = 8
# Hours at which parts of the day begin; 11 or 16 parts are worse (shared study).
_PARTS_H = np.array([6, 9, 12, 15, 18, 21])
DAY_PARTS = len(_PARTS_H)
# Metres that make a level half believed: around, cell and heading, part of the day.
_HALF_M = (500.0, 100.0, 1_500.0)
# History of so long ago counts 1/e.
_FADE_S = 14 * 86_400.0
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


class PaceProfile:
    """What was learned of a region's pace; `learn` as trips end, `seconds` as often as needed."""

    def __init__(self, *, usual_mps: float = 8.0) -> None:
        # Worth a hundred metres: any trip outweighs the guess.
        self._total = np.array([100.0 / usual_mps, 100.0])
        self._levels = (Sums(), Sums(), Sums())
        self._live = LiveRatio()
        self._epoch_s: float | None = None

    @property
    def knows(self) -> bool:
        """Whether any trip was learned; before, `seconds` is a guess that knows no distance."""
        return self._epoch_s is not None

    def learn(self, path: Path, seconds: Floats, ended_s: float, day_s: float) -> None:
        """Take up a trip, piece by piece, that ended at `ended_s` and was driven around `day_s`."""
        self._advance(ended_s)
        expected_s = self.seconds(path, ended_s, day_s, live=False)
        weight = self._faded(ended_s)
        for level, keys in zip(self._levels, _keys(path, day_s), strict=True):
            level.add(keys, seconds * weight, path.metres * weight)
        self._total += (seconds.sum() * weight, path.metres.sum() * weight)
        at_s = np.full(len(seconds), ended_s)
        self._live.learn(_keys(path, day_s)[1], seconds, expected_s, at_s)

    def seconds(self, path: Path, now_s: float, day_s: float, *, live: bool = True) -> Floats:
        """How long each piece takes a trip under way at `now_s`."""
        weight = self._faded(now_s)
        pace = np.full(len(path.cells), self._total[0] / self._total[1])
        keys = _keys(path, day_s)
        for level, half_m, at_level in zip(self._levels, _HALF_M, keys, strict=True):
            sums, shrink = level.of(at_level), half_m * weight
            pace = (sums[:, 0] + shrink * pace) / (sums[:, 1] + shrink)
        if live:
            pace *= self._live.ratios(keys[1], now_s)
        return pace * path.metres

    def state(self) -> State:
        """All of it, to be saved."""
        epoch_s = np.nan if self._epoch_s is None else self._epoch_s
        state: State = {"total": self._total, "epoch": np.array([epoch_s])}
        for name, sums in self._named():
            put(state, name, sums.state())
        return state

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._total = state["total"]
        epoch_s = float(state["epoch"][0])
        self._epoch_s = None if np.isnan(epoch_s) else epoch_s
        for name, sums in self._named():
            sums.restore(part(state, name))

    def _named(self) -> list[tuple[str, Sums | LiveRatio]]:
        return [("around", self._levels[0]), ("cell", self._levels[1]),
                ("hour", self._levels[2]), ("live", self._live)]  # fmt: skip

    def _faded(self, now_s: float) -> float:
        """The weight of what happens now, which grows instead of all else shrinking."""
        if self._epoch_s is None:
            return 1.0
        return float(np.exp((now_s - self._epoch_s) / _FADE_S))

    def _advance(self, now_s: float) -> None:
        """Begin anew what has faded, before its weights grow beyond all numbers."""
        if self._epoch_s is None:
            self._epoch_s = now_s
        if now_s - self._epoch_s > LONG * _FADE_S:
            factor = float(np.exp((self._epoch_s - now_s) / _FADE_S))
            for level in self._levels:
                level.scale(factor)
            self._total *= factor
            self._epoch_s = now_s


def day_part(day_s: float) -> int:
    """Which part of the day it is, 0 being the night."""
    return int(np.searchsorted(_PARTS_H, day_s / 3_600.0, side="right")) % DAY_PARTS


def _keys(path: Path, day_s: float) -> tuple[Ints, Ints, Ints]:
    """Keys of around, of cell and heading, and of the part of the day.

    A cell of resolution 10 leaves its lowest 15 bits all set: there is room for both.
    """
    fine = (path.cells & ~_DIGITS_BELOW) | path.headings
    return path.cells | _DIGITS_COARSE, fine, fine | ((day_part(day_s) + 1) << 3)
