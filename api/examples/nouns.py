"""What requests and answers about the nouns of logistics look like, for the OpenAPI document."""

from datetime import UTC, datetime, timedelta

import msgspec

from api.examples.detention import HOURS_INPUT
from api.examples.estimates import ESTIMATE
from api.examples.fleet import EVENT, NEXT, POSITION, page_of
from api.examples.routes import PROGRESS, ROUTE_INPUT
from api.schemas.assets import (
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
from api.schemas.estimates import AsOf, expected_of
from api.schemas.overrides import OverrideInput, Overrides, ProofInput, override_of
from api.schemas.share import MadeLink, ShareInput, ShareLinks
from api.schemas.shipments import (
    OrderTracking,
    PartiesInput,
    PlaceInput,
    SeenAt,
    ShipmentInput,
    ShipmentPatch,
    StopInput,
    WindowInput,
    detail_of,
    plan_of,
    view_of,
)
from tracking.sharing import LastSeen, ShareLink, shared
from tracking.shipments import Record, Stay, StopRecord
from tracking.store.assets import AssetView
from tracking.store.attachments import AttachmentView, RefView
from tracking.store.shipments import StoredShipment

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

SHIPMENT_INPUT = ShipmentInput(
    id="s-1001",
    order_ref="o-77",
    stops=(
        StopInput(
            "pickup",
            "Utrecht depot",
            place=PlaceInput(5.1041, 52.0907),
            window=WindowInput(_DAWN, _MORNING, "Europe/Amsterdam"),
            service_s=900,
        ),
        StopInput("delivery", "Shop 4", fence="shop-4", hours=HOURS_INPUT, free_time_s=3_600.0),
    ),
    parties=PartiesInput(shipper="acme", carrier="fastlane", consignee="shop-4"),
    route=ROUTE_INPUT,
    attrs={"pallets": 2},
)
SHIPMENT_PATCH = ShipmentPatch(attrs={"pallets": 3})
OVERRIDE_INPUT = OverrideInput(
    "delivered", stop=1, at=_MORNING, note="left at the back door", proof=ProofInput("J. Doe")
)
_STORED = StoredShipment(
    number=1,
    version=1,
    created_at=_DAWN,
    updated_at=_DAWN,
    updated_by="orders",
    fence_serial=4,
    plan=plan_of(SHIPMENT_INPUT, "s-1001"),
    record=Record(
        "in_transit",
        since=_MORNING,
        stops=(
            StopRecord(_DAWN, _MORNING, done=True, stays=(Stay(_DAWN, _MORNING),)),
            StopRecord(),
        ),
        picked_up_at=_MORNING,
        next_stop=1,
    ),
    progress=PROGRESS,
    estimate=ESTIMATE,
)
# When the example's fix was a few seconds old.
_AS_OF = AsOf(POSITION.fix_time + timedelta(seconds=12), timedelta(minutes=15))
SHIPMENT = detail_of(
    _STORED, _AS_OF, SeenAt(position=POSITION, age_s=12.4, stale=False, carried_by=CARRIED_BY)
)
SHIPMENTS = page_of(view_of(_STORED, _AS_OF))
OVERRIDES = Overrides(
    [override_of(OVERRIDE_INPUT, "driver app")],
    None,
)
SHIPMENT_EVENTS = page_of(
    msgspec.structs.replace(
        EVENT,
        type="shipment.status_changed",
        subject="shipment/s-1001",
        data={
            "shipment": "s-1001", "order_ref": "o-77", "from": "at_stop", "to": "picked_up",
            "stop": None, "device": "van-7", "lon": 5.1041, "lat": 52.0907,
        },
    )
)  # fmt: skip
ORDER_TRACKING = OrderTracking("o-77", [SHIPMENT])

SHARE_INPUT = ShareInput(stops_away=1, expires_at=_MORNING.replace(day=15))
SHARE_LINK = ShareLink(
    id=3,
    stop=1,
    stops_away=1,
    created_at=_MORNING,
    created_by="orders",
    expires_at=_MORNING.replace(day=22),
    revoked_at=None,
)
SHARE_LINKS = ShareLinks([SHARE_LINK], None)
MADE_LINK = MadeLink(
    **msgspec.structs.asdict(SHARE_LINK), token="x" * 43, path="/track/" + "x" * 43
)
SHARED = shared(
    _STORED.plan,
    _STORED.record,
    SHARE_LINK,
    LastSeen(POSITION.lon, POSITION.lat, POSITION.fix_time),
    expected_of(_STORED, _AS_OF),
    now=_AS_OF.now,
    stale_after=_AS_OF.stale_after,
)
