"""What requests and answers look like: one fleet's morning, for the OpenAPI document.

They are values of the types that are encoded, so none can say what the api would not.
"""

from datetime import UTC, datetime

import msgspec

from api.conventions.answers import (
    GEOJSON,
    LedgerPage,
    Many,
    Page,
    PositionCollection,
    Refusal,
    feature,
)
from api.document.route import Content
from api.schemas.charts import Chart, Curve
from api.schemas.devices import RegistrationInput
from api.schemas.fences import (
    DeviceInput,
    DevicesInput,
    NamedDeviceInput,
)
from api.schemas.parameters import Readiness
from tracking.feed import CloudEvent, PositionUpdate
from tracking.store.audit import AuditLine
from tracking.store.backfills import Backfill, RefusedReading
from tracking.store.dead_letters import DeadLetter
from tracking.store.devices import DeviceDetail, DeviceView
from tracking.store.ledger import LedgerRow, LedgerTotals
from tracking.store.measurements import Measurement
from tracking.store.trips import Trip

NEXT = "WyJuIiwidmFuLTciXQ"

MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)

POSITION = PositionUpdate(
    device="van-7",
    fix_time=MORNING,
    received_at=MORNING.replace(second=1, microsecond=204_000),
    lon=5.1041,
    lat=52.0907,
    alt_m=12.0,
    speed_mps=8.3,
    course_deg=271.0,
    accuracy_m=4.0,
    battery=0.82,
    quality="ok",
    h3="8a1969c9949ffff",
    attrs=msgspec.Raw(b'{"ignition": true}'),
)
DEVICE = DeviceView(
    name="van-7",
    online=True,
    online_at=MORNING.replace(hour=5),
    silent_since=None,
    heard_at=MORNING.replace(second=1, microsecond=204_000),
    motion="moving",
    odometer_m=184_202.5,
    position=POSITION,
    groups=["utrecht"],
    tags=["refrigerated"],
    attrs=msgspec.Raw(b'{"plate": "V-123-XB"}'),
    version=4,
    created_at=MORNING.replace(month=1, day=12),
)
POSITIONS_GEOJSON = Content(
    PositionCollection, PositionCollection([feature(POSITION)], NEXT), GEOJSON
)
DEVICE_INPUT = DeviceInput(groups=("utrecht",), tags=("refrigerated",))
LEDGER_ROW = LedgerRow(
    device="van-7",
    received=8_640,
    stored=8_611,
    duplicate=29,
    conflict=0,
    late=112,
    missing_seq=3,
    reasons={"inaccurate": 14},
)
LEDGER_TOTALS = LedgerTotals(
    devices=1,
    received=8_640,
    stored=8_611,
    duplicate=29,
    conflict=0,
    late=112,
    missing_seq=3,
    reasons={"inaccurate": 14},
)
LEDGER_PAGE = LedgerPage([LEDGER_ROW], NEXT, LEDGER_TOTALS)
DEVICE_DETAIL = DeviceDetail(**msgspec.structs.asdict(DEVICE), ledger=LEDGER_ROW)
DEVICES_INPUT = DevicesInput([NamedDeviceInput(name="van-7", tags=("refrigerated",))])
DEVICES_EDITED = Many([DEVICE], [Refusal("van-9", "there is no such device")])
REGISTRATION = RegistrationInput(name="van-8", groups=("utrecht",))
NEW_DEVICE = DeviceDetail(
    name="van-8",
    online=None,
    online_at=None,
    silent_since=None,
    heard_at=None,
    motion="unknown",
    odometer_m=0.0,
    position=None,
    groups=["utrecht"],
    tags=[],
    attrs=msgspec.Raw(b"{}"),
    version=1,
    created_at=MORNING,
    ledger=None,
)
DEAD_LETTER = DeadLetter(
    id=17,
    device="van-7",
    topic="wm/acme/van-7/pos",
    reason="bad_json",
    detail="this is no JSON: truncated after 21 bytes",
    n=2,
    first_received_at=MORNING,
    last_received_at=MORNING.replace(minute=31),
    replayed_at=None,
    payload_bytes=21,
    payload_base64="eyJ0IjoxNzcyOTUxNDAwMDAwLCJsb24iOg==",
    payload_text='{"t":1772951400000,"lon":',
)
AUDIT_LINE = AuditLine(
    id=4711,
    at=MORNING,
    actor_kind="user",
    actor_id=3,
    actor_name="ann@acme.example",
    request_id="3f9c0d1b7a52e684",
    ip="192.0.2.7",
    action="update",
    noun="devices",
    key="van-7",
    before=msgspec.Raw(b'{"tags": []}'),
    after=msgspec.Raw(b'{"tags": ["cold"]}'),
)
EVENT = CloudEvent(
    id="0b6f9d0e-6f0c-5d57-9d0f-3f1e2a4c5b6d",
    source="/waymark/acme",
    type="fence.entered",
    subject="van-7",
    time=MORNING,
    data={"fence": "depot-1", "fence_name": "Depot North", "lon": 5.1041, "lat": 52.0907},
    tenant="acme",
    recorded_at=MORNING.replace(second=2),
    revision=1,
    status="active",
    late=False,
    cursor=4711,
)
EVENT_STREAM = (
    "retry: 2000\n\nid: 4711\nevent: snapshot\n"
    'data: {"type":"snapshot","cursor":4711,"more":false,"positions":[]}\n\n'
    ": heartbeat\nid: 4712\n\n"
)
BACKFILL = Backfill(
    id="6f1c8a44-3c57-4b0e-9d0a-2d7c1f5e8b11",
    state="done",
    alerts=False,
    created_at=MORNING,
    created_by="archive",
    started_at=MORNING.replace(second=1),
    finished_at=MORNING.replace(second=40),
    lines=120_000,
    done_lines=120_000,
    readings=120_000,
    stored=119_990,
    duplicate=9,
    rejected=1,
    events=412,
    reasons={"bad_time": 1},
    refused=[RefusedReading(17, "van-7", "bad_time", "t 'soon' is not a time")],
)

