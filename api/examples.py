"""What requests and answers look like: one fleet's morning, for the OpenAPI document.

They are values of the types that are encoded, so none can say what the api would not.
"""

from datetime import UTC, datetime

import msgspec

from api.answers import GEOJSON, LedgerPage, Page, PositionCollection, feature
from api.fence_schemas import DeviceInput
from api.openapi import Content
from tracking.feed import PositionUpdate
from tracking.store.dead_letters import DeadLetter
from tracking.store.devices import DeviceDetail, DeviceView
from tracking.store.ledger import LedgerRow, LedgerTotals

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


def page_of(*items: object) -> Page[object]:
    """A page that is not the last."""
    return Page(list(items), NEXT)
