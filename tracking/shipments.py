"""Shipments as they are planned, and as they turn out. No I/O.

A plan is what people say; a record is derived from it, from who carried the shipment when, and
from events (`tracking.shipment_fold`), and is never typed over.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from tracking import raw
from tracking.fences import Schedule
from tracking.route.line import Line
from tracking.route.polyline import decode
from tracking.times import Moment, iso, to_us

Kind = Literal["forward", "return", "transfer"]
StopKind = Literal["pickup", "delivery", "via"]
Status = Literal[
    "planned", "picked_up", "in_transit", "arriving", "at_stop", "delivered", "cancelled"
]
Act = Literal["arrived", "departed", "delivered", "cancelled"]
# What is wrong with a shipment beside its status; any number at once.
Trouble = Literal[
    "delayed", "overdue", "not_departed", "stalled", "off_route", "opposite_direction"
]

# Of a planned line: a millionth of a degree, 11 cm.
LINE_DIGITS = 6

# Fences made for shipments have ids that begin so; nobody else may use it.
RESERVED = "shipment:"


class Place(msgspec.Struct, frozen=True):
    """Where a stop is: a circle."""

    lon: float
    lat: float
    radius_m: float = 150.0
    address: str | None = None


class PlannedWindow(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """When a stop is planned to be reached, and the IANA zone in which people there think."""

    start: Moment | None = None
    end: Moment | None = None
    time_zone: str = "UTC"


class Stop(msgspec.Struct, frozen=True):
    """One stop as planned: at a place, or in a fence of the tenant's own."""

    kind: StopKind
    name: str
    place: Place | None = None
    fence: str | None = None
    window: PlannedWindow | None = None
    service_s: float = 0.0
    # When the site works, and how long whoever serves it may wait there for nothing.
    hours: Schedule | None = None
    free_time_s: float | None = None


class Route(msgspec.Struct, frozen=True):
    """The planned way, and when it counts as left.

    `polyline` is its line, encoded with six digits: a tenth of its size in JSON, and decoded only
    where it is asked for. Off it is who was further than `detect_m` beside it in `n` of the last
    `of_m` fixes, back who was within `clear_m` in as many.
    """

    polyline: str
    detect_m: float = 150.0
    clear_m: float = 75.0
    n: int = 3
    of_m: int = 5

    @property
    def points(self) -> list[tuple[float, float]]:
        """Its [lon, lat]."""
        return decode(self.polyline, LINE_DIGITS)

    @property
    def line(self) -> Line:
        """Its geometry; who asks for the same one again soon gets it at once."""
        return _line_of(self.polyline)


class Way(msgspec.Struct, frozen=True):
    """A route to be followed, and the places of its stops: going there is not leaving it."""

    route: Route
    stops: tuple[Place, ...]


@lru_cache(maxsize=256)
def _line_of(polyline: str) -> Line:
    return Line.of(decode(polyline, LINE_DIGITS))


class Limits(msgspec.Struct, frozen=True):
    """How long each may take before it is trouble.

    Standing still on the way, being due behind a window, and staying behind the end of service.
    """

    stalled_after_s: float = 1_800.0
    overdue_after_s: float = 3_600.0
    departure_grace_s: float = 900.0


class Parties(msgspec.Struct, frozen=True):
    """Who may see the shipment beside the tenant: those whose keys are of one of these parties."""

    shipper: str | None = None
    carrier: str | None = None
    consignee: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """A shipment as planned. `arriving_m` is how far before a stop it counts as arriving.

    With `timetable` what carries it comes to stops by the starts of their windows, and leaves them
    `service_s` later (`tracking.timetable`).
    """

    id: str
    stops: tuple[Stop, ...]
    order_ref: str | None = None
    kind: Kind = "forward"
    parties: Parties = Parties()
    arriving_m: float = 2_000.0
    route: Route | None = None
    limits: Limits = Limits()
    timetable: bool = False
    attrs: raw.Object = msgspec.Raw(b"{}")

    @property
    def subject(self) -> str:
        """How events name it; a device's name has no slash."""
        return f"shipment/{self.id}"

    @property
    def way(self) -> Way | None:
        """What is to be followed; None: it goes as it likes."""
        if self.route is None:
            return None
        return Way(self.route, tuple(stop.place for stop in self.stops if stop.place is not None))

    def names(self) -> list[str]:
        """The parties, each once."""
        all_ = (self.parties.shipper, self.parties.carrier, self.parties.consignee)
        return sorted({name for name in all_ if name is not None})


