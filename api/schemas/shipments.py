"""What the api takes and tells about shipments and orders."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import Field

from api.conventions.problems import Problem
from api.schemas.assets import CarriedBy, GivenMoment, carried_by
from api.schemas.detention import Dwell, FreeTime, dwell_of, hours_of
from api.schemas.estimates import AsOf, EtaView, eta_view, expected_of
from api.schemas.fences import Degrees, Latitude
from api.schemas.parameters import Paged, Text, Time
from api.schemas.routes import (
    LimitsInput,
    RouteDetail,
    RouteInput,
    RouteView,
    limits_of,
    route_detail,
    route_of,
    route_view,
)
from tracking import raw
from tracking.custody import Segment
from tracking.errors import InputError
from tracking.estimates import Expected
from tracking.feed import PositionUpdate
from tracking.fence_input import Id, Name, ScheduleInput, stored_json
from tracking.fences import Schedule
from tracking.ids import SHIPMENT_ID, whole
from tracking.route.follow import Progress
from tracking.schedules import zone_of
from tracking.shipments import (
    Kind,
    Limits,
    Parties,
    Place,
    Plan,
    PlannedWindow,
    Proof,
    Route,
    Status,
    Stop,
    StopKind,
    Trouble,
)
from tracking.store.custody import Whereabouts
from tracking.store.shipments import StoredShipment
from tracking.times import Moment, utc_now

R = TypeVar("R", bound=RouteView)

ShipmentId = Annotated[str, Meta(pattern=whole(SHIPMENT_ID))]


class PlaceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a stop is: within `radius_m` of a point."""

    lon: Degrees
    lat: Latitude
    radius_m: Annotated[float, Meta(ge=20, le=20_000)] = 150.0
    address: Name | None = None


class WindowInput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """When a stop is planned to be reached; `time_zone` is an IANA name."""

    start: GivenMoment | None = None
    end: GivenMoment | None = None
    time_zone: str = "UTC"


class StopInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stop: at a place, in one of your fences, or, without both, only what people say of it."""

    kind: StopKind
    name: Name | None = None
    place: PlaceInput | None = None
    fence: Id | None = None
    window: WindowInput | None = None
    service_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    hours: ScheduleInput | None = None
    free_time_s: FreeTime | None = None


Stops = Annotated[tuple[StopInput, ...], Meta(min_length=1, max_length=100)]
ArrivingM = Annotated[float, Meta(ge=50, le=50_000)]


class PartiesInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may see a shipment: those whose keys are of one of these parties."""

    shipper: Name | None = None
    carrier: Name | None = None
    consignee: Name | None = None


class ShipmentInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shipment as planned; without an `id` it gets one."""

    stops: Stops
    id: ShipmentId | None = None
    order_ref: Name | None = None
    kind: Kind = "forward"
    parties: PartiesInput = PartiesInput()
    arriving_m: ArrivingM = 2_000.0
    route: RouteInput | None = None
    limits: LimitsInput = LimitsInput()
    timetable: bool = False
    attrs: dict[str, Any] = {}


class ShipmentPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a plan; what is left out stays.

    Stops, the route and the limits are replaced as a whole; null takes the route away.
    """

    stops: Stops | UnsetType = UNSET
    order_ref: Name | UnsetType | None = UNSET
    kind: Kind | UnsetType = UNSET
    parties: PartiesInput | UnsetType = UNSET
    arriving_m: ArrivingM | UnsetType = UNSET
    route: RouteInput | UnsetType | None = UNSET
    limits: LimitsInput | UnsetType = UNSET
    timetable: bool | UnsetType = UNSET
    attrs: dict[str, Any] | UnsetType = UNSET


class ShipmentQuery(Paged):
    """Which shipments."""

    id: Text | None = Field(None, description="Prefix of the id")
    status: list[Status] | None = Field(None, max_length=10, description="Repeat for several")
    order: Text | None = Field(None, description="Its order reference")
    party: Text | None = Field(None, description="Shipper, carrier or consignee")
    carrier: Text | None = Field(None, description="The asset it is attached to now")
    device: Text | None = Field(None, description="A device that ever told where it was")
    delayed: bool | None = None
    exception: list[Trouble | Literal["at_risk"]] | None = Field(
        None, max_length=10, description="Those with any of these; repeat for several"
    )
    start: Time | None = Field(None, alias="from", description="Planned at or after it")
    end: Time | None = Field(None, alias="to", description="Planned before it")


