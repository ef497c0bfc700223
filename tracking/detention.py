"""How long a stop kept what was there, and what of it is to be paid. Pure.

Waiting counts from arrival, of those who are early from the beginning of the planned window, until
departure, and only while the site is open. A stop has one free time, however often it was left and
reached again; what is waited beyond it is detention.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tracking.custody import FOR_EVER_US, Segment, device_at
from tracking.schedules import calendar
from tracking.shipments import Happening, Plan, Record, Stay, Stop, of_stop
from tracking.times import to_us

# A site that does not open within a year does not open.
_AHEAD_US = 366 * 86_400_000_000


class Span(NamedTuple):
    """A time [start, end)."""

    from_us: int
    to_us: int

    @property
    def length_us(self) -> int:
        """How long it is."""
        return self.to_us - self.from_us


class Detention(NamedTuple):
    """What was waited at a stop until a moment.

    Attributes:
        waited: the times that count.
        billable: those of them behind the free time; all are free where none was agreed.
        still_there: it goes on.
    """

    waited: list[Span]
    billable: list[Span]
    still_there: bool

    @property
    def waited_us(self) -> int:
        """How much counts."""
        return sum(span.length_us for span in self.waited)

    @property
    def billable_us(self) -> int:
        """How much is to be paid."""
        return sum(span.length_us for span in self.billable)

    @property
    def billable_min(self) -> int:
        """The same in whole minutes; one that was begun is none."""
        return self.billable_us // 60_000_000


def detention(stop: Stop, stays: Sequence[Stay], now_us: int) -> Detention:
    """What these stays at a stop come to, as of `now_us`."""
    waited = list(_waited(stop, stays, now_us))
    started_us = _used_up_us(stop, iter(waited))
    billable = [
        Span(max(span.from_us, started_us), span.to_us)
        for span in waited
        if started_us is not None and span.to_us > started_us
    ]
    return Detention(waited, billable, bool(stays) and stays[-1].left_at is None)


def detained(
    plan: Plan, record: Record, custody: Sequence[Segment], now_us: int
) -> tuple[list[Happening], list[int]]:
    """At which stops the free time was used up, and when it may yet be."""
    told: list[Happening] = []
    coming: list[int] = []
    for i, became in enumerate(record.stops):
        starts_us = detention_starts_us(plan.stops[i], became.stays, now_us)
        if starts_us is None:
            continue
        if starts_us > now_us:
            coming.append(starts_us)
            continue
        data = {
            "shipment": plan.id,
            "order_ref": plan.order_ref,
            **of_stop(plan, i),
            "visit": sum(to_us(stay.arrived_at) <= starts_us for stay in became.stays),
            "free_time_s": plan.stops[i].free_time_s,
            "device": device_at(custody, starts_us),
        }
        told.append(Happening("stop.detention_started", starts_us, f"stop:{i}", data))
    return told, coming


def detention_starts_us(stop: Stop, stays: Sequence[Stay], now_us: int) -> int | None:
    """When the free time of a stop was used up, or will be if it is not left before; None: never.

    What is there now is taken to stay there.
    """
    return _used_up_us(stop, _waited(stop, stays, now_us + _AHEAD_US))


def _used_up_us(stop: Stop, waited: Iterator[Span]) -> int | None:
    if stop.free_time_s is None:
        return None
    free_us = round(stop.free_time_s * 1e6)
    for span in waited:
        # Who leaves in the moment in which it is used up has waited no longer.
        if span.length_us > free_us:
            return span.from_us + free_us
        free_us -= span.length_us
    return None


def _waited(stop: Stop, stays: Sequence[Stay], until_us: int) -> Iterator[Span]:
    """The times that count, in order; looked for no further than somebody asks."""
    window = stop.window
    early_us = 0 if window is None or window.start is None else to_us(window.start)
    for stay in stays:
        from_us = max(to_us(stay.arrived_at), early_us)
        left_us = FOR_EVER_US if stay.left_at is None else to_us(stay.left_at)
        yield from _open(stop, from_us, min(left_us, until_us))


def _open(stop: Stop, from_us: int, to_us: int) -> Iterator[Span]:
    if from_us >= to_us:
        return
    if stop.hours is None:
        yield Span(from_us, to_us)
        return
    for opens, closes in calendar(stop.hours).spans(from_us, to_us):
        yield Span(opens, closes)
