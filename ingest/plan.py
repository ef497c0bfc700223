"""What a batch does to the devices it touches, once their states are known. Pure.

Every position gets one fate: dropped as duplicate or losing conflict, stored ahead of its
device's head (and folded), stored behind it (and left to a repair), or stored outside the fold
(future, stale). Positions and states go in as columns and come out as columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.sift import Sifted
from tracking.fold.state import StateArray
from tracking.quality import Quality

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Plan:
    """Fates of the sifted positions; each array holds indexes into them."""

    stored: Ints  # to be inserted
    folded: Ints  # of those, ahead of the head, in fold order
    repaired: Ints  # of those, behind the head, or displacing a reading that was folded
    late: Ints  # of those, behind the head
    displacing: Ints  # of those, whose key is taken by a reading they win against
    duplicate: Ints  # stored already
    conflict: Ints  # another reading has the key; displacing ones are counted here too


def unproven(sifted: Sifted, states: StateArray) -> Ints:
    """Positions that may be stored already.

    Every stored fix is at or before its device's head, or before the newest fix stored ahead of
    its time; so a position beyond both is new without asking.
    """
    known = ~_ahead(sifted, states) | (sifted.time_us <= states["future_us"][sifted.slot])
    return np.flatnonzero(known)


def make_plan(
    sifted: Sifted,
    states: StateArray,
    existing: Mapping[int, tuple[int, int]],
    late_horizon_us: int,
) -> Plan:
    """Decide every position's fate, marking stale ones in `sifted.quality`.

    `sifted.slot` indexes into `states`; `existing` maps positions whose key is
    taken to the (content, quality) stored there. Which of two readings stays is decided by
    content, never by arrival.
    """
    n = len(sifted.slot)
    taken, equal, wins, was_folded = (np.zeros(n, np.bool_) for _ in range(4))
    for i, (content, quality) in existing.items():
        taken[i] = True
        equal[i] = content == sifted.content[i]
        wins[i] = sifted.content[i] > content
        was_folded[i] = quality not in {Quality.FUTURE, Quality.STALE}
    stored = ~taken | wins
    ahead = _ahead(sifted, states)
    in_time = sifted.quality != Quality.FUTURE
    behind = stored & ~ahead & in_time
    # A head too early to subtract from has nothing behind it.
    horizon = np.maximum(states["head_us"][sifted.slot], late_horizon_us) - late_horizon_us
    stale = behind & (sifted.time_us < horizon)
    sifted.quality[stale] = Quality.STALE
    return Plan(
        stored=np.flatnonzero(stored),
        folded=np.flatnonzero(stored & ahead & in_time),
        repaired=np.flatnonzero((behind & ~stale) | (wins & was_folded)),
        late=np.flatnonzero(behind & ~taken),
        displacing=np.flatnonzero(wins),
        duplicate=np.flatnonzero(equal),
        conflict=np.flatnonzero(taken & ~equal),
    )


def _ahead(sifted: Sifted, states: StateArray) -> Bools:
    head_us, head_seq = states["head_us"][sifted.slot], states["head_seq"][sifted.slot]
    result: Bools = (sifted.time_us > head_us) | (
        (sifted.time_us == head_us) & (sifted.seq > head_seq)
    )
    return result


def first_per_device(device: Ints) -> Ints:
    """Of rows sorted by device, the first of each."""
    return np.flatnonzero(_borders(device)[:-1])


def last_per_device(device: Ints) -> Ints:
    """Of rows sorted by device, the last of each."""
    return np.flatnonzero(_borders(device)[1:])


def _borders(device: Ints) -> Bools:
    """Between which rows the device changes, the ends included; no borders around nothing."""
    ends = np.full(min(len(device), 1), True)  # noqa: FBT003 -- a column of one
    result: Bools = np.concatenate([ends, device[1:] != device[:-1], ends])
    return result
