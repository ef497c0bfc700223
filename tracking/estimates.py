"""What is expected of a shipment: when it comes to each stop, how sure that is, and why. Pure."""

from typing import Literal

import msgspec

from tracking.times import Moment

PathKind = Literal["route", "roads", "detour"]
# Why an estimate is not what it was when it was last told.
Reason = Literal[
    "first", "traffic", "progress", "left_route", "back_on_route", "new_path", "plan_changed",
    "longer_stop", "shorter_stop", "carrier_changed", "model_changed",
]  # fmt: skip


class StopEstimate(msgspec.Struct, frozen=True):
    """When a stop will be reached (p10, p50, p90) and left.

    `arrive` is what is told to people and moves only by steps worth telling; `p50` is the forecast
    as it is now.
    """

    stop: int
    arrive: Moment
    p10: Moment
    p50: Moment
    p90: Moment
    depart: Moment


class Estimate(msgspec.Struct, frozen=True):
    """What is expected of a shipment as of a fix.

    Attributes:
        as_of: when the fix was taken that it is based on; old ones expect nothing any more.
        stops: those still ahead, in order.
        reason: why it was last told anew, in a word, and `because` in a sentence.
        remaining_m: to the next stop, along `path`.
        at_risk: stops whose window it will hardly keep.
        model: the version of what was learned; 0: nothing yet.
    """

    as_of: Moment
    stops: tuple[StopEstimate, ...]
    reason: Reason
    because: str
    told_at: Moment
    path: PathKind
    remaining_m: float
    at_risk: tuple[int, ...] = ()
    model: int = 0
