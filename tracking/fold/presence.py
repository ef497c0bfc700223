"""Where a device is among the fences: one `Watch` per machine that has something to remember.

A device's presences are summed up in one number, its *key*: the sum of the hashes of the fences it
is calmly in. While every fix lies in just these fences nothing can change, so the fold compares the
key of the fix with the key of the device and goes on; that is the whole cost of a fence per fix.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from geofence.calm import OUTSIDE, Presence, settled

# The key of a device that must be looked at with every fix: something is pending.
ATTENTION = -(2**63)

# An odd multiplier spreads small numbers over 64 bits (Knuth, TAOCP 6.4); what follows mixes them
# (MurmurHash3, fmix64), so that sums of different sets differ.
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FMIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)
_64_BITS = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(slots=True)
class Watch(Presence):
    """A presence, and what the fold follows besides: dwelling and speeding inside."""

    left: int = OUTSIDE  # the fence last left: how far away from it still matters
    dwelled: int = 0  # 1 once `fence.dwelled` was raised for this visit
    over_n: int = 0  # fixes in a row above the fence's speed limit
    over_us: int = 0  # the first of them


_STORED = Struct("<" + "".join("q" if f.type is int else "d" for f in fields(Watch)))
_values = attrgetter(*[f.name for f in fields(Watch)])


def load_presences(stored: bytes | None) -> dict[int, Watch]:
    """The opposite of `dump_presences`."""
    if not stored:
        return {}
    return {values[0]: Watch(*values) for values in _STORED.iter_unpack(stored)}


def dump_presences(presences: Mapping[int, Watch]) -> bytes | None:
    """The stored form: fixed records in the order of their machines; None for nothing."""
    if not presences:
        return None
    return b"".join([_STORED.pack(*_values(presences[machine])) for machine in sorted(presences)])


def hashes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """A 64-bit hash of each fence number."""
    mixed = numbers.view(np.uint64) * _MIX
    mixed = (mixed ^ (mixed >> _SHIFT)) * _FMIX
    return (mixed ^ (mixed >> _SHIFT)).view(np.int64)


def key_of(numbers: Iterable[int]) -> int:
    """The key of being in these fences; 0 for none."""
    total = 0
    for number in numbers:
        mixed = (number * int(_MIX)) & _64_BITS
        mixed = ((mixed ^ (mixed >> 33)) * int(_FMIX)) & _64_BITS
        total += mixed ^ (mixed >> 33)
    total &= _64_BITS
    return total - 2**64 if total >= 2**63 else total


def key_of_presences(presences: Mapping[int, Watch], restless: Callable[[Watch], bool]) -> int:
    """The key of a device: ATTENTION while a machine is unsettled, or a presence `restless`."""
    inside = []
    for watch in presences.values():
        if not settled(watch):
            return ATTENTION
        if watch.zone != OUTSIDE:
            if restless(watch):
                return ATTENTION
            inside.append(watch.zone)
    return key_of(inside) if inside else 0
