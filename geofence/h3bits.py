"""H3 indexes as bit fields, over arrays: 4 bits of resolution, 7 of base cell, 15 octal digits."""

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.uint64]
Ints = NDArray[np.int64]

_RESOLUTION_AT, _BASE_AT = np.uint64(52), np.uint64(45)
_DIGITS = np.uint64(2**45 - 1)
_PENTAGON_BASES = np.zeros(128, bool)
_PENTAGON_BASES[[4, 14, 24, 38, 49, 58, 63, 72, 83, 97, 107, 117]] = True


def resolutions(cells: Cells) -> Ints:
    """The resolution of each cell."""
    return ((cells >> _RESOLUTION_AT) & np.uint64(15)).astype(np.int64)


def children(cells: Cells) -> Cells:
    """The children of cells of one resolution below 15, in the order of their indexes."""
    if not len(cells):
        return cells
    resolution = int(resolutions(cells[:1])[0])
    at = _digit_at(resolution + 1)
    bare = (cells + (np.uint64(1) << _RESOLUTION_AT)) & ~(np.uint64(7) << at)
    grown = bare[:, None] | (np.arange(7, dtype=np.uint64) << at)
    # A pentagon, all of whose digits are 0, lacks the child of digit 1.
    keep = np.ones(grown.shape, bool)
    digits = (cells & _DIGITS) >> (at + np.uint64(3))
    keep[:, 1] = ~((digits == 0) & _PENTAGON_BASES[(cells >> _BASE_AT) & np.uint64(127)])
    return grown[keep]


def ranges_at(resolution: int, cells: Cells) -> list[tuple[int, int]]:
    """First and last descendant at `resolution` of cells no finer than it, neighbours joined."""
    if not len(cells):
        return []
    own = resolutions(cells)
    span = 7 ** (resolution - own)
    rank = _ranks(cells, own) * span
    order = np.argsort(rank, kind="stable")
    low, high = rank[order], (rank + span)[order]
    reach = np.maximum.accumulate(high)
    starts = np.flatnonzero(np.concatenate(([True], low[1:] > reach[:-1])))
    ends = np.concatenate((starts[1:], [len(low)])) - 1
    lows, highs = _index(resolution, low[starts]), _index(resolution, reach[ends] - 1)
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def _digit_at(resolution: int) -> np.uint64:
    return np.uint64(3 * (15 - resolution))


def _ranks(cells: Cells, own: Ints) -> Ints:
    """Base cell and digits as one number to the base of 7: the order of the indexes, gapless."""
    rank = ((cells >> _BASE_AT) & np.uint64(127)).astype(np.int64)
    for resolution in range(1, int(own.max()) + 1):
        digit = ((cells >> _digit_at(resolution)) & np.uint64(7)).astype(np.int64)
        rank = np.where(own >= resolution, rank * 7 + digit, rank)
    return rank


def _index(resolution: int, rank: Ints) -> Ints:
    index = np.full(len(rank), (1 << 59) | (resolution << 52), np.int64)
    for finer in range(15, 0, -1):
        if finer > resolution:
            index |= 7 << (3 * (15 - finer))
        else:
            index |= (rank % 7) << (3 * (15 - finer))
            rank = rank // 7
    return index | (rank << 45)
