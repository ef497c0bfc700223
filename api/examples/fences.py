"""What requests and answers about fences look like, and about who was in them."""

from typing import Any

import msgspec

from api.conventions.answers import GEOJSON
from api.document.route import Content
from api.examples.fleet import EVENT, MORNING
from api.schemas.fences import BulkCounts, FenceBrief, FencesSaved, Located, LocatedAll, LocateInput
from api.schemas.preview import PreviewLine
from api.schemas.visits import AreaDevicesPage, AreaInput
from tracking.because import FixTold
from tracking.fence_bulk import BulkItem
from tracking.fences import Audience, Buffers
from tracking.stays import AreaDevice, Stay
from tracking.store.fence_reads import FenceView
from tracking.store.visits import Visit
from tracking.why import Explanation
from tracking.whynot import Absence, Before, Reason

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
    effective_from=MORNING.replace(day=1),
    effective_to=None,
    created_at=MORNING.replace(month=1),
    updated_at=MORNING.replace(day=1),
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
PREVIEW_INPUT = {"start": MORNING.replace(day=1), "end": MORNING, "fence": FENCE_INPUT}
PREVIEW_LINE = PreviewLine(event=EVENT)
VISIT = Visit(
    device="van-7",
    fence="depot-1",
    fence_name="Depot North",
    layer=None,
    entered_at=MORNING,
    left_at=MORNING.replace(hour=7, minute=5),
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
AREA_INPUT = AreaInput(shape=CIRCLE, start=MORNING, end=MORNING.replace(hour=18))
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
