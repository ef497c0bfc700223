"""What was waited at a stop, what of it is to be paid, and what tells so."""

from datetime import datetime
from typing import Any

import msgspec


class Dwell(msgspec.Struct, frozen=True, kw_only=True):
    """How long something was at a stop so far, and what of it is to be paid."""

    there_s: float
    waited_s: float
    free_s: float | None = None
    billable_s: float
    billable_min: int
    still_there: bool


class Span(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A time, its end not included."""

    start: datetime
    end: datetime


class Unseen(Span, frozen=True, kw_only=True):
    """A time without a fix, and the same in words."""

    because: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The event that tells of an arrival or a leaving, and its fixes."""

    event: str | None = None
    fixes: list[dict[str, Any]] = []


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """A time at the stop."""

    arrived_at: datetime
    left_at: datetime | None = None
    arrival: Evidence
    leaving: Evidence | None = None


class StopDetention(msgspec.Struct, frozen=True, kw_only=True):
    """The waiting at one stop; of `waited`, `billable` is to be paid."""

    stop: int
    kind: str
    name: str
    time_zone: str
    hours: dict[str, Any] | None = None
    counts_from: datetime | None = None
    dwell: Dwell
    started_at: datetime | None = None
    waited: list[Span]
    billable: list[Span]
    stays: list[Stay]
    unseen: list[Unseen] = []
