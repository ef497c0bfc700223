"""Fences as they are defined: options, versions, and who they apply to. No I/O."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import msgspec

from geofence.shapes import Shape

Outcome = Literal["created", "changed", "unchanged", "refused", "held_back"]
Reason = Literal["exists", "other_version", "too_early"]


class Audience(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which devices a fence applies to: those in any of the lists; everyone when all are empty."""

    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """A daily window of local time, `HH:MM`; one that ends at or before its start runs over
    midnight. `days` (mon, tue, ...) are those it starts on; all when empty.
    """  # noqa: D205 -- one contract

    start: str
    end: str
    days: tuple[str, ...] = ()


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a fence raises events, in the site's IANA time zone, daylight saving included."""

    time_zone: str
    windows: tuple[Window, ...]


class Buffers(msgspec.Struct, frozen=True, omit_defaults=True):
    """How calm a fence is. None: as `geofence.calm` chooses by size, sampling and accuracy."""

    enter_m: float | None = None
    exit_m: float | None = None
    min_fixes: int | None = None


class FenceOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """All a fence says beside its shape. The defaults are meant to be right."""

    # Fences of one layer share borders: a device is in one of them at a time.
    layer: str | None = None
    buffers: Buffers = Buffers()
    # Raise `fence.dwelled` after this long inside.
    dwell_s: float | None = None
    speed_limit_mps: float | None = None
    schedule: Schedule | None = None
    applies_to: Audience = Audience()
    # Where devices should be; a transition away from it is marked `violation`.
    normal: str = "outside"
    # Raise `fence.crossed` for a passage between two fixes.
    crossed: bool = True


_DEFAULTS = FenceOptions()


@dataclass(frozen=True, slots=True)
class FenceVersion:
    """A fence as it was from `from_us` until before `to_us` (both device time; None: still is).

    `number` is the fence's in the database, never reused; `id` its public name, unique in the
    tenant and part of the ids of its events; `created_us` where its first version starts.
    """

    number: int
    id: str
    name: str
    version: int
    created_us: int
    from_us: int
    to_us: int | None
    shape: Shape
    options: FenceOptions


def machine_number(fence: FenceVersion) -> int:
    """The number of the `Presence` machine that watches this fence: its own, or its layer's."""
    layer = fence.options.layer
    if layer is None:
        return fence.number
    digest = blake2b(layer.encode(), digest_size=8).digest()
    # Negative, so that it cannot meet a fence's number.
    return -(int.from_bytes(digest, "big") >> 2) - 1


@dataclass(frozen=True, slots=True)
class FenceDraft:
    """A fence as somebody wants it to be, checked and in normal form.

    `document` is the shape as JSON, as it is told back; `attrs` a JSON object; `notes` what was
    repaired. `effective_from_us` is device time, None for the moment of saving.
    """

    id: str
    name: str
    shape: Shape
    document: bytes
    options: FenceOptions = _DEFAULTS
    attrs: bytes = b"{}"
    notes: tuple[str, ...] = ()
    effective_from_us: int | None = None
    # Save only over one of these versions; 0 stands for there being none, or a deleted one.
    only_over: tuple[int, ...] | None = None


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one draft: its fence's version now, or why it was refused.

    `held_back`: nothing is wrong with it, but with another of the same request. `version` is 0
    where there is no such fence.
    """

    id: str
    outcome: Outcome
    version: int
    detail: str | None = None
    field: str | None = None
    reason: Reason | None = None

    def held_back(self) -> "Saved":
        """The same while another of its request is refused: what would be saved is not."""
        if self.outcome not in {"created", "changed"}:
            return self
        return Saved(self.id, "held_back", self.version - 1)
