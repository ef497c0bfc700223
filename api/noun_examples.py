"""What requests and answers about the nouns of logistics look like, for the OpenAPI document."""

from datetime import UTC, datetime

import msgspec

from api.asset_schemas import (
    AssetInput,
    AssetPatch,
    AttachmentInput,
    AttachmentPatch,
    CarriedBy,
    CarrierInput,
    LoadInput,
    PositionAnswer,
    TrackPage,
)
from api.examples import NEXT, POSITION, page_of
from tracking.store.assets import AssetView
from tracking.store.attachments import AttachmentView, RefView

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
_DAWN = _MORNING.replace(hour=5)

ASSET_INPUT = AssetInput(kind="vehicle", id="truck-12", name="Truck 12", attrs={"axles": 3})
ASSET_PATCH = AssetPatch(name="Truck 12, spare")
ASSET = AssetView(
    id="truck-12",
    kind="vehicle",
    name="Truck 12",
    attrs=msgspec.Raw(b'{"axles": 3}'),
    version=1,
    created_at=_DAWN,
    updated_at=_DAWN,
    updated_by="dispatch",
)
ASSETS = page_of(ASSET)
ATTACHMENT_INPUT = AttachmentInput(
    load=LoadInput("device", "van-7"), carrier=CarrierInput("asset", "truck-12"), start=_DAWN
)
ATTACHMENT_PATCH = AttachmentPatch(end=_MORNING)
ATTACHMENT = AttachmentView(
    id=41,
    load=RefView("device", "van-7"),
    carrier=RefView("asset", "truck-12"),
    start=_DAWN,
    end=None,
    created_at=_DAWN,
    created_by="dispatch",
    updated_at=_DAWN,
    updated_by="dispatch",
    removed_at=None,
)
ATTACHMENTS = page_of(ATTACHMENT)
CARRIED_BY = CarriedBy(device="van-7", via=["asset/truck-12"], start=_DAWN, end=None)
POSITION_ANSWER = PositionAnswer(position=POSITION, age_s=12.4, carried_by=CARRIED_BY)
TRACK_PAGE = TrackPage([POSITION], NEXT, [CARRIED_BY])
