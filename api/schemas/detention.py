"""What the api takes and tells about waiting at stops and what of it is to be paid."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from pydantic import Field

from api.conventions.answers import Page
from api.conventions.problems import Problem
from api.schemas.parameters import Selected
from tracking.detention import Detention, Span, detention
from tracking.errors import InputError
from tracking.fence_input import ScheduleInput
from tracking.fences import Schedule, Window
from tracking.schedules import calendar
from tracking.shipments import Plan, Record, Stay, Stop, StopKind
from tracking.store.stays import Gap, SeenFix
from tracking.times import Moment, from_us, to_us

FreeTime = Annotated[float, Meta(ge=0, le=31_536_000)]


class DetentionQuery(Selected):
    """What of the evidence is worth telling."""

    gap_min: float = Field(
        15, ge=1, le=1_440, description="Times without a fix longer than this are told, minutes"
    )


class Dwell(msgspec.Struct, frozen=True):
    """How long something was at a stop so far, and what of it is to be paid.

    `waited_s` counts from the beginning of the window, while the site is open; `billable_s` is what
    of it lies behind `free_s`, and `billable_min` its whole minutes.
    """

    there_s: float
    waited_s: float
    free_s: float | None
    billable_s: float
    billable_min: int
    still_there: bool


class SpanView(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A time, its end not included."""

    start: Moment
    end: Moment


class Unseen(SpanView, frozen=True):
    """A time without a fix, and the same in words, on the clock of the site."""

    because: str


class Evidence(msgspec.Struct, frozen=True):
    """What tells of an arrival or a leaving: the event, and its fixes from the first to the one
    that made it sure. Without an event somebody said it, or what carries it changed.
    """  # noqa: D205 -- one contract

    event: str | None
    fixes: list[SeenFix]


class StayView(msgspec.Struct, frozen=True):
    """A time at the stop."""

    arrived_at: Moment
    left_at: Moment | None
    arrival: Evidence
    leaving: Evidence | None


class StopDetention(msgspec.Struct, frozen=True):
    """What was waited at a stop, what of it is to be paid, and what tells so.

    `counts_from` is the beginning of its window; `started_at` when the free time was used up;
    `waited` the times that count, `billable` those of them that are to be paid.
    """

    stop: int
    kind: StopKind
    name: str
    time_zone: str
    hours: Schedule | None
    counts_from: Moment | None
    dwell: Dwell
    started_at: Moment | None
    waited: list[SpanView]
    billable: list[SpanView]
    stays: list[StayView]
    unseen: list[Unseen]


class WaitedStop(msgspec.Struct, frozen=True):
    """A stop that was reached, as a line of what is to be paid; see `Dwell`."""

    shipment: str
    order_ref: str | None
    stop: int
    kind: StopKind
    name: str
    arrived_at: Moment
    left_at: Moment | None
    there_s: float
    waited_s: float
    free_s: float | None
    billable_s: float
    billable_min: int
    started_at: Moment | None
    still_there: bool


class Detentions(Page[StopDetention], frozen=True):
    """Of a shipment's stops those it was at, as of now; there is one page."""


def hours_of(given: ScheduleInput | None, where: str) -> Schedule | None:
    """When a site is open.

    Raises:
        Problem: 422, a time, a day or the zone is none.
    """
    if given is None:
        return None
    windows = tuple(Window(w.start, w.end, w.days) for w in given.windows)
    hours = Schedule(given.time_zone, windows)
    try:
        calendar(hours)
    except InputError as exc:
        field = f"{where}.{exc.field}"
        raise Problem(422, f"{field}: {exc}", field=field) from None
    return hours


def zone_name(stop: Stop) -> str:
    """The zone in which people at a stop think."""
    if stop.hours is not None:
        return stop.hours.time_zone
    return "UTC" if stop.window is None else stop.window.time_zone


def dwell_of(stop: Stop, stays: Sequence[Stay], now: datetime) -> Dwell | None:
    """How long something was at a stop; None: never."""
    return _dwell(stop, stays, detention(stop, stays, to_us(now)), now) if stays else None


def waited_stops(plan: Plan, record: Record, now: datetime) -> Iterator[WaitedStop]:
    """A shipment's stops that were reached, in the order of the plan."""
    for i, (stop, became) in enumerate(zip(plan.stops, record.stops, strict=True)):
        if not became.stays:
            continue
        waiting = detention(stop, became.stays, to_us(now))
        yield WaitedStop(
            plan.id, plan.order_ref, i, stop.kind, stop.name,
            became.stays[0].arrived_at, became.stays[-1].left_at,
            started_at=_started_at(waiting),
            **msgspec.structs.asdict(_dwell(stop, became.stays, waiting, now)),
        )  # fmt: skip


def stops_waited_at(
    plan: Plan,
    record: Record,
    now: datetime,
    fixes: Mapping[str, list[SeenFix]],
    gaps: Sequence[Gap],
) -> list[StopDetention]:
    """Each stop it was at. `fixes` are those of the events that told so, `gaps` by stop."""
    found: list[StopDetention] = []
    for i, (stop, became) in enumerate(zip(plan.stops, record.stops, strict=True)):
        if not became.stays:
            continue
        waiting = detention(stop, became.stays, to_us(now))
        zone = ZoneInfo(zone_name(stop))
        window = stop.window
        found.append(
            StopDetention(
                stop=i,
                kind=stop.kind,
                name=stop.name,
                time_zone=zone.key,
                hours=stop.hours,
                counts_from=None if window is None else window.start,
                dwell=_dwell(stop, became.stays, waiting, now),
                started_at=_started_at(waiting),
                waited=_spans(waiting.waited),
                billable=_spans(waiting.billable),
                stays=[_stay(stay, fixes) for stay in became.stays],
                unseen=[_unseen(gap, zone) for gap in gaps if gap.stop == i],
            )
        )
    return found


def _dwell(stop: Stop, stays: Sequence[Stay], waiting: Detention, now: datetime) -> Dwell:
    there_s = sum(
        max(((stay.left_at or now) - stay.arrived_at).total_seconds(), 0.0) for stay in stays
    )
    return Dwell(
        there_s=there_s,
        waited_s=waiting.waited_us / 1e6,
        free_s=stop.free_time_s,
        billable_s=waiting.billable_us / 1e6,
        billable_min=waiting.billable_min,
        still_there=waiting.still_there,
    )


def _started_at(waiting: Detention) -> datetime | None:
    return from_us(waiting.billable[0].from_us) if waiting.billable else None


def _spans(spans: Sequence[Span]) -> list[SpanView]:
    return [SpanView(from_us(span.from_us), from_us(span.to_us)) for span in spans]


def _stay(stay: Stay, fixes: Mapping[str, list[SeenFix]]) -> StayView:
    return StayView(
        arrived_at=stay.arrived_at,
        left_at=stay.left_at,
        arrival=Evidence(stay.arrived_by, fixes.get(stay.arrived_by or "", [])),
        leaving=None
        if stay.left_at is None
        else Evidence(stay.left_by, fixes.get(stay.left_by or "", [])),
    )


def _unseen(gap: Gap, zone: ZoneInfo) -> Unseen:
    start, end = gap.start.astimezone(zone), gap.end.astimezone(zone)
    day = "" if start.date() == end.date() else f"{end:%Y-%m-%d} "
    return Unseen(gap.start, gap.end, f"not seen {start:%H:%M}-{day}{end:%H:%M}")
