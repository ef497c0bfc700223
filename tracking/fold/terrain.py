"""A tenant's fences as the fold meets them: which apply to a fix, to whom, and how deep.

The book's versions, compiled: what `Scene` needs of every zone as arrays, and a `Zone` with its
calm machine's parameters for those a device comes near.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.calm import OUTSIDE, Calm
from tracking.fencebook import FenceBook
from tracking.fences import Audience, FenceVersion, machine_number
from tracking.fold.around import Crossing, Zone
from tracking.fold.model import Fix
from tracking.fold.presence import hashes, key_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_FOR_EVER = 2**63 - 1
_EVERYONE = Audience()


class Who(NamedTuple):
    """A device as audiences name it."""

    name: str
    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    def among(self, audience: Audience) -> bool:
        """Whether a fence with this audience applies to the device."""
        return (
            audience == _EVERYONE
            or self.name in audience.devices
            or not self.groups.isdisjoint(audience.groups)
            or not self.tags.isdisjoint(audience.tags)
        )


class Terrain:
    """The fences of one tenant. `refresh` after the book changed."""

    def __init__(self, book: FenceBook) -> None:
        self._book = book
        self.index = book.index
        self.deleted: set[str] = set()  # public ids of fences that ended
        self._zones: dict[int, Zone] = {}
        self._audiences: list[Audience] = [_EVERYONE]
        self.number = np.empty(0, np.int64)
        self.hash = np.empty(0, np.int64)
        self.from_us = np.empty(0, np.int64)
        self.to_us = np.empty(0, np.int64)
        self.audience = np.empty(0, np.int64)
        self.homes: list[Zone] = []
        self.newest_home_us = -_FOR_EVER
        self.refresh(book.fences)

    @property
    def asks(self) -> bool:
        """Whether some fence asks who a device is."""
        return len(self._audiences) > 1

    def refresh(self, changed: Iterable[int]) -> None:
        """Take over what the book says of these zones now."""
        zones = [zone for zone in changed if zone in self._book.fences]
        self._grow(max(zones, default=-1) + 1)
        audience_ids = {audience: i for i, audience in enumerate(self._audiences)}
        for zone in zones:
            fence = self._book.fences[zone]
            self._zones.pop(zone, None)
            audience = fence.options.applies_to
            if audience not in audience_ids:
                audience_ids[audience] = len(self._audiences)
                self._audiences.append(audience)
            self.number[zone] = fence.number
            self.from_us[zone] = fence.from_us
            self.to_us[zone] = _FOR_EVER if fence.to_us is None else fence.to_us
            self.audience[zone] = audience_ids[audience]
            if self._book.current(fence.number) is None:
                self.deleted.add(fence.id)
            else:
                self.deleted.discard(fence.id)
        at = np.array(zones, np.int64)
        self.hash[at] = hashes(self.number[at])
        self.index = self._book.index
        self._find_homes()

    def _grow(self, n: int) -> None:
        missing = n - len(self.number)
        if missing > 0:
            # By half, so that a thousand edits do not copy the columns a thousand times.
            more = np.zeros(max(missing, len(self.number) // 2), np.int64)
            for name in ("number", "hash", "from_us", "to_us", "audience"):
                setattr(self, name, np.concatenate([getattr(self, name), more]))

    def _find_homes(self) -> None:
        self.homes = [
            self.zone(zone)
            for zone, fence in self._book.fences.items()
            if fence.options.normal == "inside"
        ]
        self.newest_home_us = max(
            (home.fence.created_us for home in self.homes), default=-_FOR_EVER
        )

    def zone(self, id_: int) -> Zone:
        """One version of a fence by its id in the book, compiled."""
        found = self._zones.get(id_)
        if found is None:
            found = self._zones[id_] = self._compile(id_, self._book.fences[id_])
        return found

    def _compile(self, id_: int, fence: FenceVersion) -> Zone:
        buffers, inradius_m = fence.options.buffers, self.index.inradius_m(id_)
        calm = Calm.of(
            kind=fence.shape.kind,
            inradius_m=inradius_m,
            layer=fence.options.layer is not None,
            enter_m=buffers.enter_m,
            exit_m=buffers.exit_m,
            min_fixes=buffers.min_fixes,
        )
        return Zone(id_, fence.number, machine_number(fence), calm, inradius_m, fence)

    def applying(self, zones: Ints, time_us: Ints, who: Callable[[int], Who]) -> Bools:
        """Whether each zone applies at its time to its device, `who(i)` of pair i."""
        applies = (self.from_us[zones] <= time_us) & (time_us < self.to_us[zones])
        audience = self.audience[zones]
        for i in np.flatnonzero(applies & (audience != 0)).tolist():
            applies[i] = who(i).among(self._audiences[int(audience[i])])
        result: Bools = applies
        return result

    def at(self, number: int, time_us: int) -> int | None:
        """The id of the version of the fence that holds at that time."""
        return self._book.at(number, time_us)

    def in_force(self, number: int, time_us: int, who: Who) -> Zone | None:
        """The version of the fence that applies to the device at that time."""
        id_ = self._book.at(number, time_us)
        if id_ is None:
            return None
        zone = self.zone(id_)
        return zone if who.among(zone.fence.options.applies_to) else None

    def known(self, number: int, time_us: int) -> Zone | None:
        """The fence's last version that began at or before that time."""
        id_ = self._book.last_before(number, time_us)
        return None if id_ is None else self.zone(id_)

    def last(self, number: int) -> Zone | None:
        """The fence's last version."""
        return self.known(number, _FOR_EVER)


