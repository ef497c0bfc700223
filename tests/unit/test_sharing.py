"""What share links show, and what they do not."""

from datetime import UTC, datetime, timedelta
from math import cos, hypot, radians

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.estimates import Basis, Estimate, StopEstimate, expected
from tracking.sharing import LastSeen, SharedShipment, ShareLink, shared
from tracking.shipments import Parties, Place, Plan, Record, Status, Stop, StopRecord

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
LINK = ShareLink(1, 2, 1, NOW, "x", NOW, None)
PLAN = Plan(
    "s1",
    (
        Stop("pickup", "Depot", Place(5.0, 52.0)),
        Stop("delivery", "Shop 1", Place(5.1, 52.0)),
        Stop("delivery", "Shop 2", Place(5.2, 52.0)),
    ),
    parties=Parties("acme", "secret carrier", "shop"),
    attrs=msgspec.Raw(b'{"secret": 1}'),
)
SEEN = LastSeen(5.0512, 52.0034, NOW - timedelta(seconds=40))


def minutes(n: float) -> datetime:
    return NOW + timedelta(minutes=n)


def stop_estimate(stop: int, n: float) -> StopEstimate:
    return StopEstimate(
        stop, minutes(n), minutes(n - 5), minutes(n + 10), minutes(n + 5),
        minutes(n - 4), minutes(n), minutes(n + 9), Basis(0.0, 1.0, 1.0, 0.0, "detour", 0),
    )  # fmt: skip


ESTIMATE = Estimate(
    NOW, (stop_estimate(1, 30), stop_estimate(2, 60)), "first", "", NOW, "detour", 1.0,
    carrier=1, plan=1, near=(5.0, 52.0), near_since=NOW, at_risk=(1,),
)  # fmt: skip


def record(status: Status, reached: int, next_stop: int | None = None) -> Record:
    """With the first `reached` stops done."""
    stops = tuple(
        StopRecord(NOW, NOW, done=True) if i < reached else StopRecord() for i in range(3)
    )
    at = next_stop if status == "at_stop" else None
    picked_up = NOW if reached else None
    return Record(status, NOW, stops, picked_up, at_stop=at, next_stop=next_stop)


def show(became: Record, seen: LastSeen | None = SEEN, **link: int) -> SharedShipment:
    followed = msgspec.structs.replace(LINK, **link)
    quiet = timedelta(minutes=15)
    told = expected(ESTIMATE, 1, final=became.final, now=NOW, stale_after=quiet)
    return shared(PLAN, became, followed, seen, told, now=NOW, stale_after=quiet)


@pytest.mark.parametrize(
    ("became", "link", "exact"),
    [
        (record("in_transit", 1, 1), {}, False),  # another delivery comes first
        (record("in_transit", 1, 1), {"stops_away": 2}, True),
        (record("in_transit", 2, 2), {}, True),
        (record("in_transit", 2, 2), {"stops_away": 0}, False),
        (record("arriving", 2, 2), {"stops_away": 0}, True),
        (record("arriving", 1, 1), {"stops_away": 0}, False),  # not here
        (record("in_transit", 1, 1), {"stop": 1}, True),
        (record("in_transit", 2, 2), {"stop": 1}, False),  # it has been here
    ],
)
def test_the_exact_place_is_shown_from_when_the_stop_is_near(
    became: Record,
    link: dict[str, int],
    exact: bool,  # noqa: FBT001 -- a parameter
) -> None:
    place = show(became, SEEN, **link).place
    assert place is not None
    assert (place.radius_m == 0) is exact
    assert ((place.lon, place.lat) == (SEEN.lon, SEEN.lat)) is exact


@pytest.mark.parametrize("status", ["planned", "delivered", "cancelled"])
def test_before_and_after_the_voyage_no_place_is_shown(status: Status) -> None:
    assert show(record(status, 0 if status == "planned" else 3)).place is None


@given(st.floats(-179, 179), st.floats(-80, 80))
def test_a_coarse_place_is_the_same_for_the_whole_cell_and_its_circle_holds_the_true_one(
    lon: float, lat: float
) -> None:
    place = show(record("in_transit", 1, 1), LastSeen(lon, lat, NOW)).place
    assert place is not None
    again = show(record("in_transit", 1, 1), LastSeen(place.lon, place.lat, NOW)).place
    assert again is not None
    assert (again.lon, again.lat) == (place.lon, place.lat)
    east = (lon - place.lon + 540) % 360 - 180
    away_m = hypot(east * 111_320 * cos(radians(lat)), (lat - place.lat) * 111_132)
    assert away_m <= place.radius_m * 1.02
    assert 500 < place.radius_m < 3_000


def test_nothing_else_of_the_tenant_is_told() -> None:
    told = msgspec.json.encode(show(record("in_transit", 2, 2)))
    assert b"secret" not in told
    assert b"device" not in told
    assert b"Shop 2" in told
    assert b"Shop 1" not in told
    assert b"Depot" not in told


def test_an_old_place_says_so() -> None:
    place = show(record("in_transit", 2, 2), LastSeen(5, 52, NOW - timedelta(hours=1))).place
    assert place is not None
    assert (place.stale, place.age_s) == (True, 3_600)


def test_an_arrival_is_told_of_the_own_stop_alone_and_until_it_is_reached() -> None:
    first, second, third = show(record("in_transit", 1, 1)).stops
    assert (first.estimated_at, second.estimated_at, second.at_risk) == (None, None, False)
    assert (third.estimated_from, third.estimated_at, third.estimated_until) == (
        minutes(55), minutes(60), minutes(70),
    )  # fmt: skip
    own = show(record("in_transit", 1, 1), stop=1).stops[1]
    assert (own.estimated_at, own.at_risk) == (minutes(30), True)
    reached = show(record("in_transit", 2, 2), stop=1).stops[1]
    assert (reached.estimated_at, reached.at_risk) == (None, False)
    over = show(record("cancelled", 1))
    assert (over.expected, over.stops[2].estimated_at) == ("over", None)
