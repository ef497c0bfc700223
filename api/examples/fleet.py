"""What requests and answers look like: one fleet's morning, for the OpenAPI document.

They are values of the types that are encoded, so none can say what the api would not.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

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
from api.schemas.alerts import DeviceAlerts, NoteInput, RuleView, Suppressed, TrialView
from api.schemas.charts import Chart, Curve
from api.schemas.devices import RegistrationInput
from api.schemas.fences import (
    BulkCounts,
    DeviceInput,
    DevicesInput,
    FenceBrief,
    FencesSaved,
    Located,
    LocatedAll,
    LocateInput,
    NamedDeviceInput,
)
from api.schemas.keys import KeyInput, MadeKey
from api.schemas.parameters import Readiness
from api.schemas.preview import PreviewLine
from api.schemas.visits import AreaDevicesPage, AreaInput
from tracking.alert_life import AlertedEvent, AlertView
from tracking.because import FixTold
from tracking.feed import CloudEvent, PositionUpdate
from tracking.fence_bulk import BulkItem
from tracking.fences import Audience, Buffers
from tracking.stays import AreaDevice, Stay
from tracking.store.audit import AuditLine
from tracking.store.backfills import Backfill, RefusedReading
from tracking.store.dead_letters import DeadLetter
from tracking.store.devices import DeviceDetail, DeviceView
from tracking.store.fence_reads import FenceView
from tracking.store.keys import ApiKey
from tracking.store.ledger import LedgerRow, LedgerTotals
from tracking.store.measurements import Measurement
from tracking.store.trips import Trip
from tracking.store.visits import Visit
from tracking.why import Explanation
from tracking.whynot import Absence, Before, Reason

NEXT = "WyJuIiwidmFuLTciXQ"

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)

POSITION = PositionUpdate(
    device="van-7",
    fix_time=_MORNING,
    received_at=_MORNING.replace(second=1, microsecond=204_000),
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
    online_at=_MORNING.replace(hour=5),
    silent_since=None,
    heard_at=_MORNING.replace(second=1, microsecond=204_000),
    motion="moving",
    odometer_m=184_202.5,
    position=POSITION,
    groups=["utrecht"],
    tags=["refrigerated"],
    attrs=msgspec.Raw(b'{"plate": "V-123-XB"}'),
    version=4,
    created_at=_MORNING.replace(month=1, day=12),
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
    created_at=_MORNING,
    ledger=None,
)
DEAD_LETTER = DeadLetter(
    id=17,
    device="van-7",
    topic="wm/acme/van-7/pos",
    reason="bad_json",
    detail="this is no JSON: truncated after 21 bytes",
    n=2,
    first_received_at=_MORNING,
    last_received_at=_MORNING.replace(minute=31),
    replayed_at=None,
    payload_bytes=21,
    payload_base64="eyJ0IjoxNzcyOTUxNDAwMDAwLCJsb24iOg==",
    payload_text='{"t":1772951400000,"lon":',
)
AUDIT_LINE = AuditLine(
    id=4711,
    at=_MORNING,
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
    time=_MORNING,
    data={"fence": "depot-1", "fence_name": "Depot North", "lon": 5.1041, "lat": 52.0907},
    tenant="acme",
    recorded_at=_MORNING.replace(second=2),
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
CIRCLE = {"type": "Circle", "center": [5.1041, 52.0907], "radius_m": 150}
FENCE = FenceView(
    id="depot-1",
    name="Depot North",
    version=3,
    shape=msgspec.Raw(msgspec.json.encode(CIRCLE)),
    layer=None,
    buffers=Buffers(),
    dwell_s=900.0,
    speed_limit_mps=None,
    schedule=None,
    applies_to=Audience(groups=("utrecht",)),
    normal="outside",
    crossed=True,
    attrs=msgspec.Raw(b'{"cost_centre": 7}'),
    effective_from=_MORNING.replace(day=1),
    effective_to=None,
    created_at=_MORNING.replace(month=1),
    updated_at=_MORNING.replace(day=1),
    updated_by="laptop",
    deleted_at=None,
    notes=[],
)
FENCE_INPUT = {"id": "depot-1", "name": "Depot North", "shape": CIRCLE, "dwell_s": 900}
FENCES_INPUT = {"fences": [FENCE_INPUT]}
FENCES_SAVED = FencesSaved(
    items=[BulkItem("depot-1", "changed", 3)],
    refused=[],
    counts=BulkCounts(created=0, changed=1, unchanged=0, refused=0, repaired=0),
    revision=218,
)
FENCES_FILES = [
    Content(
        dict[str, Any],
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": "depot-1",
                    "properties": {"name": "Depot North", "radius_m": 150},
                    "geometry": {"type": "Point", "coordinates": [5.1041, 52.0907]},
                }
            ],
        },
        GEOJSON,
    ),
    Content(
        None,
        "<kml><Placemark id='yard'><name>Yard</name><Polygon><outerBoundaryIs><LinearRing>"
        "<coordinates>5.10,52.10 5.11,52.10 5.11,52.11 5.10,52.10</coordinates>"
        "</LinearRing></outerBoundaryIs></Polygon></Placemark></kml>",
        "application/vnd.google-earth.kml+xml",
    ),
    Content(None, "the same, zipped", "application/vnd.google-earth.kmz"),
    Content(None, "POLYGON ((5.10 52.10, 5.11 52.10, 5.11 52.11, 5.10 52.10))", "text/plain"),
]
LOCATE_INPUT = LocateInput([(5.1041, 52.0907)])
LOCATED = LocatedAll(
    [Located(5.1041, 52.0907, [FenceBrief("depot-1", "Depot North", 3, None)])], revision=218
)
PREVIEW_INPUT = {"start": _MORNING.replace(day=1), "end": _MORNING, "fence": FENCE_INPUT}
BACKFILL = Backfill(
    id="6f1c8a44-3c57-4b0e-9d0a-2d7c1f5e8b11",
    state="done",
    alerts=False,
    created_at=_MORNING,
    created_by="archive",
    started_at=_MORNING.replace(second=1),
    finished_at=_MORNING.replace(second=40),
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
    fix_time=_MORNING,
    received_at=_MORNING.replace(second=1, microsecond=204_000),
    value=4.2,
)

CHART = Chart(
    device="van-7",
    bucket="1h",
    time_zone="UTC",
    starts=[_MORNING.replace(hour=hour, minute=0) for hour in (6, 7, 8)],
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
    started_at=_MORNING,
    ended_at=_MORNING.replace(hour=7, minute=2),
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

PREVIEW_LINE = PreviewLine(event=EVENT)
VISIT = Visit(
    device="van-7",
    fence="depot-1",
    fence_name="Depot North",
    layer=None,
    entered_at=_MORNING,
    left_at=_MORNING.replace(hour=7, minute=5),
    open=False,
    inside_s=2_100.0,
    as_of=None,
    dwelled=True,
    initial=False,
    reason="left",
    entered_event=EVENT.id,
    left_event="5f0c3b9a-7f5e-5b5e-8a53-0a5b7f6f2a11",
    late=False,
    amended=False,
)
VISITS_CSV = "device,fence,...\r\nvan-7,depot-1,...\r\n"
AREA_INPUT = AreaInput(shape=CIRCLE, start=_MORNING, end=_MORNING.replace(hour=18))
AREA_DEVICES = AreaDevicesPage(
    [
        AreaDevice(
            device="van-7",
            first_seen="2026-03-08T06:30:00Z",
            last_seen="2026-03-08T07:05:00Z",
            fixes=211,
            inside_s=2_100.0,
            stays=[Stay("2026-03-08T06:30:00Z", "2026-03-08T07:05:00Z", 211)],
        )
    ],
    None,
    notes=[],
)
_FIX = FixTold(
    fix_time="2026-03-08T06:30:00Z",
    received_at="2026-03-08T06:30:01.204Z",
    seq=None,
    lon=5.1041,
    lat=52.0907,
    accuracy_m=4.0,
    speed_mps=8.3,
    quality="ok",
    used=True,
    late=False,
    decision="entered",
    because="it lies 31 m beyond the border, more than the buffer of 5.0 m: entered",
    depth_m=31.0,
)
EXPLANATION = Explanation(
    event=EVENT,
    because=["06:30:00: it lies 31 m beyond the border, more than the buffer of 5.0 m: entered"],
    thresholds={"buffer_m": 5.0, "fixes": 1, "interval_s": 10.0},
    fence=FENCE,
    fixes=[_FIX],
    reproduced=True,
)
ABSENCE = Absence(
    device="van-7",
    fence=FENCE,
    start="2026-03-08T06:20:00Z",
    end="2026-03-08T06:40:00Z",
    reasons=[Reason("too_far", "no fix lies nearer to the fence than 2,140 m")],
    before=Before(None, None, 0, 0),
    fixes=[],
    fixes_omitted=0,
    complete=True,
    notes=[],
)
READY = Readiness("ok", {"database": "ok", "migrations": "ok", "redis": "ok"})
UNREADY = Readiness("unavailable", {"database": "away", "migrations": "unknown", "redis": "ok"})
RULE = RuleView(
    id="depot-at-night",
    name="Somebody at the depot at night",
    types=("fence.entered",),
    fences=("depot-1",),
    severity="critical",
    cooldown_s=600.0,
    version=2,
    created_at=_MORNING.replace(month=1),
    updated_at=_MORNING.replace(day=1),
    updated_by="laptop",
)
RULE_INPUT = {
    "id": "depot-at-night",
    "name": "Somebody at the depot at night",
    "types": ["fence.entered"],
    "fences": ["depot-1"],
    "severity": "critical",
    "cooldown_s": 600,
}
ALERT = AlertView(
    id=UUID("c2a7f8de-4f0e-5f4e-9b0a-54d7c3f1a9b8"),
    rule="depot-at-night",
    rule_version=2,
    severity="critical",
    state="acknowledged",
    device="van-7",
    fence="depot-1",
    event=AlertedEvent(EVENT.id, EVENT.type, "2026-03-08T06:30:00Z", EVENT.status, EVENT.data),
    late=False,
    opened_at="2026-03-08T06:30:00Z",
    recorded_at="2026-03-08T06:30:02Z",
    suppressed_n=0,
    acknowledged_at="2026-03-08T06:41:10Z",
    acknowledged_by="laptop",
    note="the early shift",
)
NOTE_INPUT = NoteInput(note="the early shift")
SNOOZE_INPUT = {"for_s": 3_600, "note": "the early shift"}
ACKNOWLEDGE_INPUT = {"rule": "depot-at-night", "note": "the early shift"}
ALERTS_ACKNOWLEDGED = Many([ALERT], [Refusal("7c9d3f2e-1111-5222-8333-444455556666", "resolved")])
TRIAL_INPUT = {"rule": RULE_INPUT, "from": _MORNING.replace(day=1), "to": _MORNING, "limit": 10}
TRIAL = TrialView(
    rule="depot-at-night",
    events_n=412,
    alerts_n=1,
    suppressed_n=Suppressed(cooldown=3, quiet=0),
    devices=[DeviceAlerts("van-7", 1)],
    items=[ALERT],
)
API_KEY = ApiKey(
    id=7,
    name="order service",
    role="service",
    scopes=["events:read", "fences:write"],
    party=None,
    created_at=_MORNING,
    expires_at=_MORNING.replace(year=2027),
    last_used_at=None,
    revoked_at=None,
)
MADE_KEY = MadeKey(**msgspec.structs.asdict(API_KEY), key="wmk_" + "x" * 43)
KEY_INPUT = KeyInput(API_KEY.name, "service", API_KEY.scopes, API_KEY.expires_at)


def page_of(*items: object) -> Page[object]:
    """A page that is not the last."""
    return Page(list(items), NEXT)