class Proof(msgspec.Struct, frozen=True):
    """Proof of what was handed over."""

    name: str | None = None
    note: str | None = None
    photo_ref: str | None = None
    code: str | None = None


class Override(msgspec.Struct, frozen=True):
    """What somebody says happened, where no event tells it or events are wrong.

    Without a stop `delivered` is about all that is still to be delivered.
    """

    id: int
    act: Act
    at: Moment
    stop: int | None = None
    note: str | None = None
    proof: Proof | None = None
    made_by: str | None = None
    made_at: Moment | None = None
    withdrawn_at: Moment | None = None


class Stay(msgspec.Struct, frozen=True):
    """A time at a stop; without an end it is there.

    `arrived_by` and `left_by` are ids of the events that told so; None: somebody said it, or what
    carries it changed.
    """

    arrived_at: Moment
    left_at: Moment | None = None
    arrived_by: str | None = None
    left_by: str | None = None


class StopRecord(msgspec.Struct, frozen=True):
    """What became of a stop. `done` tells that what was to happen there has happened.

    `stays` are all times at it: who leaves may come back.
    """

    arrived_at: Moment | None = None
    departed_at: Moment | None = None
    done: bool = False
    delayed: bool = False
    proof: Proof | None = None
    stays: tuple[Stay, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """A shipment as it turned out so far; `since` is when the status began."""

    status: Status
    since: Moment
    stops: tuple[StopRecord, ...]
    picked_up_at: Moment | None = None
    delivered_at: Moment | None = None
    exceptions: tuple[Trouble, ...] = ()
    at_stop: int | None = None
    next_stop: int | None = None

    @property
    def final(self) -> bool:
        """Whether it needs no watching any more."""
        return self.status in {"delivered", "cancelled"}


class Happening(NamedTuple):
    """An event about a shipment, as the derivation states it."""

    type: str
    time_us: int
    rule: str
    data: dict[str, Any]
    late: bool = False


def ahead(plan: Plan, record: Record) -> list[int]:
    """The stops that are still to be reached, in the order of the plan."""
    if record.final:
        return []
    return [
        i
        for i, became in enumerate(record.stops)
        if became.arrived_at is None and not became.done
        # A via before the next stop was left out.
        and (plan.stops[i].kind != "via" or i >= (record.next_stop or 0))
    ]  # fmt: skip


def of_stop(plan: Plan, stop: int) -> dict[str, Any]:
    """What events tell of a stop of the plan."""
    planned = plan.stops[stop]
    window = planned.window
    return {
        "stop": stop,
        "stop_kind": planned.kind,
        "stop_name": planned.name,
        "planned_to": None if window is None or window.end is None else iso(to_us(window.end)),
    }


def place_name(stop: Stop) -> str:
    """A name for where a stop is, the same for stops of other shipments there.

    Stops that were given no name have those of others, so the place is a part of it.
    """
    if stop.fence is not None:
        return stop.fence
    at = stop.place
    return stop.name if at is None else f"{stop.name} {at.lat:.3f},{at.lon:.3f}"


def grounds(stops: Sequence[Stop]) -> list[int | None]:
    """For each stop the first one at the same place or in the same fence; None: it is nowhere.

    Two stops at one depot share one fence, and the order of the plan tells which of them it is.
    """
    first: dict[tuple[float, float, float] | str, int] = {}
    found: list[int | None] = []
    for i, stop in enumerate(stops):
        if stop.fence is not None:
            found.append(first.setdefault(stop.fence, i))
        elif stop.place is not None:
            key = (stop.place.lon, stop.place.lat, stop.place.radius_m)
            found.append(first.setdefault(key, i))
        else:
            found.append(None)
    return found
