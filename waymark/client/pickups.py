"""Pickups: asked for, tried, planned anew, called off."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from waymark.client.calls import Body, Call, Noun, Page, Way, listing, operation, path
from waymark.client.shipments import Place


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody came in vain."""

    at: datetime
    reason: str
    note: str | None = None
    made_by: str | None = None


class Pickup(msgspec.Struct, frozen=True, kw_only=True):
    """A request to pick something up; its status is that of its stop in `shipment`."""

    id: str
    kind: str
    express: bool
    status: str
    name: str
    place: Place | None = None
    fence: str | None = None
    time_zone: str = "UTC"
    planned_from: datetime | None = None
    planned_until: datetime | None = None
    shipment: str | None = None
    stop: int | None = None
    series: str | None = None
    recurrence: dict[str, Any] | None = None
    order_ref: str | None = None
    note: str | None = None
    attempts: list[Attempt] = []
    attrs: dict[str, Any] = {}
    created_at: datetime
    created_by: str | None = None


class Pickups(Noun[Way]):
    """`/v1/pickups`."""

    @operation
    def get(self, pickup_id: str) -> Call[Pickup]:
        """One pickup, with the attempts that were in vain."""
        return Call("GET", path("pickups", pickup_id), Pickup)

    @listing
    def list(
        self,
        *,
        status: Sequence[str] | None = None,
        kind: str | None = None,
        express: bool | None = None,
        order: str | None = None,
        series: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Call[Page[Pickup]]:
        """Pickups and series of them, the last made first."""
        params = {
            "status": status, "kind": kind, "express": express, "order": order,
            "series": series, "from": start, "to": end,
        }  # fmt: skip
        return Call("GET", path("pickups"), Page[Pickup], params)

    @operation
    def create(self, pickup: Body, *, idempotency_key: str | None = None) -> Call[Pickup]:
        """Ask for one: on demand, in a window, or as a series."""
        return Call("POST", path("pickups"), Pickup, body=pickup, key=idempotency_key)

    @operation
    def reschedule(
        self, pickup_id: str, window: Body, *, idempotency_key: str | None = None
    ) -> Call[Pickup]:
        """Plan it for another time: `from`, `to`, `time_zone`."""
        where = path("pickups", pickup_id)
        return Call("PATCH", where, Pickup, body={"window": window}, key=idempotency_key)

    @operation
    def attempt(
        self, pickup_id: str, attempt: Body, *, idempotency_key: str | None = None
    ) -> Call[Pickup]:
        """Note that somebody came in vain: `reason`, `at`, `note`; a `window` plans it anew."""
        where = path("pickups", pickup_id, "attempts")
        return Call("POST", where, Pickup, body=attempt, key=idempotency_key)

    @operation
    def cancel(self, pickup_id: str) -> Call[Pickup]:
        """Call it off, or a series."""
        return Call("DELETE", path("pickups", pickup_id), Pickup)
