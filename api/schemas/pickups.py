"""What the api takes and tells about pickups."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from pydantic import Field

from api.conventions.problems import Problem
from api.schemas.assets import GivenMoment
from api.schemas.detention import FreeTime, hours_of
from api.schemas.overrides import Note
from api.schemas.parameters import Paged, Text, Time
from api.schemas.shipments import (
    PartiesInput,
    PlaceInput,
    ShipmentId,
    StopInput,
    WindowInput,
    stop_of,
    window_of,
)
from tracking import raw
from tracking.errors import InputError
from tracking.fence_input import Id, Name, ScheduleInput, stored_json
from tracking.ids import PICKUP_ID, whole
from tracking.pickups import Attempt, PickupKind, PickupStatus, Recurrence
from tracking.schedules import DAYS, zone_of
from tracking.shipments import Parties, Place, Plan, PlannedWindow, Stop
from tracking.store.pickups import Pickup, PickupDraft
from tracking.times import Moment

# What is said of a stop of a shipment that is there already, is said there.
_OF_THE_SHIPMENT = (
    "place", "fence", "window", "hours", "free_time_s", "deliver_to", "recurrence", "order_ref",
)  # fmt: skip
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class RecurrenceInput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from"}
):
    """When a pickup comes again: each `interval` days, or on `days` of each `interval` weeks.

    From `start` until before `end`, HH:MM on the clock of `time_zone`.
    """

    freq: Literal["daily", "weekly"]
    first: date
    start: str
    end: str
    time_zone: str = "UTC"
    interval: Annotated[int, Meta(ge=1, le=366)] = 1
    days: Annotated[tuple[Literal[DAYS], ...], Meta(max_length=7)] = ()  # type: ignore[valid-type]
    until: date | None = None
    count: Annotated[int, Meta(ge=1, le=3_660)] | None = None


class PickupInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to pick something up: on demand without a window, else scheduled; with a
    `recurrence` a series.

    It is a stop of `shipment`, if that is given and there; else of a shipment of its own with the
    id of the pickup, which goes to `deliver_to`.
    """  # noqa: D205 -- one contract

    id: Annotated[str, Meta(pattern=whole(PICKUP_ID))] | None = None
    name: Name | None = None
    place: PlaceInput | None = None
    fence: Id | None = None
    window: WindowInput | None = None
    service_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    hours: ScheduleInput | None = None
    free_time_s: FreeTime | None = None
    deliver_to: StopInput | None = None
    shipment: ShipmentId | None = None
    recurrence: RecurrenceInput | None = None
    express: bool = False
    order_ref: Name | None = None
    parties: PartiesInput = PartiesInput()
    note: Note | None = None
    attrs: dict[str, Any] = {}


class PickupPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another time for a pickup."""

    window: WindowInput


class AttemptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody came in vain, at `at` (now); `window` is when it is planned again."""

    reason: Name
    at: GivenMoment | None = None
    note: Note | None = None
    window: WindowInput | None = None


class PickupQuery(Paged):
    """Which pickups."""

    status: list[PickupStatus] | None = Field(None, max_length=10)
    kind: PickupKind | None = None
    express: bool | None = None
    order: Text | None = Field(None, description="Its order reference")
    series: Text | None = Field(None, description="Those that this series made")
    start: Time | None = Field(None, alias="from", description="Planned at or after it")
    end: Time | None = Field(None, alias="to", description="Planned before it")


class PickupView(msgspec.Struct, frozen=True):
    """A pickup. Its status is that of its stop in `shipment`; a series has neither.

    `failed` is one whose last attempt was in vain and that was not planned again.
    """

    id: str
    kind: PickupKind
    express: bool
    status: PickupStatus
    name: str
    place: Place | None
    fence: str | None
    time_zone: str
    planned_from: Moment | None
    planned_until: Moment | None
    shipment: str | None
    stop: int | None
    series: str | None
    recurrence: Recurrence | None
    order_ref: str | None
    note: str | None
    attempts: list[Attempt]
    attrs: raw.Object
    created_at: Moment
    created_by: str | None


