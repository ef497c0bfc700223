"""Devices: their state, and where they are and were."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from waymark.client.calls import Body, Call, Noun, Page, Way, listing, operation, path

Box = tuple[float, float, float, float]


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A fix; None where the device gave nothing. `fix_time` is its clock, `received_at` ours."""

    device: str
    fix_time: datetime
    received_at: datetime
    lon: float
    lat: float
    alt_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None
    battery: float | None = None
    quality: str = "ok"
    h3: str = ""
    attrs: dict[str, Any] | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device and its state; `position` is its latest ok fix, None before the first.

    `ledger` is what became of all it sent, told of single devices.
    """

    name: str
    online: bool | None
    online_at: datetime | None = None
    silent_since: datetime | None = None
    heard_at: datetime | None = None
    motion: str = "unknown"
    odometer_m: float = 0.0
    position: Position | None = None
    groups: list[str] = []
    tags: list[str] = []
    attrs: dict[str, Any] = {}
    version: int
    created_at: datetime
    ledger: dict[str, Any] | None = None


class Devices(Noun[Way]):
    """`/v1/devices`."""

    @operation
    def get(self, name: str) -> Call[Device]:
        """One device."""
        return Call("GET", path("devices", name), Device)

    @listing
    def list(
        self,
        *,
        name: str | None = None,
        group: str | None = None,
        tag: str | None = None,
        online: bool | None = None,
        motion: str | None = None,
        bbox: Box | None = None,
    ) -> Call[Page[Device]]:
        """Devices by name; `name` is a prefix."""
        params = {
            "name": name, "group": group, "tag": tag, "online": online, "motion": motion,
            "bbox": joined(bbox),
        }  # fmt: skip
        return Call("GET", path("devices"), Page[Device], params)

    @operation
    def register(self, device: Body, *, idempotency_key: str | None = None) -> Call[Device]:
        """Register one before its first message: `name`, and `groups`, `tags`, `attrs`."""
        return Call("POST", path("devices"), Device, body=device, key=idempotency_key)

    @operation
    def edit(self, name: str, changes: Body, *, only_over: int | None = None) -> Call[Device]:
        """Change `groups`, `tags` or `attrs`; with `only_over` only if that is its version."""
        return Call("PATCH", path("devices", name), Device, body=changes, only_over=only_over)

    @operation
    def position(self, name: str) -> Call[Position]:
        """Its latest ok fix; `NotFound` before the first."""
        return Call("GET", path("devices", name, "position"), Position)

    @listing
    def positions(
        self,
        name: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        quality: str | None = None,
    ) -> Call[Page[Position]]:
        """Its fixes, oldest first, of every quality unless one is named."""
        params = {"from": start, "to": end, "quality": quality}
        return Call("GET", path("devices", name, "positions"), Page[Position], params)

    @listing
    def latest(
        self,
        *,
        devices: Sequence[str] | None = None,
        name: str | None = None,
        group: str | None = None,
        tag: str | None = None,
        bbox: Box | None = None,
    ) -> Call[Page[Position]]:
        """The latest ok fix of each device; `name` is a prefix."""
        params = {
            "device": devices, "name": name, "group": group, "tag": tag, "bbox": joined(bbox),
        }  # fmt: skip
        return Call("GET", path("positions"), Page[Position], params)


def joined(bbox: Box | None) -> str | None:
    """A box as a parameter: minlon, minlat, maxlon, maxlat."""
    return None if bbox is None else ",".join(str(edge) for edge in bbox)
