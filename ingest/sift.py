"""From decoded positions to storable ones: quality by the fix alone, content, one row per key.

Pure. What needs the device's history is decided later, under the device's lock.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.readings import Positions
from tracking.quality import Quality

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

# Odd constants of splitmix64, https://prng.di.unimi.it/splitmix64.c
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the quality codes that depend on one fix alone."""

    max_future_us: int
    max_accuracy_m: float


@dataclass(slots=True)
class Sifted:
    """Positions sorted by (slot, time, seq), one per key, and what fell away on the way.

    `row` says which of the decoded positions each is. `duplicate` and `conflict` hold the slots
    of readings that lost to one in the same batch: equal to it, or another reading of its key.
    """

    row: Ints
    slot: Ints
    time_us: Ints
    seq: Ints
    quality: Ints
    content: Ints
    duplicate: Ints
    conflict: Ints


def sift(positions: Positions, slot: Ints, limits: Limits) -> Sifted:
    """Judge, hash, sort and deduplicate; `slot` gives each position's device."""
    content = contents(positions)
    order = np.lexsort((content, positions.seq, positions.fix_time_us, slot))
    slot, time_us, seq = slot[order], positions.fix_time_us[order], positions.seq[order]
    content = content[order]
    # The greatest content of a key comes last in its run and wins, whatever came first.
    same_key = (slot[1:] == slot[:-1]) & (time_us[1:] == time_us[:-1]) & (seq[1:] == seq[:-1])
    loses = np.r_[same_key, False] if len(slot) else np.empty(0, np.bool_)
    equal = np.r_[same_key & (content[1:] == content[:-1]), False] if len(slot) else loses
    wins = ~loses
    return Sifted(
        row=order[wins],
        slot=slot[wins],
        time_us=time_us[wins],
        seq=seq[wins],
        quality=quality_alone(positions, limits)[order][wins],
        content=content[wins],
        duplicate=slot[equal],
        conflict=slot[loses & ~equal],
    )


def quality_alone(positions: Positions, limits: Limits) -> Ints:
    """The quality each fix deserves by itself; the worst reason wins."""
    result: Ints = np.select(
        [
            ~positions.valid,
            (positions.lon == 0) & (positions.lat == 0),
            positions.fix_time_us > positions.received_us + limits.max_future_us,
            positions.accuracy_m > limits.max_accuracy_m,
        ],
        [Quality.INVALID, Quality.NULL_ISLAND, Quality.FUTURE, Quality.INACCURATE],
        default=Quality.OK,
    ).astype(np.int64)
    return result


def contents(positions: Positions) -> Ints:
    """A 64-bit hash of each reading's values, the same on every machine and in every order."""
    mixed = np.full(len(positions.lon), _GAMMA)
    for column in (
        positions.lon, positions.lat, positions.alt_m, positions.speed_mps,
        positions.course_deg, positions.accuracy_m, positions.battery, positions.valid,
    ):  # fmt: skip
        # Adding 0.0 makes -0.0 equal to 0.0; NaN is made one bit pattern.
        values = column.astype(np.float64) + 0.0
        values[np.isnan(values)] = np.nan
        mixed = (mixed ^ values.view(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    if positions.attrs is not None:
        crc = [0 if text is None else zlib.crc32(text) + 1 for text in positions.attrs]
        mixed = (mixed ^ np.array(crc, np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(31)
    return mixed.view(np.int64)
