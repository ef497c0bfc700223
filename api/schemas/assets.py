"""What the api takes and tells about assets, and about what is attached to what."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import Field

from api.conventions.answers import Page
from api.schemas.parameters import MAX_ITEMS, MAX_POSITIONS, Paged, Query, Text, Time
from tracking.custody import FOR_EVER_US, Segment
from tracking.feed import PositionUpdate
from tracking.fence_input import Id, Name
from tracking.store.custody import Whereabouts
from tracking.times import Moment, from_us

# vehicle, trailer, container, pallet, parcel, or whatever the fleet has.
AssetKind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
# As far apart as the database's times reach.
GivenMoment = Annotated[datetime, Meta(tz=True)]


class AssetInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An asset as it may be sent. The last members are told by the api and ignored here."""

    kind: AssetKind
    id: Id | None = None
    name: Name | None = None
    attrs: dict[str, Any] = {}

    version: Any = None
    created_at: Any = None
    updated_at: Any = None
    updated_by: Any = None


class AssetPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of an asset; what is left out stays."""

    kind: AssetKind | None = None
    name: Name | None = None
    attrs: dict[str, Any] | None = None


class LoadInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is carried."""

    kind: Literal["device", "asset", "shipment"]
    id: Name


class CarrierInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What carries it: an asset, or, for a shipment, a device as well."""

    kind: Literal["device", "asset"]
    id: Name


class AttachmentInput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """A load on or in a carrier, from `from` (now, if not given) until before `to` (open)."""

    load: LoadInput
    carrier: CarrierInput
    start: GivenMoment | None = None
    end: GivenMoment | None = None


class AttachmentPatch(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """When an attachment holds, corrected; `to: null` opens its end again."""

    start: GivenMoment | UnsetType = UNSET
    end: GivenMoment | UnsetType | None = UNSET


class AssetQuery(Paged):
    """Which assets."""

    id: Text | None = Field(None, description="Prefix of the id")
    kind: Text | None = None
    name: Text | None = Field(None, description="Part of the name, in any case")


class AttachmentQuery(Paged):
    """Which attachments; those with all of the given at one of their ends."""

    device: Text | None = None
    asset: Text | None = None
    shipment: Text | None = None
    at: Time | None = Field(None, description="Those that held at this moment")
    start: Time | None = Field(None, alias="from", description="Those that held at or after it")
    end: Time | None = Field(None, alias="to", description="Those that held before it")
    removed: bool = Field(default=False, description="Those that were taken back instead")


class AtQuery(Query):
    """When."""

    at: Time | None = Field(None, description="A moment of device time; without it, now")


class TrackQuery(Query):
    """Which part of a track."""

    start: Time | None = Field(None, alias="from", description="First time; a day before `to`")
    end: Time | None = Field(None, alias="to", description="Last time, excluded; now")
    limit: int = Field(MAX_ITEMS, ge=1, le=MAX_POSITIONS)
    cursor: str | None = Field(None, max_length=1_024)


class CarriedBy(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A time in which one device told where something was; device null: nobody did.

    `via` are the carriers between them, the outermost last, as `<kind>/<id>`.
    """

    device: str | None
    via: list[str]
    start: Moment
    end: Moment | None


class PositionAnswer(msgspec.Struct, frozen=True):
    """Where something was last seen, by what, and how long before the moment asked for.

    `carried_by` is who carries it at that moment; the position may be of another, before a gap.
    """

    position: PositionUpdate | None
    age_s: float | None
    carried_by: CarriedBy


class TrackPage(Page[PositionUpdate], frozen=True):
    """Part of a track, and who carried it in the time asked for."""

    parts: list[CarriedBy]


def carried_by(part: Segment) -> CarriedBy:
    """A part of a custody as the api tells it."""
    return CarriedBy(
        part.device,
        [f"{ref.kind}/{ref.id}" for ref in part.via],
        from_us(part.from_us),
        None if part.to_us == FOR_EVER_US else from_us(part.to_us),
    )


def position_answer(at: datetime, last: Segment, found: Whereabouts | None) -> PositionAnswer:
    """What is known at a moment at which `last` is who carries it."""
    if found is None:
        return PositionAnswer(None, None, carried_by(last))
    age_s = (at - found.position.fix_time).total_seconds()
    return PositionAnswer(found.position, round(max(age_s, 0.0), 3), carried_by(last))
