"""Assets, and what is attached to what."""

from datetime import datetime
from typing import Any

import msgspec

from waymark.client.calls import Body, Call, Noun, Page, Way, listing, operation, path
from waymark.client.devices import Position


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever carries and is carried."""

    id: str
    kind: str
    name: str
    attrs: dict[str, Any] = {}
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str | None = None


class CarriedBy(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A time in which one device told where something was; None: nobody did.

    `via` are the carriers between them, the outermost last, as `<kind>/<id>`.
    """

    device: str | None
    via: list[str]
    start: datetime
    end: datetime | None = None


class Carriers(msgspec.Struct, frozen=True):
    """Who told where something was, in order; gaps are parts without a device."""

    parts: list[CarriedBy]


class AssetPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where an asset was last seen, how long before, and who carries it now."""

    position: Position | None
    age_s: float | None
    carried_by: CarriedBy


class Ref(msgspec.Struct, frozen=True):
    """One end of an attachment: `device`, `asset` or `shipment`, and which."""

    kind: str
    id: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A load on or in a carrier from `start` until before `end`, in device time."""

    id: int
    load: Ref
    carrier: Ref
    start: datetime
    end: datetime | None = None
    created_at: datetime
    created_by: str | None = None
    updated_at: datetime
    updated_by: str | None = None
    removed_at: datetime | None = None


class Assets(Noun[Way]):
    """`/v1/assets`."""

    @operation
    def get(self, asset_id: str) -> Call[Asset]:
        """One asset."""
        return Call("GET", path("assets", asset_id), Asset)

    @listing
    def list(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- as the api has it
        kind: str | None = None,
        name: str | None = None,
    ) -> Call[Page[Asset]]:
        """Assets by id; `id` is a prefix, `name` a part."""
        return Call("GET", path("assets"), Page[Asset], {"id": id, "kind": kind, "name": name})

    @operation
    def create(self, asset: Body, *, idempotency_key: str | None = None) -> Call[Asset]:
        """Make one: `kind`, and `id`, `name`, `attrs` if you like."""
        return Call("POST", path("assets"), Asset, body=asset, key=idempotency_key)

    @operation
    def edit(self, asset_id: str, changes: Body, *, only_over: int | None = None) -> Call[Asset]:
        """Change what is given; with `only_over` only if that is its version."""
        return Call("PATCH", path("assets", asset_id), Asset, body=changes, only_over=only_over)

    @operation
    def delete(self, asset_id: str) -> Call[None]:
        """Retire one to which nothing is attached."""
        return Call("DELETE", path("assets", asset_id), type(None))

    @operation
    def position(self, asset_id: str, *, at: datetime | None = None) -> Call[AssetPosition]:
        """Where it was last seen, now or at a moment."""
        return Call("GET", path("assets", asset_id, "position"), AssetPosition, {"at": at})

    @listing
    def track(
        self, asset_id: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> Call[Page[Position]]:
        """The fixes of whatever told where it was, oldest first."""
        params = {"from": start, "to": end}
        return Call("GET", path("assets", asset_id, "track"), Page[Position], params)

    @operation
    def carriers(
        self, asset_id: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> Call[Carriers]:
        """Who told where it was when, for the same time."""
        params = {"from": start, "to": end, "limit": 1}
        return Call("GET", path("assets", asset_id, "track"), Carriers, params)


class Attachments(Noun[Way]):
    """`/v1/attachments`."""

    @operation
    def get(self, attachment_id: int) -> Call[Attachment]:
        """One attachment, also one that was taken back."""
        return Call("GET", path("attachments", attachment_id), Attachment)

    @listing
    def list(
        self,
        *,
        device: str | None = None,
        asset: str | None = None,
        shipment: str | None = None,
        at: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        removed: bool | None = None,
    ) -> Call[Page[Attachment]]:
        """Attachments, the last made first; those with all of the given at one of their ends."""
        params = {
            "device": device, "asset": asset, "shipment": shipment, "at": at, "from": start,
            "to": end, "removed": removed,
        }  # fmt: skip
        return Call("GET", path("attachments"), Page[Attachment], params)

    @operation
    def attach(
        self,
        load: tuple[str, str],
        carrier: tuple[str, str],
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Attachment]:
        """Say that a load is on or in a carrier, each as kind and id; now, or at any time.

        The same again changes nothing.
        """
        times = {"from": start, "to": end}
        body = {
            "load": {"kind": load[0], "id": load[1]},
            "carrier": {"kind": carrier[0], "id": carrier[1]},
            **{name: at for name, at in times.items() if at is not None},
        }
        return Call("POST", path("attachments"), Attachment, body=body, key=idempotency_key)

    @operation
    def end(self, attachment_id: int, at: datetime) -> Call[Attachment]:
        """Say when it ended."""
        return Call("PATCH", path("attachments", attachment_id), Attachment, body={"to": at})

    @operation
    def edit(self, attachment_id: int, changes: Body) -> Call[Attachment]:
        """Correct `from` or `to`; `to` None opens its end again."""
        return Call("PATCH", path("attachments", attachment_id), Attachment, body=changes)

    @operation
    def remove(self, attachment_id: int) -> Call[None]:
        """Take one back that never was."""
        return Call("DELETE", path("attachments", attachment_id), type(None))
