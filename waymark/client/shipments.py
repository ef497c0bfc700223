"""Shipments, the orders they are of, and the links that show them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from waymark.client.assets import CarriedBy, Carriers
from waymark.client.calls import Body, Call, Noun, Page, Way, listing, operation, path
from waymark.client.detention import Dwell, StopDetention
from waymark.client.devices import Position
from waymark.client.eta import Expected
from waymark.client.events import Event


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stop is: within `radius_m` of a point."""

    lon: float
    lat: float
    radius_m: float = 150.0
    address: str | None = None


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """When something was planned, is expected, and came about; None where that is not known."""

    planned: datetime | None = None
    estimated: datetime | None = None
    actual: datetime | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of what was handed over."""

    name: str | None = None
    note: str | None = None
    photo_ref: str | None = None
    code: str | None = None


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop as planned and as it turned out; `planned_until` is the end of its window."""

    kind: str
    name: str
    place: Place | None = None
    fence: str | None = None
    time_zone: str = "UTC"
    service_s: float = 0.0
    arrive: Times
    depart: Times
    planned_until: datetime | None = None
    done: bool
    delayed: bool
    proof: Proof | None = None
    hours: dict[str, Any] | None = None
    free_time_s: float | None = None
    dwell: Dwell | None = None


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """Who may see a shipment beside the tenant."""

    shipper: str | None = None
    carrier: str | None = None
    consignee: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """After how long standing still, being behind a window and not leaving a stop are trouble."""

    stalled_after_s: float
    overdue_after_s: float
    departure_grace_s: float


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A planned way, and where along it the shipment was at `as_of`; None before it set out.

    `line` is GeoJSON, told of single shipments, not in lists.
    """

    length_m: float
    detect_m: float
    clear_m: float
    n: int
    of_m: int
    progress_m: float | None = None
    offset_m: float | None = None
    off_route: bool
    as_of: datetime | None = None
    line: dict[str, Any] | None = None


class SeenAt(msgspec.Struct, frozen=True, kw_only=True):
    """Where a shipment was last seen; `stale`: it may be elsewhere by now."""

    position: Position | None
    age_s: float | None
    stale: bool
    carried_by: CarriedBy | None = None


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """A shipment: its plan, and what is derived of it.

    `last_seen` is told of single shipments and orders, not in lists.
    """

    id: str
    order_ref: str | None
    kind: str
    status: str
    since: datetime
    exceptions: list[str]
    at_stop: int | None = None
    next_stop: int | None = None
    picked_up_at: datetime | None = None
    delivered_at: datetime | None = None
    stops: list[Stop]
    parties: Parties
    arriving_m: float = 2_000.0
    limits: Limits | None = None
    timetable: bool = False
    route: Route | None = None
    eta: Expected | None = None
    attrs: dict[str, Any] = {}
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str | None = None
    last_seen: SeenAt | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in {"delivered", "cancelled"}


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said happened."""

    id: int
    act: str
    at: datetime
    stop: int | None = None
    note: str | None = None
    proof: Proof | None = None
    made_by: str | None = None
    made_at: datetime | None = None
    withdrawn_at: datetime | None = None


class ShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that shows one shipment."""

    id: int
    stop: int
    stops_away: int
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime
    revoked_at: datetime | None = None


class MadeLink(ShareLink, frozen=True, kw_only=True):
    """A link just made; `token` and the public page at `path` are shown this once."""

    token: str
    path: str


class OrderTracking(msgspec.Struct, frozen=True, kw_only=True):
    """All shipments of an order, and where each was last seen."""

    order_ref: str
    items: list[Shipment]


class Shipments(Noun[Way]):
    """`/v1/shipments`."""

    @operation
    def get(self, shipment_id: str) -> Call[Shipment]:
        """One shipment, and where it was last seen."""
        return Call("GET", path("shipments", shipment_id), Shipment)

    @listing
    def list(
        self,
        *,
        status: Sequence[str] | None = None,
        order: str | None = None,
        party: str | None = None,
        carrier: str | None = None,
        device: str | None = None,
        delayed: bool | None = None,
        exception: Sequence[str] | None = None,
        id_prefix: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Call[Page[Shipment]]:
        """Shipments, the last made first; with `exception` those that have any of these."""
        params = {
            "status": status, "order": order, "party": party, "carrier": carrier,
            "device": device, "delayed": delayed, "exception": exception, "id": id_prefix,
            "from": start, "to": end,
        }  # fmt: skip
        return Call("GET", path("shipments"), Page[Shipment], params)

    @operation
    def create(self, plan: Body, *, idempotency_key: str | None = None) -> Call[Shipment]:
        """Plan one; with an `id` of your own you know it whatever becomes of the answer."""
        return Call("POST", path("shipments"), Shipment, body=plan, key=idempotency_key)

    @operation
    def edit(
        self,
        shipment_id: str,
        changes: Body,
        *,
        only_over: int | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Shipment]:
        """Change a plan; with `only_over` only if that is its version."""
        where = path("shipments", shipment_id)
        return Call(
            "PATCH", where, Shipment, body=changes, only_over=only_over, key=idempotency_key
        )

    @operation
    def cancel(self, shipment_id: str) -> Call[Shipment]:
        """Call one off."""
        return Call("DELETE", path("shipments", shipment_id), Shipment)

    @operation
    def override(
        self, shipment_id: str, said: Body, *, idempotency_key: str | None = None
    ) -> Call[Shipment]:
        """Say what happened where no event tells it: `act`, `stop`, `at`, `note`, `proof`."""
        where = path("shipments", shipment_id, "overrides")
        return Call("POST", where, Shipment, body=said, key=idempotency_key)

    @listing
    def overrides(self, shipment_id: str) -> Call[Page[Override]]:
        """What people said of it, and withdrew."""
        return Call("GET", path("shipments", shipment_id, "overrides"), Page[Override])

    @operation
    def withdraw(self, shipment_id: str, override: int) -> Call[Shipment]:
        """Take back what somebody said."""
        return Call("DELETE", path("shipments", shipment_id, "overrides", override), Shipment)

    @listing
    def track(
        self, shipment_id: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> Call[Page[Position]]:
        """The fixes of whatever carried it while it did, oldest first."""
        params = {"from": start, "to": end}
        return Call("GET", path("shipments", shipment_id, "track"), Page[Position], params)

    @operation
    def carriers(
        self, shipment_id: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> Call[Carriers]:
        """Who carried it when, for the same time."""
        params = {"from": start, "to": end, "limit": 1}
        return Call("GET", path("shipments", shipment_id, "track"), Carriers, params)

    @listing
    def events(self, shipment_id: str) -> Call[Page[Event]]:
        """What happened to it, in the order it was recorded; retracted events too."""
        return Call("GET", path("shipments", shipment_id, "events"), Page[Event])

    @listing
    def detention(
        self, shipment_id: str, *, gap_min: float | None = None
    ) -> Call[Page[StopDetention]]:
        """What was waited at each stop, and to be paid; gaps longer than `gap_min` are told."""
        where = path("shipments", shipment_id, "detention")
        return Call("GET", where, Page[StopDetention], {"gap_min": gap_min})

    @operation
    def share(
        self,
        shipment_id: str,
        *,
        stop: int | None = None,
        stops_away: int = 1,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Call[MadeLink]:
        """Make a link for who waits at a stop, the last one if none is named."""
        body: dict[str, Any] = {"stop": stop, "stops_away": stops_away, "expires_at": expires_at}
        where = path("shipments", shipment_id, "share")
        return Call("POST", where, MadeLink, body=body, key=idempotency_key)

    @listing
    def links(self, shipment_id: str) -> Call[Page[ShareLink]]:
        """The links to it, ended ones too."""
        return Call("GET", path("shipments", shipment_id, "share"), Page[ShareLink])

    @operation
    def unshare(self, shipment_id: str, link: int) -> Call[None]:
        """End a link at once."""
        return Call("DELETE", path("shipments", shipment_id, "share", link), type(None))


class Orders(Noun[Way]):
    """`/v1/orders`."""

    @operation
    def tracking(self, order_ref: str) -> Call[OrderTracking]:
        """Every shipment of an order, and where it was last seen."""
        return Call("GET", path("orders", order_ref, "tracking"), OrderTracking)
