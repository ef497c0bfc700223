"""Fences: areas, in versions."""

from datetime import datetime
from typing import Any

import msgspec

from waymark.client.calls import Body, Call, Noun, Page, Way, listing, operation, path
from waymark.client.devices import Box, joined


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a fence; `shape` is GeoJSON, or a circle with `center` and `radius_m`."""

    id: str
    name: str
    version: int
    shape: dict[str, Any]
    layer: str | None = None
    buffers: dict[str, Any] = {}
    dwell_s: float | None = None
    speed_limit_mps: float | None = None
    schedule: dict[str, Any] | None = None
    applies_to: dict[str, Any] = {}
    normal: str = "outside"
    crossed: bool = False
    attrs: dict[str, Any] = {}
    effective_from: datetime
    effective_to: datetime | None = None
    created_at: datetime
    updated_at: datetime
    updated_by: str | None = None
    deleted_at: datetime | None = None
    notes: list[str] = []


class Fences(Noun[Way]):
    """`/v1/fences`."""

    @operation
    def get(self, fence_id: str, *, version: int | None = None) -> Call[Fence]:
        """One fence, or what a version of it said."""
        return Call("GET", path("fences", fence_id), Fence, {"version": version})

    @listing
    def list(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- as the api has it
        name: str | None = None,
        layer: str | None = None,
        bbox: Box | None = None,
        deleted: bool | None = None,
    ) -> Call[Page[Fence]]:
        """Fences by id, in their latest versions; `id` is a prefix, `name` a part."""
        params = {
            "id": id, "name": name, "layer": layer, "bbox": joined(bbox), "deleted": deleted,
        }  # fmt: skip
        return Call("GET", path("fences"), Page[Fence], params)

    @operation
    def create(self, fence: Body, *, idempotency_key: str | None = None) -> Call[Fence]:
        """Make one; `Conflict` where its `id` is taken."""
        return Call("POST", path("fences"), Fence, body=fence, key=idempotency_key)

    @operation
    def put(self, fence_id: str, fence: Body, *, only_over: int | None = None) -> Call[Fence]:
        """Make or change one: its next version, with `only_over` only if that is its last."""
        return Call("PUT", path("fences", fence_id), Fence, body=fence, only_over=only_over)

    @operation
    def delete(self, fence_id: str, *, only_over: int | None = None) -> Call[None]:
        """End one now; its versions stay."""
        return Call("DELETE", path("fences", fence_id), type(None), only_over=only_over)

    @listing
    def versions(self, fence_id: str) -> Call[Page[Fence]]:
        """All its versions, the latest first."""
        return Call("GET", path("fences", fence_id, "versions"), Page[Fence])
