"""What goes wrong with a shipment beside its status: late, overdue, stuck, off its way. Pure.

Each trouble has a deadline or a moment at which it began; it is told as an event dated there, and
stands in the record while it lasts.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from tracking.custody import FOR_EVER_US, Segment, device_at
from tracking.route.follow import Change, Transition
from tracking.shipments import (
    Happening,
    Plan,
    PlannedWindow,
    Record,
    Route,
    Stop,
    Trouble,
    of_stop,
)
from tracking.times import iso, to_us

# A carrier that is quiet where it was seen to stand is looked at again after this, or a part of
# how long it has been quiet.
_LOOK_AGAIN_US, _LOOK_AGAIN_PART = 60_000_000, 4

_WAY: dict[Change, str] = {
    "deviated": "route.deviated",
    "rejoined": "route.rejoined",
    "reversed": "route.reversed",
    "resumed": "route.resumed",
}


class Stand(NamedTuple):
    """A device standing still, until it moved on; `still_us` is its last fix there."""

    device: str
    from_us: int
    to_us: int
    still_us: int
    lon: float
    lat: float
    event: str


class Troubles:
    """The troubles of a shipment as of now: those that last, their events, and what to wait for.

    The record is that of its voyage, which says itself what is delayed.
    """

    def __init__(self, plan: Plan, record: Record, custody: Sequence[Segment], now_us: int) -> None:
        self._plan, self._record, self._custody, self._now_us = plan, record, custody, now_us
        self._open = not record.final
        self._begun_us = None if record.picked_up_at is None else to_us(record.picked_up_at)
        # Until when something may yet go wrong.
        self._until_us = now_us if self._open else min(to_us(record.since), now_us)
        self.lasting: dict[Trouble, None] = {}
        self.told: list[Happening] = []
        self.due_us: list[int] = []

    def of_stops(self) -> None:
        """Stops that are not reached long after their window, and those not left in time."""
        for i, (stop, became) in enumerate(zip(self._plan.stops, self._record.stops, strict=True)):
            if stop.window is not None and stop.window.end is not None and not self._missed(i):
                overdue_us = to_us(stop.window.end) + _us(self._plan.limits.overdue_after_s)
                self._of_deadline("overdue", overdue_us, became.arrived_at, i)
            for visit, stay in enumerate(became.stays, 1):
                leave_us = self._leaves_us(stop, to_us(stay.arrived_at))
                self._of_deadline("not_departed", leave_us, stay.left_at, i, visit)

    def of_standing(self, stands: Sequence[Stand]) -> None:
        """Standing still on the way, shown by a fix after the limit; silence shows nothing."""
        after_s = self._plan.limits.stalled_after_s
        for stand in stands:
            for from_us, until_us, end in self._on_the_way(stand):
                limit_us = from_us + _us(after_s)
                over = until_us <= self._until_us
                if min(stand.still_us, until_us) < limit_us:
                    if not over and self._open:
                        self._look_again(limit_us)
                    continue
                since = {"since": iso(from_us), "lon": stand.lon, "lat": stand.lat}
                about = since | {"cause": stand.event, "stalled_after_s": after_s}
                self._tell("shipment.stalled", limit_us, "stall", about, stand.device)
                if over:
                    data = since | {"because": end}
                    self._tell("shipment.moving", until_us, "stall", data, stand.device)
                else:
                    self._last("stalled")

    def of_way(self, transitions: Sequence[Transition]) -> None:
        """The planned way left and found again, and driven in the opposite direction."""
        begun_us, route = self._begun_us, self._plan.route
        if begun_us is None or route is None:
            return
        now: dict[Change, bool] = {}
        for one in transitions:
            first = one.first
            if begun_us <= first.time_us <= self._until_us:
                now |= {one.change: True, _UNDOES[one.change]: False}
                data = _of_change(one, route)
                self._tell(_WAY[one.change], first.time_us, "route", data, first.device)
        if now.get("deviated"):
            self._last("off_route")
        if now.get("reversed"):
            self._last("opposite_direction")

    def _missed(self, stop: int) -> bool:
        """Whether a stop that was not reached is no more awaited: done, or a via left out."""
        became, *behind = self._record.stops[stop:]
        if became.arrived_at is not None or became.done:
            return became.arrived_at is None
        left_out = any(later.arrived_at is not None for later in behind)
        return left_out and self._plan.stops[stop].kind == "via"

    def _leaves_us(self, stop: Stop, arrived_us: int) -> int:
        """When it is to have left: served since it came or could be, and a grace."""
        window = stop.window or PlannedWindow()
        start_us = arrived_us if window.start is None else max(arrived_us, to_us(window.start))
        return start_us + _us(stop.service_s) + _us(self._plan.limits.departure_grace_s)

    def _of_deadline(
        self,
        trouble: Literal["overdue", "not_departed"],
        limit_us: int,
        done_at: datetime | None,
        stop: int,
        visit: int | None = None,
    ) -> None:
        """What was not done by its limit is told; what may yet not be is waited for."""
        waits = done_at is None and self._open
        if waits and limit_us >= self._now_us:
            self.due_us.append(max(limit_us, self._now_us + 1))
        if limit_us >= (self._until_us if done_at is None else to_us(done_at)):
            return
        rule, device, limits = f"stop:{stop}", None, self._plan.limits
        data = of_stop(self._plan, stop)
        if visit is None:
            data["overdue_after_s"] = limits.overdue_after_s
        else:
            rule, device = f"{rule}:{visit}", device_at(self._custody, limit_us)
            data |= {
                "visit": visit,
                "service_s": self._plan.stops[stop].service_s,
                "departure_grace_s": limits.departure_grace_s,
            }
        self._tell(f"shipment.{trouble}", limit_us, rule, data, device)
        if waits:
            self.lasting[trouble] = None

    def _on_the_way(self, stand: Stand) -> Iterator[tuple[int, int, str]]:
        """(from, until, why it ended) of a stand while its device carries it between stops."""
        if self._begun_us is None:
            return
        stays = sorted(
            (to_us(stay.arrived_at), FOR_EVER_US if stay.left_at is None else to_us(stay.left_at))
            for stop in self._record.stops
            for stay in stop.stays
        )
        ended_us = FOR_EVER_US if self._open else to_us(self._record.since)
        for part in self._custody:
            if part.device != stand.device:
                continue
            at_us = max(stand.from_us, part.from_us, self._begun_us)
            ends = [(stand.to_us, "started"), (part.to_us, "handed_over"), (ended_us, "ended")]
            stop_us, end = min(ends, key=lambda one: one[0])
            for arrived_us, left_us in stays:
                if left_us <= at_us or arrived_us >= stop_us:
                    continue
                if at_us < arrived_us:
                    yield at_us, arrived_us, "arrived"
                at_us = left_us
            if at_us < stop_us:
                yield at_us, stop_us, end

    def _look_again(self, limit_us: int) -> None:
        if limit_us > self._now_us:
            self.due_us.append(limit_us)
        else:
            quiet_us = (self._now_us - limit_us) // _LOOK_AGAIN_PART
            self.due_us.append(self._now_us + max(_LOOK_AGAIN_US, quiet_us))

    def _last(self, trouble: Trouble) -> None:
        if self._open:
            self.lasting[trouble] = None

    def _tell(
        self, type_: str, time_us: int, rule: str, data: dict[str, Any], device: str | None
    ) -> None:
        about = {"shipment": self._plan.id, "order_ref": self._plan.order_ref, **data}
        self.told.append(Happening(type_, time_us, rule, about | {"device": device}))


_UNDOES: dict[Change, Change] = {
    "deviated": "rejoined",
    "rejoined": "deviated",
    "reversed": "resumed",
    "resumed": "reversed",
}


def because_of(type_: str, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Why an event of a trouble was told, and the limits it rests on; None: it is another event."""
    match type_:
        case "shipment.overdue":
            limits = ["overdue_after_s"]
            told = "it was not reached by then; its window ended at {planned_to}"
        case "shipment.not_departed":
            limits = ["service_s", "departure_grace_s"]
            told = "it was still there, served and the grace used up, on visit {visit}"
        case "shipment.stalled":
            limits = ["stalled_after_s"]
            told = (
                "{device} had stood still since {since}, and a fix after the limit shows it there"
            )
        case "shipment.moving":
            limits = []
            told = "{device} had stood still since {since}; that ended: {because}"
        case "route.deviated" | "route.rejoined" | "route.reversed" | "route.resumed":
            limits = ["detect_m", "clear_m", "n", "of_m"]
            told = "; ".join(
                f"{fix['device']} at {fix['fix_time']}: {fix['offset_m']:g} m beside the way, "
                f"{fix['progress_m']:g} m along it"
                for fix in data["fixes"]
            )
        case _:
            return None
    return told.format_map(data), {name: data[name] for name in limits}


def _of_change(one: Transition, route: Route) -> dict[str, Any]:
    """What the event of a change tells: where it began, the limits, and the fixes that say so."""
    first = one.first
    return {
        "lon": first.lon, "lat": first.lat, "progress_m": round(first.along_m, 1),
        "offset_m": round(first.offset_m, 1), "detect_m": route.detect_m,
        "clear_m": route.clear_m, "n": route.n, "of_m": route.of_m,
        "fixes": [
            {"device": seen.device, "fix_time": iso(seen.time_us), "lon": seen.lon,
             "lat": seen.lat, "offset_m": round(seen.offset_m, 1),
             "progress_m": round(seen.along_m, 1)}
            for seen in one.fixes
        ],
    }  # fmt: skip


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
