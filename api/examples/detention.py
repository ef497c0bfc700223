"""Examples of waiting at stops."""

from datetime import timedelta

from api.examples.fleet import POSITION
from api.schemas.detention import Detentions, stops_waited_at, waited_stops
from tracking.fence_input import ScheduleInput, WindowInput
from tracking.shipments import Plan, Record, Stay, Stop, StopRecord
from tracking.store.stays import Gap, SeenFix

HOURS_INPUT = ScheduleInput(
    "Europe/Amsterdam", (WindowInput("08:00", "17:00", ("mon", "tue", "wed", "thu", "fri")),)
)
_ARRIVED = POSITION.fix_time
_LEFT = _ARRIVED + timedelta(minutes=95)
_EVENTS = ("5f0c9a52-6a0e-5c0a-9d0b-0a4d7a1c8e11", "9b1f3c80-3d57-5a39-8f1d-6f0b7f6f2a02")
_FIXES = {
    event: [
        SeenFix(
            POSITION.device, at, 4_711 + n, POSITION.lon, POSITION.lat, POSITION.accuracy_m
        )
    ]
    for n, (event, at) in enumerate(zip(_EVENTS, (_ARRIVED, _LEFT), strict=True))
}  # fmt: skip
_STAY = Stay(_ARRIVED, _LEFT, *_EVENTS)
_PLAN = Plan("s-1001", (Stop("delivery", "Shop 4", fence="shop-4", free_time_s=3_600.0),), "o-77")
_RECORD = Record("delivered", _LEFT, (StopRecord(_ARRIVED, _LEFT, done=True, stays=(_STAY,)),))
_GAP = Gap(0, _ARRIVED + timedelta(minutes=20), _ARRIVED + timedelta(minutes=50))
DETENTIONS = Detentions(stops_waited_at(_PLAN, _RECORD, _LEFT, _FIXES, [_GAP]), None)
(WAITED_STOP,) = waited_stops(_PLAN, _RECORD, _LEFT)