MEASUREMENT = Measurement(
    device="van-7",
    metric="temperature_c",
    fix_time=MORNING,
    received_at=MORNING.replace(second=1, microsecond=204_000),
    value=4.2,
)

CHART = Chart(
    device="van-7",
    bucket="1h",
    time_zone="UTC",
    starts=[MORNING.replace(hour=hour, minute=0) for hour in (6, 7, 8)],
    measurements={
        "temperature_c": Curve([60, 0, 58], [4.1, None, 4.4], [3.8, None, 4.0], [4.6, None, 5.1])
    },
    positions={
        "speed_mps": Curve([360, 0, 12], [11.2, None, 2.1], [0.0, None, 0.0], [24, None, 8])
    },
    distance_m=[40_310.5, None, 90.2],
)

TRIP = Trip(
    id="5b1f7a52-98d1-5a3b-8d55-3f0a6d1c9e21",
    device="van-7",
    started_at=MORNING,
    ended_at=MORNING.replace(hour=7, minute=2),
    open=False,
    start_lon=5.1041,
    start_lat=52.0907,
    end_lon=5.2914,
    end_lat=52.1561,
    distance_m=18_420.5,
    duration_s=1_920.0,
    max_speed_mps=27.8,
    reason="stay",
    late=False,
    amended=False,
    track="/v1/devices/van-7/positions?quality=ok&from=2026-03-08T06:30:00Z"
    "&to=2026-03-08T07:02:00.000001Z",
)

READY = Readiness("ok", {"database": "ok", "migrations": "ok", "redis": "ok"})
UNREADY = Readiness("unavailable", {"database": "away", "migrations": "unknown", "redis": "ok"})


def page_of(*items: object) -> Page[object]:
    """A page that is not the last."""
    return Page(list(items), NEXT)
