"""A batch of fixes among the fences: membership, chords and depths found at once, as columns.

The fold compares the key of every fix with the key of its device (`tracking.fold.presence`). Only
devices for which they differ somewhere in the batch need more, and for those it is gathered here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geofence.index import Members
from tracking.fold.fences import CHORD_MAX_US
from tracking.fold.model import Fix
from tracking.fold.presence import ATTENTION, load_presences
from tracking.fold.state import StateArray
from tracking.fold.terrain import Surroundings, Terrain, Who
from tracking.quality import Quality

if TYPE_CHECKING:
    from tracking.fold.around import Crossing
    from tracking.fold.columnar import FixColumns

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A chord 20 m deep in a fence is at least twice as long inside it.
_CHORD_MIN_DEG = 40.0 / 112_000.0
# Fixes of a device in one batch that are prepared for what the device remembers.
_REMEMBERED_FOR = 8


class Scene:
    """What the fences stage needs of each row of `fixes`.

    `terrains[i]` are the fences device i may meet, None for a tenant without any; `who(i)` is who
    it is, and `presences[i]` its stored presences. Columns, by row: `key` of the fences the fix is
    in; `chord_us`, the time of the fix the chord to it was drawn from; `meets`, whether that chord
    crosses anything.
    """

    def __init__(
        self,
        fixes: "FixColumns",
        states: StateArray,
        presences: Sequence[bytes | None],
        terrains: Sequence[Terrain | None],
        who: Sequence[Who],
    ) -> None:
        self._fixes = fixes
        self._who = who
        self._terrains = terrains
        n = len(fixes)
        self.key = np.zeros(n, np.int64)
        self.chord_us = np.full(n, ATTENTION)
        self._from_lon, self._from_lat = np.full(n, np.nan), np.full(n, np.nan)
        self.meets = np.zeros(n, np.bool_)
        # Of every device: an ok fix at or before it may be the first since a fence it belongs in.
        self.home_us = np.array(
            [ATTENTION if terrain is None else terrain.newest_home_us for terrain in terrains]
        )
        self._fenced = np.array([terrain is not None for terrain in terrains])
        # The zones of all rows, and where those of each lie among them: the fold asks for few.
        self._zones: list[int] = []
        self._zones_first = np.zeros(n, np.int64)
        self._zones_end = np.zeros(n, np.int64)
        self._crossings: dict[int, Sequence[Crossing]] = {}
        self._depths: dict[int, dict[int, float]] = {}
        ids = {id(terrain): terrain for terrain in terrains if terrain is not None}
        terrain_of = np.array([id(terrain) for terrain in terrains])
        for id_, terrain in ids.items():
            chosen = terrain_of[fixes.device] == id_
            rows = np.flatnonzero(chosen & (fixes.quality == Quality.OK))
            if len(rows):
                self._meet(terrain, rows, states)
                self._look_closer(terrain, rows, states, presences)

    def changes(self, rows: Ints, device: Ints, states: StateArray) -> Bools:
        """Where the fences may tell something of ok rows, at most one a device, after `states`.

        Not where the fix lies calmly in the fences the device is in, and passed none on the way.
        """
        result: Bools = (self.key[rows] != states["fences_key"]) | self.meets[rows]
        # The chord was drawn from the fix before, which may have turned out not to be ok.
        result |= self.chord_us[rows] != states["ok_us"]
        result |= states["ok_us"] < self.home_us[device]
        result &= self._fenced[device]
        return result

    def around(self, row: int, fix: Fix) -> Surroundings | None:
        """The fences around the fix of a row; None where the tenant has none."""
        device = int(self._fixes.device[row])
        terrain = self._terrains[device]
        if terrain is None:
            return None
        here = sorted(map(terrain.zone, self._here(row)), key=lambda zone: zone.number)
        return Surroundings(
            terrain,
            fix,
            self._who[device],
            here=here,
            key=int(self.key[row]),
            depths=self._depths.get(row),
            # A chord that crosses nothing is an answer too: it need not be asked again.
            chord=(
                float(self._from_lon[row]),
                float(self._from_lat[row]),
                self._crossings.get(row, ()),
            ),
        )

    def _meet(self, terrain: Terrain, rows: Ints, states: StateArray) -> None:
        """Find the fences of each row, and those on the way to it."""
        fixes = self._fixes
        members = terrain.index.members(fixes.lon[rows], fixes.lat[rows])
        if len(members.point):
            self._enter_zones(terrain, rows, members)
        device, time_us = fixes.device[rows], fixes.time_us[rows]
        start = np.empty(len(rows), np.bool_)
        start[:1] = True
        start[1:] = device[1:] != device[:-1]
        before = np.concatenate([[0], np.arange(len(rows) - 1)]) if len(rows) else rows

        def previous(name: str, values: NDArray[Any]) -> NDArray[Any]:
            result: NDArray[Any] = np.where(start, states[name][device], values[before])
            return result

        lon, lat = fixes.lon[rows], fixes.lat[rows]
        from_us = previous("ok_us", time_us)
        from_lon, from_lat = previous("ok_lon", lon), previous("ok_lat", lat)
        self.chord_us[rows] = from_us
        self._from_lon[rows], self._from_lat[rows] = from_lon, from_lat
        near = (time_us <= from_us + CHORD_MAX_US) & (~start | (states["ok_n"][device] > 0))
        span = np.maximum(np.abs(lon - from_lon), np.abs(lat - from_lat))
        chosen = np.flatnonzero(near & (span > _CHORD_MIN_DEG))
        if not len(chosen):
            return
        found = terrain.index.crossings(
            from_lon[chosen],
            from_lat[chosen],
            lon[chosen],
            lat[chosen],
        )
        for i in np.unique(found.segment).tolist():
            hit = found.segment == i
            row = int(rows[chosen[i]])
            around = Surroundings(
                terrain,
                next(fixes.fixes(np.array([row]))),
                self._who[int(fixes.device[row])],
                here=(),
            )
            crossings = around.crossings(found.zone[hit], found.depth_m[hit], found.fraction[hit])
            self._crossings[row] = crossings
            self.meets[row] = bool(crossings)

    def _enter_zones(self, terrain: Terrain, rows: Ints, members: Members) -> None:
        """Keep the memberships that apply, and sum up their keys."""
        fixes = self._fixes
        at = rows[members.point]

        def who(i: int) -> Who:
            return self._who[int(fixes.device[at[i]])]

        kept = np.flatnonzero(terrain.applying(members.zone, fixes.time_us[at], who))
        at, zones = at[kept], members.zone[kept]
        np.add.at(self.key, at, terrain.hash[zones])
        self._zones_first[rows] = len(self._zones) + np.searchsorted(at, rows)
        self._zones_end[rows] = len(self._zones) + np.searchsorted(at, rows, "right")
        self._zones += zones.tolist()

    def _here(self, row: int) -> list[int]:
        return self._zones[self._zones_first[row] : self._zones_end[row]]

    def _look_closer(
        self,
        terrain: Terrain,
        rows: Ints,
        states: StateArray,
        presences: Sequence[bytes | None],
    ) -> None:
        """Find the depths the machines will ask for, of devices not calmly where they were."""
        device, key = self._fixes.device[rows], self.key[rows]
        was = np.empty(len(rows), np.int64)
        was[1:] = key[:-1]
        first = np.ones(len(rows), np.bool_)
        first[1:] = device[1:] != device[:-1]
        was[first] = states["fences_key"][device[first]]
        moved = np.unique(device[key != was])
        pairs: list[tuple[int, int]] = []
        starts, ends = np.searchsorted(device, moved), np.searchsorted(device, moved, "right")
        for i, start, end in zip(moved.tolist(), starts, ends, strict=True):
            pairs += self._questions(terrain, rows[start:end].tolist(), presences[i])
        if not pairs:
            return
        at, zones = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        depths = terrain.index.depths_m(self._fixes.lon[at], self._fixes.lat[at], zones)
        for (row, zone), depth_m in zip(pairs, depths.tolist(), strict=True):
            self._depths.setdefault(row, {})[zone] = depth_m

    def _questions(
        self, terrain: Terrain, rows: list[int], stored: bytes | None
    ) -> set[tuple[int, int]]:
        """(row, zone) whose depth will be wanted: where the fix is, and where the device was."""
        remembered: set[int] = set()
        for watch in load_presences(stored).values():
            remembered |= {watch.zone, watch.left}
        asked: set[tuple[int, int]] = set()
        before: list[int] = []
        for i, row in enumerate(rows):
            here = self._here(row)
            asked.update([(row, zone) for zone in here], [(row, zone) for zone in before])
            # Where a device is in a batch is at most two fixes old; what it remembered before
            # matters to its first fixes. The rest is asked for one by one.
            before = here or before
            if i < _REMEMBERED_FOR:
                time_us = int(self._fixes.time_us[row])
                for number in remembered:
                    zone = terrain.at(number, time_us) if number else None
                    if zone is not None:
                        asked.add((row, zone))
        return asked