class Surroundings:
    """The fences around one fix: what a `Scene` found for the whole batch, or asks for now."""

    __slots__ = ("_chord", "_depths", "_fix", "_known", "_terrain", "_who", "here", "key")

    def __init__(
        self,
        terrain: Terrain,
        fix: Fix,
        who: Who,
        *,
        here: Sequence[Zone],
        key: int | None = None,
        depths: dict[int, float] | None = None,
        chord: tuple[float, float, Sequence[Crossing]] | None = None,
    ) -> None:
        self._terrain = terrain
        self._fix = fix
        self._who = who
        self._depths = {} if depths is None else depths
        self._chord = chord
        self.here = here
        # A machine asks for the same few fences again and again.
        self._known: dict[int, Zone | None] = {zone.number: zone for zone in here}
        self.key = key_of(zone.number for zone in here) if key is None else key

    @classmethod
    def of(cls, terrain: Terrain, fix: Fix, who: Who) -> "Surroundings":
        """The fences around a single fix."""
        zones = np.array(terrain.index.at(fix.lon, fix.lat), np.int64)
        times = np.full(len(zones), fix.time_us)
        applying = zones[terrain.applying(zones, times, lambda _: who)].tolist()
        here = sorted(map(terrain.zone, applying), key=lambda zone: zone.number)
        return cls(terrain, fix, who, here=here)

    def zone(self, number: int) -> Zone | None:
        """As `Around.zone`."""
        if number == OUTSIDE:
            return None
        if number in self._known:
            return self._known[number]
        zone = self._terrain.in_force(number, self._fix.time_us, self._who)
        self._known[number] = zone
        return zone

    def known(self, number: int) -> Zone | None:
        """As `Around.known`."""
        return self._terrain.known(number, self._fix.time_us)

    def depth_m(self, zone: Zone) -> float:
        """As `Around.depth_m`."""
        depth_m = self._depths.get(zone.id)
        if depth_m is None:
            fix = self._fix
            (found,) = self._terrain.index.depths_m(
                np.array([fix.lon]), np.array([fix.lat]), np.array([zone.id])
            ).tolist()
            depth_m = self._depths[zone.id] = found
        return depth_m

    def crossed(self, lon: float, lat: float) -> Sequence[Crossing]:
        """As `Around.crossed`."""
        if self._chord is None or self._chord[:2] != (lon, lat):
            fix, terrain = self._fix, self._terrain
            found = terrain.index.crossings(
                np.array([lon]), np.array([lat]), np.array([fix.lon]), np.array([fix.lat])
            )
            self._chord = (lon, lat, self.crossings(found.zone, found.depth_m, found.fraction))
        return self._chord[2]

    def crossings(self, zones: Ints, depth_m: Floats, fraction: Floats) -> Sequence[Crossing]:
        """Those of the zones an index found on the way that apply to the fix."""
        times = np.full(len(zones), self._fix.time_us)
        applying = self._terrain.applying(zones, times, lambda _: self._who)
        return [
            Crossing(self._terrain.zone(int(zones[i])), float(depth_m[i]), float(fraction[i]))
            for i in np.flatnonzero(applying).tolist()
        ]

    def homes(self) -> Sequence[Zone]:
        """As `Around.homes`."""
        time_us = self._fix.time_us
        return [
            zone
            for zone in self._terrain.homes
            if zone.fence.from_us <= time_us
            and (zone.fence.to_us is None or time_us < zone.fence.to_us)
            and self._who.among(zone.fence.options.applies_to)
        ]
