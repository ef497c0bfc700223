"""Who wants a position or an event, found from what it is, never by asking everybody. Pure.

Subscriptions of one interest form an audience, for which things are chosen once. A position finds
its audiences by its device and by its H3 cell; an event also by its fence and its type. So a
tick costs what is wanted, not the fleet times the clients.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

import shapely
from h3.api import basic_int as h3

from geofence.cover import STORED_RESOLUTION, cover
from geofence.shapes import Kind, Shape
from tracking.feed import LiveEvent, LivePosition
from tracking.interest import Interest, names_of
from tracking.store.devices import Bbox

Member = TypeVar("Member")
Key = TypeVar("Key")

# A cell's ancestor has another resolution (bits 52 to 55) and ones for the digits it lacks.
_BARE = ~(0xF << 52)
# Degrees, 1 cm: a box without an area has no cover, and a place is rounded to 1e-7.
_MARGIN = 1e-7


class Audience(Generic[Member]):
    """Everybody of one interest, in the order they came."""

    __slots__ = ("devices", "interest", "members")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        # Whose positions are wanted, shipments resolved; None: any device's.
        self.devices: frozenset[str] | None = None
        self.members: dict[Member, None] = {}


class InterestIndex(Generic[Member]):
    """The audiences there are. A member may be in it once for each interest."""

    def __init__(self) -> None:
        self._audiences: dict[Interest, Audience[Member]] = {}
        self._whole: dict[Audience[Member], None] = {}
        self._devices = _Shelf[str, Audience[Member]]()
        self._shipping: dict[Audience[Member], None] = {}
        self._carriers: Mapping[str, str | None] = {}
        self._ground = _Ground[Audience[Member]]()
        # Of events: what they need not be in a place for, by the most telling thing wanted.
        self._events = _Shelf[tuple[str, str], Audience[Member]]()

    def add(self, interest: Interest, member: Member) -> None:
        """Let a member have what fits the interest."""
        audience = self._audiences.get(interest)
        if audience is None:
            audience = self._audiences[interest] = Audience(interest)
            self._file(audience)
        audience.members[member] = None

    def discard(self, interest: Interest, member: Member) -> None:
        """Undo `add`; what was not added is not missed."""
        audience = self._audiences.get(interest)
        if audience is None:
            return
        audience.members.pop(member, None)
        if not audience.members:
            del self._audiences[interest]
            self._unfile(audience)

    @property
    def whole(self) -> Iterable[Audience[Member]]:
        """The audiences that want every position."""
        return self._whole

    def choose(
        self, positions: Sequence[LivePosition]
    ) -> dict[Audience[Member], list[LivePosition]]:
        """What each of the other audiences wants of these positions; those that want none lack."""
        chosen: dict[Audience[Member], list[LivePosition]] = defaultdict(list)
        if self._devices:
            for position in positions:
                for audience in self._devices.get(position.device):
                    bbox = audience.interest.bbox
                    if bbox is None or bbox.holds(position.lon, position.lat):
                        chosen[audience].append(position)
        self._ground.choose(positions, chosen)
        return {audience: its for audience, its in chosen.items() if audience.interest.positions}

    def audiences_of(self, event: LiveEvent) -> Iterator[Audience[Member]]:
        """Those who want an event, each once."""
        found = dict(self._events.get(("", "")))
        for key in _event_keys(event):
            found.update(self._events.get(key))
        if event.lon is None or event.lat is None:
            found.update(self._events.get(("bbox", "")))
        else:
            found.update(dict.fromkeys(self._ground.at(event.lon, event.lat)))
        return (audience for audience in found if audience.interest.wants_event(event))

    @property
    def shipments(self) -> set[str]:
        """All that anybody wants to follow."""
        return {s for audience in self._shipping for s in audience.interest.shipments or ()}

    def carry(self, carriers: Mapping[str, str | None]) -> None:
        """Take which device carries each of `shipments` from now on; those without one lack."""
        self._carriers = carriers
        for audience in self._shipping:
            if self.devices_of(audience.interest) != audience.devices:
                self._unfile_positions(audience)
                self._file_positions(audience)

    def devices_of(self, interest: Interest) -> frozenset[str] | None:
        """Whose positions an interest is about, as far as is known; None: any device's."""
        if interest.shipments is None:
            return interest.devices
        carrying = (self._carriers.get(shipment) for shipment in interest.shipments)
        found = frozenset(device for device in carrying if device is not None)
        return found if interest.devices is None else found & interest.devices

    def _file(self, audience: Audience[Member]) -> None:
        for key in _interest_keys(audience.interest):
            self._events.add(key, audience)
        if audience.interest.shipments is not None:
            self._shipping[audience] = None
        self._file_positions(audience)

    def _unfile(self, audience: Audience[Member]) -> None:
        for key in _interest_keys(audience.interest):
            self._events.discard(key, audience)
        self._shipping.pop(audience, None)
        self._unfile_positions(audience)

    def _file_positions(self, audience: Audience[Member]) -> None:
        interest = audience.interest
        audience.devices = self.devices_of(interest)
        if audience.devices is not None:
            for device in audience.devices if interest.positions else ():
                self._devices.add(device, audience)
        elif interest.bbox is not None:
            self._ground.add(interest.bbox, audience)
        elif interest.positions:
            self._whole[audience] = None

    def _unfile_positions(self, audience: Audience[Member]) -> None:
        interest = audience.interest
        for device in audience.devices or ():
            self._devices.discard(device, audience)
        if audience.devices is None and interest.bbox is not None:
            self._ground.discard(interest.bbox, audience)
        self._whole.pop(audience, None)


