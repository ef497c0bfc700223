"""Who carried what, and so whose positions are whose. Pure: claims in, segments out.

A claim says that a load was on or in its carrier for a time: a device on an asset, an asset in an
asset, a shipment in an asset or on a device. The position of an asset or a shipment is that of a
device on it, of several the one attached last; without one it is its carrier's. Where neither is
known there is a gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

Kind = Literal["device", "asset", "shipment"]

FOR_EVER_US = 2**63 - 1
# Deeper nesting than parcel, box, pallet, container, trailer, truck, ship means nothing.
MAX_DEPTH = 16


class Ref(NamedTuple):
    """A device, an asset or a shipment by its public name."""

    kind: Kind
    id: str


class Claim(NamedTuple):
    """A load is on or in a carrier from `from_us` until before `to_us`, in device time."""

    load: Ref
    carrier: Ref
    from_us: int
    to_us: int = FOR_EVER_US


class Segment(NamedTuple):
    """A time in which one device tells where something is; None: a gap.

    `via` are the carriers from the thing to what the device is on, outermost last. An end of
    `FOR_EVER_US` is an open one.
    """

    from_us: int
    to_us: int
    device: str | None
    via: tuple[Ref, ...] = ()


class Custody:
    """Claims, by load and by carrier. Of one load no two claims may overlap."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._of: dict[Ref, list[Claim]] = {}  # by load, in time
        self._on: dict[Ref, list[Claim]] = {}  # devices on it, in the order they were attached
        for claim in sorted(claims, key=lambda claim: (claim.from_us, claim.load.id)):
            if claim.load.kind == "device":
                self._on.setdefault(claim.carrier, []).append(claim)
            else:
                self._of.setdefault(claim.load, []).append(claim)

    def segments(self, thing: Ref, from_us: int, to_us: int = FOR_EVER_US) -> list[Segment]:
        """[from_us, to_us) without holes or overlaps: who told where `thing` was, and when nobody.

        Neighbours differ in their device or in the way to it.
        """
        merged: list[Segment] = []
        for segment in self._resolve(thing, from_us, to_us, ()):
            if merged and merged[-1][2:] == segment[2:]:
                merged[-1] = merged[-1]._replace(to_us=segment.to_us)
            else:
                merged.append(segment)
        return merged

    def loop(self, claim: Claim) -> int | None:
        """The first moment at which a further claim would carry its load in itself; None: never."""
        held = self._carried_in(claim.carrier, claim.load, claim.from_us, claim.to_us, 0)
        return min(held, default=None)

    def _resolve(
        self, thing: Ref, from_us: int, to_us: int, via: tuple[Ref, ...]
    ) -> Iterator[Segment]:
        if from_us >= to_us:
            return
        if thing.kind == "device":
            yield Segment(from_us, to_us, thing.id, via)
            return
        for start_us, end_us, device in self._devices(thing, from_us, to_us):
            if device is not None:
                yield Segment(start_us, end_us, device, via)
            else:
                yield from self._carried(thing, start_us, end_us, via)

    def _devices(
        self, thing: Ref, from_us: int, to_us: int
    ) -> Iterator[tuple[int, int, str | None]]:
        """The time cut where the device that counts changes."""
        claims = _clipped(self._on.get(thing, ()), from_us, to_us)
        edges = sorted({from_us, to_us, *(e for c in claims for e in (c.from_us, c.to_us))})
        for start_us, end_us in pairwise(edges):
            holding = [c for c in claims if c.from_us <= start_us < c.to_us]
            last = max(holding, key=lambda c: (c.since_us, c.device), default=None)
            yield start_us, end_us, None if last is None else last.device

    def _carried(
        self, thing: Ref, from_us: int, to_us: int, via: tuple[Ref, ...]
    ) -> Iterator[Segment]:
        at_us = from_us
        for claim in self._of.get(thing, ()):
            start_us, end_us = max(claim.from_us, at_us), min(claim.to_us, to_us)
            # Claims that run in a circle lead nowhere; they are refused where they are made.
            if start_us >= end_us or claim.carrier in via or len(via) >= MAX_DEPTH:
                continue
            if at_us < start_us:
                yield Segment(at_us, start_us, None)
            yield from self._resolve(claim.carrier, start_us, end_us, (*via, claim.carrier))
            at_us = end_us
        if at_us < to_us:
            yield Segment(at_us, to_us, None)

    def _carried_in(
        self, thing: Ref, wanted: Ref, from_us: int, to_us: int, depth: int
    ) -> Iterator[int]:
        """Moments from which `thing` is, however deep, in `wanted`."""
        if thing == wanted:
            yield from_us
            return
        if depth < MAX_DEPTH:
            for claim in self._of.get(thing, ()):
                start_us, end_us = max(claim.from_us, from_us), min(claim.to_us, to_us)
                if start_us < end_us:
                    yield from self._carried_in(claim.carrier, wanted, start_us, end_us, depth + 1)


def device_at(parts: Iterable[Segment], at_us: int) -> str | None:
    """Which device tells at a moment where something is."""
    return next((part.device for part in parts if part.from_us <= at_us < part.to_us), None)


class _Clip(NamedTuple):
    from_us: int
    to_us: int
    since_us: int
    device: str


def _clipped(claims: Sequence[Claim], from_us: int, to_us: int) -> list[_Clip]:
    """The devices' claims within a time, those outside of it left out."""
    return [
        _Clip(max(c.from_us, from_us), min(c.to_us, to_us), c.from_us, c.load.id)
        for c in claims
        if c.from_us < to_us and c.to_us > from_us
    ]
