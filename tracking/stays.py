"""Who stayed in an area, from the fixes inside it. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking.times import Stamp, iso

Ints = NDArray[np.int64]


class InsideFixes(NamedTuple):
    """Ok fixes inside an area as columns, by device and time.

    `apart` tells that the device had an ok fix elsewhere since the row before it, of which the
    first of a device means the last one of an earlier call.
    """

    device_id: Ints
    time_us: Ints
    apart: NDArray[np.bool_]


class Stay(msgspec.Struct, frozen=True):
    """Consecutive fixes inside: the time of the first and of the last, and how many."""

    first: Stamp
    last: Stamp
    fixes: int


class AreaDevice(msgspec.Struct, frozen=True):
    """A device that was in an area. `inside_s` is the length of its stays together."""

    device: str
    first_seen: Stamp
    last_seen: Stamp
    fixes: int
    inside_s: float
    stays: list[Stay]


class Stays:
    """Gathers fixes inside, one stretch of time after the other."""

    def __init__(self, gap_us: int) -> None:
        self._gap_us = gap_us
        # Of each device its stays, as first, last and count; the last of them may go on.
        self._stays: dict[int, list[list[int]]] = {}
        self.count = 0

    def __len__(self) -> int:
        return len(self._stays)

    def last_us(self) -> dict[int, int]:
        """The last fix inside of each device so far."""
        return {device_id: stays[-1][1] for device_id, stays in self._stays.items()}

    def add(self, inside: InsideFixes) -> None:
        """Take the next fixes; no device may have a later one already."""
        device_id, time_us, apart = inside
        if not len(device_id):
            return
        ends = np.ones(len(device_id), np.bool_)
        ends[:-1] = device_id[1:] != device_id[:-1]
        ends[:-1] |= apart[1:] | (time_us[1:] - time_us[:-1] > self._gap_us)
        last = np.flatnonzero(ends)
        first = np.concatenate([[0], last[:-1] + 1])
        for device, start_us, end_us, n, broken in zip(
            device_id[first].tolist(),
            time_us[first].tolist(),
            time_us[last].tolist(),
            (last - first + 1).tolist(),
            apart[first].tolist(),
            strict=True,
        ):
            stays = self._stays.setdefault(device, [])
            if stays and not broken and start_us - stays[-1][1] <= self._gap_us:
                stays[-1][1] = end_us
                stays[-1][2] += n
            else:
                stays.append([start_us, end_us, n])
                self.count += 1

    def devices(self) -> Iterable[int]:
        """The devices that were inside."""
        return self._stays.keys()

    def told(self, names: Mapping[int, str]) -> list[AreaDevice]:
        """Everybody, by name; who has no name is gone and left out."""
        found = [
            AreaDevice(
                device=names[device],
                first_seen=iso(stays[0][0]),
                last_seen=iso(stays[-1][1]),
                fixes=sum(n for _, _, n in stays),
                inside_s=sum(last - first for first, last, _ in stays) / 1e6,
                stays=[Stay(iso(first), iso(last), n) for first, last, n in stays],
            )
            for device, stays in self._stays.items()
            if device in names
        ]
        return sorted(found, key=lambda one: one.device)