def _interest_keys(interest: Interest) -> list[tuple[str, str]]:
    """Where an event that fits is sure to look, beside the ground."""
    for kind, wanted in (
        ("device", interest.devices),
        ("shipment", interest.shipments),
        ("fence", interest.fences),
    ):
        if wanted is not None:
            return [(kind, name) for name in wanted]
    if interest.bbox is not None:
        return [("bbox", "")]
    if interest.types is not None:
        return [("type", name) for name in interest.types]
    return [("", "")]


def _event_keys(event: LiveEvent) -> list[tuple[str, str]]:
    keys = [("type", name) for name in names_of(event.type)]
    keys.append(("device", event.subject))
    if event.shipment is not None:
        keys.append(("shipment", event.shipment))
    if event.fence is not None:
        keys.append(("fence", event.fence))
    return keys


class _Shelf(Generic[Key, Member]):
    """Sets by key, kept in the order things came; a key without any is gone."""

    def __init__(self) -> None:
        self._filed: dict[Key, dict[Member, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._filed)

    def add(self, key: Key, member: Member) -> None:
        self._filed.setdefault(key, {})[member] = None

    def discard(self, key: Key, member: Member) -> None:
        filed = self._filed.get(key)
        if filed is not None:
            filed.pop(member, None)
            if not filed:
                del self._filed[key]

    def get(self, key: Key) -> dict[Member, None]:
        return self._filed.get(key, {})


class _Ground(Generic[Member]):
    """Boxes by the cells that cover them, each box at a resolution of its own size.

    A place is looked up once for each resolution in use; only in cells on the border of a box is
    it compared with the box.
    """

    def __init__(self) -> None:
        self._inside = _Shelf[int, Member]()
        self._border = _Shelf[int, tuple[Member, Bbox]]()
        # Boxes by what turns a stored cell into its ancestor of their resolution.
        self._levels: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self._levels)

    def add(self, bbox: Bbox, member: Member) -> None:
        covered = _cover(bbox)
        self._levels[covered.filling] += 1
        for cell in covered.inside:
            self._inside.add(cell, member)
        for cell in covered.border:
            self._border.add(cell, (member, bbox))

    def discard(self, bbox: Bbox, member: Member) -> None:
        covered = _cover(bbox)
        self._levels[covered.filling] -= 1
        self._levels += Counter()
        for cell in covered.inside:
            self._inside.discard(cell, member)
        for cell in covered.border:
            self._border.discard(cell, (member, bbox))

    def at(self, lon: float, lat: float) -> Iterator[Member]:
        """Whose box a place is in."""
        if not self._levels:
            return
        bare = h3.latlng_to_cell(lat, lon, STORED_RESOLUTION) & _BARE
        for filling in self._levels:
            yield from self._inside.get(bare | filling)
            for member, bbox in self._border.get(bare | filling):
                if bbox.holds(lon, lat):
                    yield member

    def choose(
        self, positions: Sequence[LivePosition], chosen: dict[Member, list[LivePosition]]
    ) -> None:
        """Add to each member's list the positions in its box.

        Positions of one cell are handed on together: many are wanted by many.
        """
        for filling in self._levels:
            together: dict[int, list[LivePosition]] = defaultdict(list)
            for position in positions:
                together[position.cell & _BARE | filling].append(position)
            for cell, group in together.items():
                for member in self._inside.get(cell):
                    chosen[member].extend(group)
                border = self._border.get(cell)
                if not border:
                    continue
                for position in group:
                    lon, lat = position.lon, position.lat
                    # `Bbox.holds` written out: half of a tick went into calling it.
                    for member, (west, south, east, north) in border:
                        if south <= lat <= north and (
                            west <= lon <= east if west <= east else lon >= west or lon <= east
                        ):
                            chosen[member].append(position)


class _Covered(NamedTuple):
    filling: int
    inside: tuple[int, ...]
    border: tuple[int, ...]


# People come back to the box they left; a cover takes 0.8 ms. Twice as many cells would take twice
# as long and spare a fifth of the comparisons.
@lru_cache(maxsize=1_024)
def _cover(bbox: Bbox) -> _Covered:
    west, south, east, north = bbox
    if west > east:
        east += 360.0
    box = shapely.box(west - _MARGIN, south - _MARGIN, east + _MARGIN, north + _MARGIN)
    resolution, inside, border = cover(Shape(Kind.POLYGON, box), target_cells=80)
    if resolution <= STORED_RESOLUTION:
        return _Covered(_filling(resolution), tuple(inside.tolist()), tuple(border.tolist()))
    # A place in a fine cell may lie in another stored cell than that one's ancestor.
    stored = {h3.cell_to_parent(c, STORED_RESOLUTION) for c in (*inside.tolist(), *border.tolist())}
    around = {cell for middle in stored for cell in h3.grid_disk(middle, 1)}
    return _Covered(_filling(STORED_RESOLUTION), (), tuple(around))


def _filling(resolution: int) -> int:
    """What turns a cell without its resolution into its ancestor of this one."""
    return resolution << 52 | (1 << 3 * (15 - resolution)) - 1
