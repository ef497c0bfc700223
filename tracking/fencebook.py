"""A tenant's fences in memory, version by version, and the index over them. No I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap
from math import cos, radians
from typing import NamedTuple

import msgspec

from geofence.index import Index
from geofence.shapes import Shape, bounds, from_columns
from tracking.fences import FenceOptions, FenceVersion

Bounds = tuple[float, float, float, float]

_options = msgspec.json.Decoder(FenceOptions)
_FOR_EVER = 2**63 - 1
# Zones edited one by one cost every later edit 20 us each.
_SCATTERED = 500
# A line between two fixes counts for 60 s. At 70 m/s that is 4.2 km, a fix may lie 1 km beside its
# place and 50 m are conceded, so of a line that crosses a fence one end lies within half of that.
_NEAR_M = 2_700.0
_METRES_PER_DEGREE = 110_500.0


class VersionRow(NamedTuple):
    """One version of a fence as the database has it; the columns of `FenceVersion`, packed."""

    number: int
    id: str
    name: str
    version: int
    created_us: int
    from_us: int
    to_us: int | None
    kind: str
    wkb: bytes
    radius_m: float
    options: bytes  # JSON


class FenceRows(NamedTuple):
    """What was written up to `revision`, after the revision that was asked for."""

    revision: int
    rows: Sequence[tuple[int, str, str, int, int, int, int | None, str, bytes, float, bytes]]


class Changes(NamedTuple):
    """What an edit changed: whose history may now read differently, where, and since when.

    `numbers` are the fences touched, `bounds` the ground of their versions (degrees, unwrapped),
    `zones` those versions' ids in the book. `since_us` means nothing where nothing changed.
    """

    numbers: list[int]
    bounds: list[Bounds]
    since_us: int
    zones: list[int]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `FenceBook.take` is to take over; made of the book as it was at index `before`."""

    revision: int
    fences: dict[int, FenceVersion]
    changes: Changes
    before: Index
    index: Index


