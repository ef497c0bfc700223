"""Ranges of rows, flattened: how columns hold lists of different lengths."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Whole = NDArray[np.signedinteger]


def spread(first: Whole, count: Whole) -> tuple[Ints, Ints]:
    """All members of the ranges `first[i] ..< first[i] + count[i]`, in order: (i, member)."""
    ends = np.cumsum(count)
    owner = np.repeat(np.arange(len(count)), count)
    member = np.arange(len(owner)) + np.repeat(first - ends + count, count)
    return owner, member


def starts_of(owner: Whole) -> Ints:
    """Where each run of equal values begins; of a column that is not empty."""
    change = np.flatnonzero(owner[1:] != owner[:-1])
    change += 1
    return np.concatenate([np.zeros(1, change.dtype), change])


def offsets(count: Whole) -> Ints:
    """Where each range begins when they lie one behind the other, and where the last ends."""
    result = np.zeros(len(count) + 1, np.int64)
    np.cumsum(count, out=result[1:])
    return result
