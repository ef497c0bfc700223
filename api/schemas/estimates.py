"""What the api tells of when shipments will be where."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from tracking.estimates import EtaState, Expected, PathKind, Reason, StopEstimate, expected
from tracking.store.shipments import StoredShipment
from tracking.times import Moment


class AsOf(NamedTuple):
    """The moment something is told, and how old a fix may be then to expect anything of it."""

    now: datetime
    stale_after: timedelta


class StopEta(msgspec.Struct, frozen=True):
    """When a stop will be reached.

    `arrive`, between `early` and `late`, and `depart` are for people: whole minutes that move when
    it is worth it. p10, p50 and p90 are the forecast as it is now.
    """

    stop: int
    arrive: Moment
    early: Moment
    late: Moment
    depart: Moment
    p10: Moment
    p50: Moment
    p90: Moment


class EtaView(msgspec.Struct, frozen=True):
    """What is expected of a shipment.

    `state` is `expected`; `last_seen` when whoever carries it has been quiet for too long, and no
    times are told; `unknown` when nothing was forecast of this plan yet, because nobody carries it
    or it was not seen lately; `over`. `as_of` is the time of the fix it is based on. `reason` and
    `because` say why times were last told anew, at `told_at`. `remaining_m` is to the next stop
    along `path`. `at_risk` are the stops whose window it will hardly keep; `model` is the version
    of what was learned, 0 for nothing yet.
    """

    state: EtaState
    as_of: Moment | None = None
    told_at: Moment | None = None
    reason: Reason | None = None
    because: str | None = None
    path: PathKind | None = None
    remaining_m: float | None = None
    stops: list[StopEta] = []
    at_risk: list[int] = []
    model: int | None = None


def expected_of(stored: StoredShipment, as_of: AsOf) -> Expected:
    """What may be told of a shipment."""
    return expected(
        stored.estimate, stored.version, final=stored.record.final,
        now=as_of.now, stale_after=as_of.stale_after,
    )  # fmt: skip


def eta_view(stored: StoredShipment, found: Expected, now: datetime) -> EtaView:
    """The estimate of a shipment as the api tells it."""
    estimate = found.estimate
    if estimate is None:
        return EtaView(found.state)
    at_risk = [stop for stop in estimate.at_risk if not stored.record.stops[stop].arrived_at]
    if found.state == "last_seen":
        return EtaView("last_seen", estimate.as_of, at_risk=at_risk)
    told = (found.of(one.stop, now) for one in estimate.stops)
    return EtaView(
        state=found.state,
        as_of=estimate.as_of,
        told_at=estimate.told_at,
        reason=estimate.reason,
        because=estimate.because,
        path=estimate.path,
        remaining_m=estimate.remaining_m,
        stops=[_stop(one) for one in told if one is not None],
        at_risk=at_risk,
        model=estimate.model,
    )


def _stop(told: StopEstimate) -> StopEta:
    return msgspec.convert(told, StopEta, from_attributes=True)
