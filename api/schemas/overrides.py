"""What the api takes and tells of what people say happened to a shipment."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from api.conventions.answers import Page
from api.conventions.problems import Problem
from api.schemas.assets import GivenMoment
from tracking.fence_input import Name
from tracking.shipments import Act, Override, Proof

Note = Annotated[str, Meta(max_length=2_000, pattern=r"^[^\x00]*$(?!\n)")]


class ProofInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proof of what was handed over."""

    name: Name | None = None
    note: Note | None = None
    photo_ref: Name | None = None
    code: Name | None = None


class OverrideInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened although no event tells it; `at` is now if not given.

    `arrived` and `departed` need a `stop`, counted from 0; `delivered` without one is about all
    that is still to be delivered.
    """

    act: Act
    stop: Annotated[int, Meta(ge=0, le=99)] | None = None
    at: GivenMoment | None = None
    note: Note | None = None
    proof: ProofInput | None = None


class Overrides(Page[Override], frozen=True):
    """What people said of a shipment; there is one page."""


def override_of(given: OverrideInput, author: str) -> Override:
    """What somebody says.

    Raises:
        Problem: 422, it lacks a stop or lies ahead.
    """
    now = datetime.now(UTC)
    if given.act in {"arrived", "departed"} and given.stop is None:
        raise _fault("stop", "say at which stop, counted from 0")
    if given.act == "cancelled" and given.stop is not None:
        raise _fault("stop", "a shipment is cancelled as a whole")
    at = given.at or now
    if not at.year >= 1970 or at > now + timedelta(minutes=5):
        raise _fault("at", "it lies ahead, or before 1970")
    proof = None
    if given.proof is not None:
        proof = msgspec.convert(given.proof, Proof, from_attributes=True)
    return Override(0, given.act, at, given.stop, given.note, proof, author)


def _fault(field: str, detail: str) -> Problem:
    return Problem(422, f"{field}: {detail}", field=field)
