"""What is expected of a shipment: when it comes to each stop, how sure that is, and why. Pure."""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from tracking.times import Moment

PathKind = Literal["route", "roads", "detour"]
# Why an estimate is not what it was when it was last told.
Reason = Literal[
    "first", "traffic", "progress", "left_route", "back_on_route", "new_path", "plan_changed",
    "longer_stop", "shorter_stop", "carrier_changed", "model_changed",
]  # fmt: skip
# Whether anything is expected: only of what is carried by somebody who was heard lately.
EtaState = Literal["expected", "last_seen", "unknown", "over"]


class Basis(msgspec.Struct, frozen=True):
    """What an arrival was made of when it was told, so that it can be said later what moved it.

    Driving and staying are the parts of the time from `at_s` (Unix seconds) to the arrival.
    """

    at_s: float
    left_m: float
    driving_s: float
    staying_s: float
    path: PathKind
    model: int


class StopEstimate(msgspec.Struct, frozen=True):
    """When a stop will be reached and left.

    `arrive`, `early`, `late` and `depart` are what is told to people and move only by steps worth
    telling; p10, p50 and p90 are the forecast of the arrival as it is now. `away` counts for each
    of the four the looks in a row that found the forecast later (below zero: earlier) than told.
    """

    stop: int
    arrive: Moment
    early: Moment
    late: Moment
    depart: Moment
    p10: Moment
    p50: Moment
    p90: Moment
    basis: Basis
    away: tuple[int, int, int, int] = (0, 0, 0, 0)


class Estimate(msgspec.Struct, frozen=True):
    """What is expected of a shipment as of a fix.

    Attributes:
        as_of: when the fix was taken that it is based on; old ones expect nothing any more.
        stops: those still ahead, in order.
        reason: why it was last told anew, in a word, and `because` in a sentence.
        remaining_m: to the next stop, along `path`.
        carrier: number of the device that took the fix.
        plan: the version of the plan it is about; of another one it says nothing.
        near: a place, [lon, lat], in whose surroundings it has been since `near_since`.
        leave_at: when the stop it is at will be left.
        stored_at: the fix of the last forecasts that were kept.
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
    carrier: int
    plan: int
    near: tuple[float, float]
    near_since: Moment
    leave_at: Moment | None = None
    stored_at: Moment | None = None
    off_route: bool = False
    at_risk: tuple[int, ...] = ()
    model: int = 0


class Expected(NamedTuple):
    """What may be told of a shipment at a moment; `estimate` is kept for when it was last seen."""

    state: EtaState
    estimate: Estimate | None

    def of(self, stop: int, now: datetime) -> StopEstimate | None:
        """What is told of a stop; nothing that has passed."""
        if self.state != "expected" or self.estimate is None:
            return None
        found = next((one for one in self.estimate.stops if one.stop == stop), None)
        return None if found is None else _not_before(found, now)

    def leaves(self, now: datetime) -> datetime | None:
        """When the stop it is at will be left."""
        if self.state != "expected" or self.estimate is None or self.estimate.leave_at is None:
            return None
        return max(self.estimate.leave_at, _minute(now))


def expected(
    estimate: Estimate | None, version: int, *, final: bool, now: datetime, stale_after: timedelta
) -> Expected:
    """What of an estimate still holds at a moment, for a plan of that version.

    It ages: nothing is expected of what has not been seen for `stale_after`.
    """
    if final:
        return Expected("over", None)
    if estimate is None or estimate.plan != version:
        return Expected("unknown", None)
    fresh = now - estimate.as_of <= stale_after
    return Expected("expected" if fresh else "last_seen", estimate)


def _not_before(told: StopEstimate, now: datetime) -> StopEstimate:
    """The same, but for what should have come by now: that comes now at the earliest."""
    minute = _minute(now)
    if told.early >= minute and told.p10 >= now:
        return told
    return msgspec.structs.replace(
        told,
        arrive=max(told.arrive, minute),
        early=max(told.early, minute),
        late=max(told.late, minute),
        depart=max(told.depart, minute),
        p10=max(told.p10, now),
        p50=max(told.p50, now),
        p90=max(told.p90, now),
    )


def _minute(now: datetime) -> datetime:
    """Who is told a minute is told all of it."""
    return now.replace(second=0, microsecond=0)
