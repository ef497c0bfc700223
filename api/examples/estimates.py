"""Examples of estimates."""

from datetime import timedelta

from api.examples.fleet import POSITION
from tracking.estimates import Basis, Estimate, StopEstimate

_SEEN_AT = POSITION.fix_time
_TOLD_AT = _SEEN_AT - timedelta(minutes=4)
_ARRIVE = _SEEN_AT.replace(second=0, microsecond=0) + timedelta(minutes=41)

ESTIMATE = Estimate(
    as_of=_SEEN_AT,
    stops=(
        StopEstimate(
            stop=1,
            arrive=_ARRIVE,
            early=_ARRIVE - timedelta(minutes=5),
            late=_ARRIVE + timedelta(minutes=9),
            depart=_ARRIVE + timedelta(minutes=5),
            p10=_ARRIVE - timedelta(minutes=4, seconds=22),
            p50=_ARRIVE + timedelta(seconds=48),
            p90=_ARRIVE + timedelta(minutes=8, seconds=31),
            basis=Basis(_TOLD_AT.timestamp(), 31_260.0, 2_700.0, 0.0, "route", 12),
        ),
    ),
    reason="traffic",
    because="6 min later: 31.3 km along its route take 7 min more than expected; "
    "14 past trips like it took 18% longer than usual",
    told_at=_TOLD_AT,
    path="route",
    remaining_m=28_410.4,
    carrier=1,
    plan=1,
    near=(POSITION.lon, POSITION.lat),
    near_since=_SEEN_AT,
    model=12,
)