def draft_of(given: PickupInput, id_: str) -> PickupDraft:
    """The pickup somebody asks for.

    Raises:
        Problem: 422, members mean nothing, or not together.
    """
    recurrence = None if given.recurrence is None else _recurrence(given.recurrence)
    if recurrence is not None and given.window is not None:
        raise _fault("window", "a series has a recurrence instead")
    kind: PickupKind = "on_demand" if given.window is None else "scheduled"
    draft = PickupDraft(
        id_, "recurring" if recurrence else kind, given.express, given.note, recurrence=recurrence
    )
    if given.shipment is not None:
        for name in _OF_THE_SHIPMENT:
            if getattr(given, name) is not None:
                raise _fault(name, "the shipment says that")
        return draft._replace(shipment=given.shipment)
    return draft._replace(plan=_plan(given, id_))


def _plan(given: PickupInput, id_: str) -> Plan:
    window = given.window
    if window is None and given.recurrence is None:
        # As soon as somebody can.
        window = WindowInput(datetime.now(UTC))
    asked = StopInput(
        "pickup", given.name, given.place, given.fence, window, given.service_s, given.hours,
        given.free_time_s,
    )  # fmt: skip
    if given.place is None and given.fence is None:
        raise _fault("place", "say where: a place or a fence")
    stops = [_own_stop(asked)]
    if given.deliver_to is not None:
        if given.deliver_to.kind != "delivery":
            raise _fault("deliver_to.kind", "it is a delivery")
        stops.append(stop_of(given.deliver_to, "deliver_to", "Delivery"))
    return Plan(
        id=id_,
        stops=tuple(stops),
        order_ref=given.order_ref,
        parties=msgspec.convert(given.parties, Parties, from_attributes=True),
        attrs=msgspec.Raw(stored_json(given.attrs, "attrs")),
    )


def _own_stop(asked: StopInput) -> Stop:
    # Its members are the request's own, so a fault has no place but theirs.
    if asked.place is not None and asked.fence is not None:
        raise _fault("fence", "give a place or a fence, not both")
    if asked.window is not None:
        window_of(asked.window, "window")
    hours_of(asked.hours, "hours")
    return stop_of(asked, "", "Pickup")


def _recurrence(given: RecurrenceInput) -> Recurrence:
    for name in ("start", "end"):
        if not _CLOCK.fullmatch(getattr(given, name)):
            raise _fault(f"recurrence.{name}", "give a time of day, HH:MM")
    try:
        zone_of(given.time_zone)
    except InputError as exc:
        raise _fault("recurrence.time_zone", str(exc)) from None
    if not 1970 < given.first.year < 9000:
        raise _fault("recurrence.from", "years reach from 1971 to 8999")
    if given.freq == "daily" and given.days:
        raise _fault("recurrence.days", "those are of weeks")
    if given.until is not None and given.until < given.first:
        raise _fault("recurrence.until", "it is before `from`")
    return msgspec.convert(given, Recurrence, from_attributes=True)


def attempt_of(given: AttemptInput, author: str) -> tuple[Attempt, PlannedWindow | None]:
    """What somebody says of an attempt, and when it is planned again.

    Raises:
        Problem: 422, it lies ahead, or the window means nothing.
    """
    now = datetime.now(UTC)
    at = given.at or now
    if not at.year >= 1970 or at > now + timedelta(minutes=5):
        raise _fault("at", "it lies ahead, or before 1970")
    window = None if given.window is None else window_of(given.window, "window")
    return Attempt(at, given.reason, given.note, author), window


def view_of(pickup: Pickup) -> PickupView:
    """A pickup as the api tells it."""
    stop = pickup.plan.stops[pickup.stop]
    window = stop.window or PlannedWindow()
    return PickupView(
        id=pickup.id,
        kind=pickup.kind,
        express=pickup.express,
        status=pickup.status,
        name=stop.name,
        place=stop.place,
        fence=stop.fence,
        time_zone=window.time_zone,
        planned_from=window.start,
        planned_until=window.end,
        shipment=pickup.shipment,
        stop=None if pickup.shipment is None else pickup.stop,
        series=pickup.series,
        recurrence=pickup.recurrence,
        order_ref=pickup.plan.order_ref,
        note=pickup.note,
        attempts=pickup.attempts,
        attrs=pickup.plan.attrs,
        created_at=pickup.created_at,
        created_by=pickup.created_by,
    )


def _fault(field: str, detail: str) -> Problem:
    return Problem(422, f"{field}: {detail}", field=field)