class FenceBook:
    """The fences of one tenant: versions by zone, and an index of their ground.

    A *zone* is one version of one fence. Zones are numbered 0, 1, 2 in the order they were met,
    and no number is given twice. `prepared` only reads, so it may run in a thread while the book
    is in use; everything else belongs to the book's one owner. An index that was replaced stays
    valid for whoever still holds it.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.fences: dict[int, FenceVersion] = {}
        self.index = Index.build({})
        self._zones: dict[int, list[int]] = {}  # by number, in the order of versions
        self._next = 0

    def apply(self, loaded: FenceRows) -> Changes:
        """Take over rows; applying the same ones again changes nothing."""
        return self.take(self.prepared(loaded))

    def prepared(self, loaded: FenceRows) -> Prepared:
        """Do all the work of `apply` that takes long, and change nothing.

        A version that ended is another row of the same zone: only its end may have changed.
        """
        rows = [row for row in starmap(VersionRow, loaded.rows) if self._is_news(row)]
        shapes = from_columns(
            [row.kind for row in rows], [row.wkb for row in rows], [row.radius_m for row in rows]
        )
        since_us = _FOR_EVER
        fences: dict[int, FenceVersion] = {}
        fresh: dict[int, Shape | None] = {}
        for row, shape in zip(rows, shapes, strict=True):
            known = self._zone_of(row.number, row.version)
            if known is None:
                since_us = min(since_us, row.from_us)
                zone, ground = self._next + len(fresh), shape
                fresh[zone] = shape
            else:
                # One object for one ground.
                zone, ground = known, self.fences[known].shape
                ends = (self.fences[known].to_us, row.to_us)
                since_us = min(since_us, *(_FOR_EVER if end is None else end for end in ends))
            options = _decoded(row.options)
            fences[zone] = FenceVersion(*row[:7], shape=ground, options=options)
        numbers = list(dict.fromkeys(row.number for row in rows))
        changes = Changes(numbers, list(map(bounds, shapes)), since_us, list(fences))
        return Prepared(loaded.revision, fences, changes, self.index, _renewed(self.index, fresh))

    def take(self, prepared: Prepared) -> Changes:
        """Take over what was prepared of this very book; quick.

        Raises:
            ValueError: the book has changed since.
        """
        if prepared.before is not self.index:
            raise ValueError("the book has changed since this was prepared")
        self.revision = max(self.revision, prepared.revision)
        self.index = prepared.index
        for zone, fence in prepared.fences.items():
            if zone not in self.fences:
                self._next = max(self._next, zone + 1)
                zones = self._zones.setdefault(fence.number, [])
                zones.append(zone)
            self.fences[zone] = fence
            # Almost always in order already; a version in front of a known one is no mistake.
            self._zones[fence.number].sort(key=lambda z: self.fences[z].version)
        return prepared.changes

    @property
    def scattered(self) -> bool:
        """Whether so many zones were edited one by one that the index should be compiled anew."""
        return self.index.changed > _SCATTERED

    def compacted(self, before: Index, after: Index) -> bool:
        """Use `after`, which is `before.compact()`, unless the fences have changed meanwhile."""
        if self.index is not before:
            return False
        self.index = after
        return True

    def retire(self, before_us: int) -> list[int]:
        """Drop the versions that ended at or before a moment; return their zones."""
        gone = [
            zone
            for zone, fence in self.fences.items()
            if fence.to_us is not None and fence.to_us <= before_us
        ]
        for zone in gone:
            number = self.fences.pop(zone).number
            self._zones[number].remove(zone)
            if not self._zones[number]:
                del self._zones[number]
        if gone:
            self.index = self.index.replaced(dict.fromkeys(gone))
        return gone

    def versions(self, number: int) -> list[FenceVersion]:
        """The versions of a fence, first to last."""
        return [self.fences[zone] for zone in self._zones.get(number, ())]

    def current(self, number: int) -> int | None:
        """The zone of a fence's latest version; None for a deleted or unknown fence."""
        zones = self._zones.get(number)
        return zones[-1] if zones and self.fences[zones[-1]].to_us is None else None

    def last_before(self, number: int, time_us: int) -> int | None:
        """The zone of the last version that starts at or before a moment, ended or not."""
        for zone in reversed(self._zones.get(number, ())):
            if self.fences[zone].from_us <= time_us:
                return zone
        return None

    def at(self, number: int, time_us: int) -> int | None:
        """The zone of the version that holds at a moment."""
        zone = self.last_before(number, time_us)
        return zone if zone is not None and self.holds(zone, time_us) else None

    def holds(self, zone: int, time_us: int) -> bool:
        """Whether the version is the one of its moment."""
        fence = self.fences[zone]
        return fence.from_us <= time_us and (fence.to_us is None or time_us < fence.to_us)

    def _zone_of(self, number: int, version: int) -> int | None:
        for zone in reversed(self._zones.get(number, ())):
            if self.fences[zone].version == version:
                return zone
        return None

    def _is_news(self, row: VersionRow) -> bool:
        known = self._zone_of(row.number, row.version)
        return known is None or self.fences[known].to_us != row.to_us


def _renewed(index: Index, fresh: dict[int, Shape | None]) -> Index:
    if not fresh:
        return index
    if len(index):
        return index.replaced(fresh)
    return Index.build({zone: shape for zone, shape in fresh.items() if shape is not None})


# Most fences of a site say the same; decoding is 1 us, finding is 0.1.
@lru_cache(maxsize=4_096)
def _decoded(options: bytes) -> FenceOptions:
    return _options.decode(options)


def padded(box: Bounds) -> Bounds:
    """The box and the ground from which one step may lead into or through it."""
    west, south, east, north = box
    tall = _NEAR_M / _METRES_PER_DEGREE
    lat = min(max(abs(south), abs(north)) + tall, 90.0)
    # Towards a pole a step may lead to any longitude.
    scale = cos(radians(lat))
    wide = tall / scale if scale > tall / 360.0 else 360.0
    return west - wide, south - tall, east + wide, north + tall