class Times(msgspec.Struct, frozen=True):
    """When something was planned, is expected, and came about.

    `estimated` is null once it came about, and where nothing is expected: see `eta`.
    """

    planned: Moment | None
    estimated: Moment | None
    actual: Moment | None


class StopView(msgspec.Struct, frozen=True):
    """A stop as planned and as it turned out.

    `arrive.planned` is the start of its window; `planned_until` its end; `depart.planned` the start
    and `service_s`. `dwell` is null where it never was.
    """

    kind: StopKind
    name: str
    place: Place | None
    fence: str | None
    time_zone: str
    service_s: float
    arrive: Times
    depart: Times
    planned_until: Moment | None
    done: bool
    delayed: bool
    proof: Proof | None
    hours: Schedule | None
    free_time_s: float | None
    dwell: Dwell | None


class ShipmentView(msgspec.Struct, frozen=True):
    """A shipment: its plan, what is derived of it, and what is expected."""

    id: str
    order_ref: str | None
    kind: Kind
    status: Status
    since: Moment
    exceptions: list[Trouble | Literal["at_risk"]]
    at_stop: int | None
    next_stop: int | None
    picked_up_at: Moment | None
    delivered_at: Moment | None
    stops: list[StopView]
    parties: Parties
    arriving_m: float
    limits: Limits
    timetable: bool
    route: RouteView | None
    eta: EtaView
    attrs: raw.Object
    version: int
    created_at: Moment
    updated_at: Moment
    updated_by: str | None


class SeenAt(msgspec.Struct, frozen=True):
    """Where a shipment was last seen.

    `stale` tells that whoever carries it has been quiet for so long that it may be elsewhere.
    """

    position: PositionUpdate | None
    age_s: float | None
    stale: bool
    carried_by: CarriedBy | None


class ShipmentDetail(ShipmentView, frozen=True, kw_only=True):
    """A shipment, its route with the line, and where it was last seen."""

    route: RouteDetail | None
    last_seen: SeenAt


class OrderTracking(msgspec.Struct, frozen=True):
    """All shipments of an order."""

    order_ref: str
    items: list[ShipmentDetail]


def plan_of(given: ShipmentInput, id_: str) -> Plan:
    """The plan somebody sent.

    Raises:
        Problem: 422, a member means nothing.
    """
    return Plan(
        id=id_,
        stops=_stops(given.stops),
        order_ref=given.order_ref,
        kind=given.kind,
        parties=msgspec.convert(given.parties, Parties, from_attributes=True),
        arriving_m=given.arriving_m,
        route=None if given.route is None else route_of(given.route),
        limits=limits_of(given.limits),
        timetable=given.timetable,
        attrs=msgspec.Raw(stored_json(given.attrs, "attrs")),
    )


def changes_of(given: ShipmentPatch) -> Mapping[str, Any]:
    """The members of a plan that a patch replaces; raises as `plan_of`."""
    members: dict[str, Any] = {
        name: getattr(given, name)
        for name in given.__struct_fields__
        if getattr(given, name) is not UNSET
    }
    if "stops" in members:
        members["stops"] = _stops(members["stops"])
    if "parties" in members:
        members["parties"] = msgspec.convert(members["parties"], Parties, from_attributes=True)
    if members.get("route") is not None:
        members["route"] = route_of(members["route"])
    if "limits" in members:
        members["limits"] = limits_of(members["limits"])
    if "attrs" in members:
        members["attrs"] = msgspec.Raw(stored_json(members["attrs"], "attrs"))
    return members


def stop_of(given: StopInput, where: str, fallback_name: str) -> Stop:
    """One stop as planned; `where` is its place in what was sent. Raises as `plan_of`."""
    _check_stop(given, where)
    hours_of(given.hours, f"{where}.hours")
    named = msgspec.structs.replace(given, name=given.name or fallback_name)
    return msgspec.convert(named, Stop, from_attributes=True)


def window_of(given: WindowInput, where: str) -> PlannedWindow:
    """A planned window; raises as `plan_of`."""
    _check_window(given, where)
    return msgspec.convert(given, PlannedWindow, from_attributes=True)


