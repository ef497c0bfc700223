"""Which fences a shipment needs, and for whom. Pure.

A stop with a place has a circle, and every stop a ring around it in which the shipment counts as
arriving. They apply to the devices that carry it and to nobody else, so that other devices cost
nothing; one fence for each of them, from a while before it first carried the shipment.
"""

from collections.abc import Mapping, Sequence
from math import cos, hypot, radians
from typing import NamedTuple

import msgspec

from geofence.shapes import definition_of, shape_of
from tracking.custody import Segment
from tracking.fences import Audience, FenceDraft, FenceOptions
from tracking.shipments import RESERVED, Plan, grounds

# Of latitude, on average.
_METRES_PER_DEGREE = 111_195.0

# Who takes a shipment at a stop has mostly come there before. Seen only from then on, it would
# seem to arrive after it took over what then left the stop without it. Each hour is folded anew.
_BEFORE_US = 3_600_000_000


class Circle(NamedTuple):
    """Ground as the fences made here have it."""

    lon: float
    lat: float
    radius_m: float

    @classmethod
    def around(cls, west: float, south: float, east: float, north: float) -> "Circle":
        """One that holds a box of degrees; the east may exceed 180."""
        lon, lat = (west + east) / 2, (south + north) / 2
        tall_m = (north - south) / 2 * _METRES_PER_DEGREE
        wide_m = (east - west) / 2 * _METRES_PER_DEGREE * cos(radians(lat))
        return cls(lon - 360 if lon >= 180 else lon, lat, max(hypot(tall_m, wide_m), 1.0))


class StopFence(NamedTuple):
    """A fence that tells of a shipment: its own (`device` is whom it applies to), or a tenant's.

    `ground` is the first stop that is there, `near` tells the ring from the stop itself. One that
    `ended` is deleted; late fixes may still tell of it.
    """

    fence: str
    ground: int
    near: bool
    device: str | None = None
    since_us: int | None = None
    circle: Circle | None = None
    ended: bool = False


class FencePlan(NamedTuple):
    """What to make, what to delete, and which fences tell of the shipment from then on.

    `serial` is that of the last one made.
    """

    make: list[FenceDraft]
    delete: list[str]
    fences: list[StopFence]
    serial: int


def plan_fences(
    plan: Plan,
    custody: Sequence[Segment],
    known: Sequence[StopFence],
    footprints: Mapping[str, Circle],
    *,
    serial: int,
    final: bool,
) -> FencePlan:
    """What follows from who carries a shipment.

    `serial` is that of the last fence made for it: one that was deleted cannot begin again before
    its end, so no id is used twice.
    `footprints` are the circles around the tenant's own fences that its stops name. A shipment
    that needs no watching keeps those it has, ended.
    """
    own = [fence for fence in known if fence.device is not None]
    live = [fence for fence in own if not fence.ended]
    if final:
        ended = [fence._replace(ended=True) for fence in own]
        return FencePlan([], [fence.fence for fence in live], ended + _named(plan), serial)
    kept: list[StopFence] = []
    make: list[FenceDraft] = []
    for ground, near, circle in _needed(plan, footprints):
        for device, since_us in _carriers(custody).items():
            wanted = StopFence("", ground, near, device, since_us, circle)
            fence = next((one for one in live if _serves(one, wanted)), None)
            if fence is None:
                serial += 1
                fence = wanted._replace(fence=f"{RESERVED}{plan.id}:{serial}")
                make.append(_draft(plan, fence))
            kept.append(fence)
    delete = [fence.fence for fence in live if fence not in kept]
    return FencePlan(make, delete, kept + _named(plan), serial)


def _carriers(custody: Sequence[Segment]) -> dict[str, int]:
    """The devices in it, and since when each is watched."""
    found: dict[str, int] = {}
    for part in custody:
        if part.device is not None:
            found.setdefault(part.device, max(part.from_us - _BEFORE_US, 0))
    return found


def _needed(plan: Plan, footprints: Mapping[str, Circle]) -> list[tuple[int, bool, Circle]]:
    """(ground, near, circle) of every fence to be made."""
    found: list[tuple[int, bool, Circle]] = []
    for i, ground in enumerate(grounds(plan.stops)):
        stop = plan.stops[i]
        if ground != i:
            continue
        if stop.place is not None:
            circle = Circle(stop.place.lon, stop.place.lat, stop.place.radius_m)
            found.append((i, False, circle))
        elif stop.fence is not None and stop.fence in footprints:
            circle = footprints[stop.fence]
        else:
            continue
        found.append((i, True, circle._replace(radius_m=circle.radius_m + plan.arriving_m)))
    return found


def _serves(fence: StopFence, wanted: StopFence) -> bool:
    """Whether a fence tells what is wanted, from then or earlier on."""
    return fence._replace(fence="", since_us=wanted.since_us) == wanted and (
        (fence.since_us or 0) <= (wanted.since_us or 0)
    )


def _named(plan: Plan) -> list[StopFence]:
    return [
        StopFence(plan.stops[i].fence or "", i, near=False)
        for i, ground in enumerate(grounds(plan.stops))
        if ground == i and plan.stops[i].fence is not None
    ]


def _draft(plan: Plan, fence: StopFence) -> FenceDraft:
    assert fence.circle is not None  # noqa: S101 -- its own always have one
    assert fence.device is not None  # noqa: S101
    lon, lat, radius_m = fence.circle
    shape, _ = shape_of({"type": "Circle", "center": [lon, lat], "radius_m": radius_m})
    name = plan.stops[fence.ground].name
    return FenceDraft(
        id=fence.fence,
        name=f"near {name}" if fence.near else name,
        shape=shape,
        document=msgspec.json.encode(definition_of(shape)),
        options=FenceOptions(applies_to=Audience(devices=(fence.device,)), crossed=not fence.near),
        effective_from_us=fence.since_us,
    )
