"""What happened: events, what was made of them, and why."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from waymark.client.calls import Call, Noun, Page, Way, listing, operation, path
from waymark.client.fences import Fence


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent, as the feed, webhooks and REST alike tell it.

    `time` is when it happened by the device's clock, `recorded_at` when it became known here. An
    event that was amended or retracted comes again, under the same `id`, with a higher `revision`
    and another `cursor`.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Any]
    tenant: str
    recorded_at: datetime
    revision: int
    status: str
    late: bool
    cursor: int
    origin: str = "live"

    @property
    def retracted(self) -> bool:
        """Whether it turned out not to have happened."""
        return self.status == "retracted"

    @property
    def shipment(self) -> str | None:
        """The id of the shipment it is about."""
        return self._text("shipment")

    @property
    def order_ref(self) -> str | None:
        """The order of that shipment."""
        return self._text("order_ref")

    @property
    def device(self) -> str | None:
        """The device it is about, or that told of it."""
        return self._text("device") or (None if "/" in self.subject else self.subject)

    @property
    def fence(self) -> str | None:
        """The id of the fence it happened at."""
        return self._text("fence")

    @property
    def stop(self) -> int | None:
        """The stop of the shipment it happened at, from 0."""
        stop = self.data.get("stop")
        return stop if isinstance(stop, int) else None

    @property
    def place(self) -> tuple[float, float] | None:
        """Where it happened, as lon, lat."""
        lon, lat = self.data.get("lon"), self.data.get("lat")
        return None if lon is None or lat is None else (lon, lat)

    def _text(self, name: str) -> str | None:
        value = self.data.get(name)
        return value if isinstance(value, str) else None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An event explained: `because` in sentences, `fixes` by what each of them did."""

    event: Event
    because: list[str]
    thresholds: dict[str, Any]
    fence: Fence | None = None
    rule: dict[str, Any] | None = None
    alert: dict[str, Any] | None = None
    source_event: Event | None = None
    fixes: list[dict[str, Any]] = []
    fixes_omitted: int = 0
    later: dict[str, Any] | None = None
    reproduced: bool | None = None
    complete: bool = True
    notes: list[str] = []


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """Why there was no event; `reasons` have a `code` and a sentence each."""

    device: str
    fence: Fence
    start: datetime
    end: datetime
    reasons: list[dict[str, Any]]
    before: dict[str, Any] = {}
    fixes: list[dict[str, Any]] = []
    fixes_omitted: int = 0
    complete: bool = True
    notes: list[str] = []


class Events(Noun[Way]):
    """`/v1/events`."""

    @operation
    def get(self, event_id: str) -> Call[Event]:
        """One event in its latest revision."""
        return Call("GET", path("events", event_id), Event)

    @listing
    def list(
        self,
        *,
        types: Sequence[str] | None = None,
        device: str | None = None,
        fence: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        status: Literal["active", "retracted"] | None = None,
        since: int | None = None,
        order: Literal["asc", "desc"] = "asc",
    ) -> Call[Page[Event]]:
        """Events in the order of their cursors, each in its latest revision."""
        params = {
            "type": types, "device": device, "fence": fence, "from": start, "to": end,
            "status": status, "since": since, "order": order,
        }  # fmt: skip
        return Call("GET", path("events"), Page[Event], params)

    @operation
    def why(self, event_id: str) -> Call[Explanation]:
        """The fixes an event stands on, the limits in use, and sentences."""
        return Call("GET", path("events", event_id, "why"), Explanation)

    @operation
    def why_not(
        self, *, device: str, fence: str, at: datetime, within_s: float = 600.0
    ) -> Call[Absence]:
        """Why a device raised nothing at a fence around a moment."""
        params: Mapping[str, Any] = {
            "device": device, "fence": fence, "at": at, "within_s": within_s,
        }  # fmt: skip
        return Call("GET", path("events", "why-not"), Absence, params)