def _stops(given: tuple[StopInput, ...]) -> tuple[Stop, ...]:
    return tuple(
        stop_of(stop, f"stops[{i}]", f"{stop.kind} {i + 1}") for i, stop in enumerate(given)
    )


def _check_stop(stop: StopInput, where: str) -> None:
    if stop.place is not None and stop.fence is not None:
        raise _fault(f"{where}.fence", "give a place or a fence, not both")
    if stop.window is not None:
        _check_window(stop.window, f"{where}.window")


def _check_window(window: WindowInput, where: str) -> None:
    try:
        zone_of(window.time_zone)
    except InputError as exc:
        raise _fault(f"{where}.time_zone", str(exc)) from None
    for name, edge in (("from", window.start), ("to", window.end)):
        if edge is not None and not 1970 <= edge.year < 9999:
            raise _fault(f"{where}.{name}", "times reach from 1970 to 9998")
    if window.start and window.end and window.start > window.end:
        raise _fault(f"{where}.to", "it is before `from`")


def view_of(stored: StoredShipment, as_of: AsOf) -> ShipmentView:
    """A shipment as the api tells it."""
    return ShipmentView(**_members(stored, as_of), route=_route(stored, route_view))


def detail_of(stored: StoredShipment, as_of: AsOf, seen: SeenAt) -> ShipmentDetail:
    """The same, with where it was last seen."""
    return ShipmentDetail(
        **_members(stored, as_of), route=_route(stored, route_detail), last_seen=seen
    )


def seen_at(as_of: AsOf, part: Segment, found: Whereabouts | None) -> SeenAt:
    """Where a shipment was last seen; `part` is who carries it now."""
    now_by = None if part.device is None else carried_by(part)
    if found is None:
        return SeenAt(None, None, stale=True, carried_by=now_by)
    age = max(as_of.now - found.position.fix_time, timedelta())
    stale = part.device is None or age > as_of.stale_after
    return SeenAt(
        found.position, round(age.total_seconds(), 3), stale=stale, carried_by=now_by
    )  # fmt: skip


def _route(stored: StoredShipment, view: Callable[[Route, Progress | None], R]) -> R | None:
    route = stored.plan.route
    return None if route is None else view(route, stored.progress)


def _members(stored: StoredShipment, as_of: AsOf) -> dict[str, Any]:
    plan, record = stored.plan, stored.record
    found = expected_of(stored, as_of)
    eta = eta_view(stored, found, as_of.now)
    shared = {
        name: getattr(source, name)
        for source in (plan, record)
        for name in source.__struct_fields__
        if name in ShipmentView.__struct_fields__ and name != "route"
    }
    return shared | {
        "exceptions": [*record.exceptions, *(["at_risk"] if eta.at_risk else [])],
        "stops": [_stop_view(stored, i, found, as_of.now) for i in range(len(plan.stops))],
        "eta": eta,
        "version": stored.version,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
        "updated_by": stored.updated_by,
    }


def _stop_view(stored: StoredShipment, i: int, found: Expected, now: datetime) -> StopView:
    stop = stored.plan.stops[i]
    became = stored.record.stops[i]
    told = None if became.arrived_at is not None else found.of(i, now)
    leaves = None if told is None else told.depart
    if i == stored.record.at_stop:
        leaves = found.leaves(now)
    start = None if stop.window is None else stop.window.start
    leave = None if start is None else start + timedelta(seconds=stop.service_s)
    return StopView(
        kind=stop.kind,
        name=stop.name,
        place=stop.place,
        fence=stop.fence,
        time_zone="UTC" if stop.window is None else stop.window.time_zone,
        service_s=stop.service_s,
        arrive=Times(start, None if told is None else told.arrive, became.arrived_at),
        depart=Times(leave, leaves, became.departed_at),
        planned_until=None if stop.window is None else stop.window.end,
        done=became.done,
        delayed=became.delayed,
        proof=became.proof,
        hours=stop.hours,
        free_time_s=stop.free_time_s,
        dwell=dwell_of(stop, became.stays, utc_now()),
    )


def _fault(field: str, detail: str) -> Problem:
    return Problem(422, f"{field}: {detail}", field=field)
