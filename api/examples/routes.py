"""Examples of planned routes."""

from api.examples.fleet import POSITION
from api.schemas.routes import LineInput, RouteInput
from tracking.route.follow import Progress

ROUTE_INPUT = RouteInput(
    line=LineInput("LineString", [[5.1041, 52.0907], [5.02, 52.2], [4.8952, 52.3702]]),
    detect_m=200.0,
)
PROGRESS = Progress(
    progress_m=8_412.5,
    offset_m=6.3,
    off_route=False,
    opposite_direction=False,
    as_of=POSITION.fix_time,
)
