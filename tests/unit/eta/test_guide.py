"""A planned route as the way from stop to stop."""

from datetime import UTC, datetime

import pytest

from tracking.eta.guide import Guide, guide_of
from tracking.eta.itinerary import Here, Site
from tracking.route.follow import Progress
from tracking.route.polyline import encode
from tracking.shipments import LINE_DIGITS, Plan, Record, Route, Stop, StopRecord

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
# Up the meridian and down a hundredth of a degree further: 1,112 m each.
HAIRPIN = [(5.0, 0.0), (5.0, 0.05), (5.01, 0.05), (5.01, 0.0)]
SITES = [Site((5.0, 0.0), 100.0), Site((5.0, 0.03), 100.0), Site((5.01, 0.02), 100.0)]
DEGREE_M = 110_574.0


def guide(sites: list[Site | None]) -> Guide:
    return guide_of(Route(encode(HAIRPIN, LINE_DIGITS)), sites)


def ways(
    here: tuple[float, float], progress_m: float | None, *, done: int = 1, off: bool = False,
    sites: list[Site | None] | None = None, behind_s: float = 60.0,
) -> dict[int, tuple[str, float]]:  # fmt: skip
    stops = tuple(Stop("delivery", f"{i}") for i in range(3))
    record = Record(
        "in_transit", NOW, tuple(StopRecord(NOW, NOW, done=i < done) if i < done else StopRecord()
                                 for i in range(3)), next_stop=done,
    )  # fmt: skip
    progress = Progress(progress_m, 5.0, off, opposite_direction=False, as_of=NOW)
    found = guide(sites or list(SITES)).ways(
        Plan("s1", stops), record, Here(here, NOW.timestamp() + behind_s), progress
    )
    return {stop: (way.kind, way.length_m) for stop, way in found.items()}


def test_the_next_stop_is_reached_by_what_is_left_and_the_others_from_stop_to_stop() -> None:
    found = ways((5.0, 0.01), 1_000.0)
    assert set(found) == {1, 2}
    # To where the stops begin, a hundred metres before them; from its newest fix, not its last.
    assert found[1][1] == pytest.approx(0.02 * DEGREE_M - 100, rel=0.01)
    assert found[2][1] == pytest.approx(0.06 * DEGREE_M - 100, rel=0.02)
    # What was followed a moment ago is as good.
    moment = ways((5.0, 0.01), 1_000.0, behind_s=5.0)
    assert moment[1][1] == pytest.approx(0.03 * DEGREE_M - 1_000 - 100, rel=0.01)


def test_a_way_tells_how_much_of_it_is_left_from_the_stop_before() -> None:
    planned = Plan("s1", tuple(Stop("delivery", f"{i}") for i in range(3)))
    left = Record("in_transit", NOW, (StopRecord(NOW, NOW), StopRecord(), StopRecord()))
    here = Here((5.0, 0.0225), NOW.timestamp())
    found = guide(list(SITES)).ways(planned, left, here, None)
    # Three quarters of the way up, but for the hundred metres before the stop.
    whole_m = 0.03 * DEGREE_M - 100
    assert found[1].part == pytest.approx((0.0075 * DEGREE_M - 100) / whole_m, rel=0.02)
    assert found[2].part == pytest.approx(1.0)


def test_the_way_back_is_told_from_the_way_there() -> None:
    out_m = 0.05 * DEGREE_M
    back = ways((5.01, 0.04), 2 * out_m, done=2)
    assert back[2][1] == pytest.approx(0.02 * DEGREE_M - 100, rel=0.02)


def test_who_has_left_the_route_has_no_way_to_the_next_stop_but_behind_it() -> None:
    assert set(ways((5.02, 0.01), 1_000.0, off=True)) == {2}
    assert set(ways((5.02, 0.01), None)) == {2}


def test_who_has_just_left_a_stop_on_the_route_follows_it() -> None:
    assert ways((5.0, 0.01), None)[1] == ways((5.0, 0.01), 1_000.0)[1]
    # Before the first stop it comes from anywhere.
    assert set(ways((5.0, 0.01), None, done=0)) == {1, 2}


def test_who_has_come_past_a_stop_finds_it_some_other_way() -> None:
    assert set(ways((5.0, 0.04), 0.04 * DEGREE_M)) == {2}


def test_a_stop_beside_the_route_is_not_on_it() -> None:
    beside: list[Site | None] = [SITES[0], Site((5.1, 0.03), 100.0), SITES[2]]
    assert ways((5.0, 0.01), 1_000.0, sites=beside) == {}
    nowhere: list[Site | None] = [SITES[0], None, SITES[2]]
    found = ways((5.0, 0.01), 1_000.0, sites=nowhere)
    assert found[2][1] == pytest.approx(0.08 * DEGREE_M - 100, rel=0.02)
