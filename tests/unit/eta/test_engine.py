"""The whole engine: what it blends, what it forgets, and that saving it changes nothing."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.errors import ModelUnreadable
from tracking.eta.engine import Drive, Engine, Leg, local_day_s
from tracking.eta.nearby import Nearby, Start
from tracking.eta.packed import FORMAT, pack, unpack
from tracking.eta.passages import Passages
from tracking.eta.trip import Trip
from tracking.eta.way import way_of

BEGAN_S = 1_700_000_000.0
FROM, TO = (5.0, 52.0), (5.1, 52.0)
LANE = ("Depot", "Shop")


def trip(
    at_s: float = BEGAN_S,
    mps: float = 10.0,
    start: float = 5.0,
    end: float = 5.1,
    *,
    known_way: bool = True,
) -> Trip:
    """Straight along a parallel, a fix every ten seconds."""
    way = way_of([(start, 52.0), (end, 52.0)])
    took_s = way.length_m / mps
    t = np.append(np.arange(0.0, took_s, 10.0), took_s)
    minutes = np.arange(0.0, took_s, 60.0)
    lons = np.interp(minutes, [0.0, took_s], [start, end]).tolist()
    left_m = (way.length_m - minutes * mps).tolist()
    starts = [
        Start((lon, 52.0), (end, 52.0), left, local_day_s(at_s + minute, lon))
        for lon, left, minute in zip(lons, left_m, minutes.tolist(), strict=True)
    ]
    if not known_way:
        return Trip(starts, took_s - minutes, at_s + took_s)
    pieces_s = np.diff(np.interp(way.edges_m, t * mps, t))
    first = [way.piece(way.length_m - left) for left in left_m]
    return Trip(starts, took_s - minutes, at_s + took_s, way.path, pieces_s, first)


def leg(*, known_way: bool = True, lane: tuple[str, str] | None = None) -> Leg:
    way = way_of([FROM, TO])
    return Leg(FROM, TO, way.length_m, way.path if known_way else None, lane)


acts = st.lists(
    st.tuples(
        st.sampled_from(["trip", "drive", "planned", "blind", "score"]),
        st.floats(4.0, 25.0),
        st.floats(0.0, 0.05),
        st.floats(-3e6, 3e6),
    ),
    max_size=8,
)


def do(engine: Engine, todo: list[tuple[str, float, float, float]]) -> None:
    for act, mps, shift, after_s in todo:
        driven = trip(BEGAN_S + after_s, mps, 5.0 + shift, known_way=act != "blind")
        if act == "drive":
            engine.learn_drive(Drive(driven, LANE))
        elif act == "planned":
            engine.learn_drive(Drive(driven, LANE, 900.0))
        elif act == "score":
            engine.score([900.0, 100.0 * mps], [100.0 * mps, 800.0], known_way=shift < 0.02)
        else:
            engine.learn(driven)
        engine.is_new(int(after_s))


def forecasts(engine: Engine) -> list[object]:
    return [
        engine.forecast(leg(known_way=known_way, lane=lane)._replace(planned_s=planned_s), at_s)
        for at_s in (BEGAN_S, BEGAN_S + 4e6)
        for known_way in (True, False)
        for lane in (None, LANE)
        for planned_s in (None, 700.0)
    ]


@settings(max_examples=25, deadline=None)
@given(before=acts, after=acts)
def test_what_is_loaded_forecasts_and_learns_bit_by_bit_as_what_was_saved(
    before: list[tuple[str, float, float, float]], after: list[tuple[str, float, float, float]]
) -> None:
    engine = Engine()
    do(engine, before)
    saved = engine.save()
    again = Engine.load(saved)
    assert again.save() == saved
    assert forecasts(again) == forecasts(engine)
    do(engine, after)
    do(again, after)
    assert forecasts(again) == forecasts(engine)
    assert again.save() == engine.save()


class TestUnreadable:
    def test_rubbish_is_told_with_what_to_do(self) -> None:
        for data in (b"", b"rubbish", b"waymark eta\0", b"waymark eta\0\0\1" + b"rubbish"):
            with pytest.raises(ModelUnreadable, match="eta train --from-scratch"):
                Engine.load(data)

    def test_a_newer_format_asks_for_a_newer_program(self) -> None:
        data = bytearray(Engine().save())
        data[12:14] = (FORMAT + 1).to_bytes(2, "big")
        with pytest.raises(ModelUnreadable, match="upgrade this program"):
            Engine.load(bytes(data))

    def test_what_is_cut_short_or_lacks_a_part_is_damaged(self) -> None:
        data = Engine().save()
        with pytest.raises(ModelUnreadable, match="damaged"):
            Engine.load(data[:-40])
        lacking = {k: v for k, v in unpack(data).items() if "merits" not in k}
        with pytest.raises(ModelUnreadable, match="damaged"):
            Engine.load(pack(lacking))

    def test_objects_are_not_read(self) -> None:
        header = b'[{"name":"x","dtype":"|O","shape":[1]}]'
        body = len(header).to_bytes(4, "big") + header + bytes(8)
        with pytest.raises(ModelUnreadable, match="objects"):
            unpack(b"waymark eta\0" + FORMAT.to_bytes(2, "big") + zlib.compress(body))


class TestBlend:
    def test_untrained_it_knows_that_longer_ways_are_faster(self) -> None:
        told = Engine().forecast(leg(), BEGAN_S)
        assert told == Engine().forecast(leg(known_way=False), BEGAN_S)
        assert told.p10_s < told.p50_s < told.p90_s
        far = way_of([FROM, (TO[0] + 0.7, TO[1])])
        far_s = Engine().forecast(Leg(FROM, TO, far.length_m, far.path), BEGAN_S).p50_s
        # 55 km of road, not 55 km of streets.
        assert 15.0 < far.length_m / far_s < 25.0

    @pytest.mark.parametrize("known_way", [True, False])
    def test_trips_around_here_teach_it(self, *, known_way: bool) -> None:
        engine = Engine()
        for n in range(30):
            engine.learn(trip(BEGAN_S + 3_600.0 * n, mps=15.0))
        told = engine.forecast(leg(known_way=known_way), BEGAN_S + 2e5)
        assert told.p50_s == pytest.approx(way_of([FROM, TO]).length_m / 15.0, rel=0.1)

    def test_a_lane_knows_more_than_the_trips_around(self) -> None:
        """Whoever drives between these two rests on the way; others on the same road do not."""
        engine = Engine()
        for n in range(20):
            engine.learn(trip(BEGAN_S + 3_600.0 * n, mps=15.0))
            engine.learn_drive(Drive(trip(BEGAN_S + 3_600.0 * n, mps=5.0), LANE))
        others, lane = (engine.forecast(leg(lane=lane), BEGAN_S + 8e4) for lane in (None, LANE))
        assert lane.p50_s > 2 * others.p50_s
        assert lane.trips > others.trips

    def test_a_plan_counts_until_it_has_been_wrong(self) -> None:
        engine, planned = Engine(), leg(lane=LANE)._replace(planned_s=3_000.0)
        told = engine.forecast(planned, BEGAN_S)
        assert told.p50_s == told.prior_s == pytest.approx(3_000.0)
        for n in range(40):
            engine.learn(trip(BEGAN_S + 3_600.0 * n))
            # Planned times are a different fiction each time.
            engine.learn_drive(Drive(trip(BEGAN_S + 3_600.0 * n), LANE, 400.0 + 200.0 * (n % 12)))
        told = engine.forecast(planned, BEGAN_S + 1.5e5)
        assert told.p50_s == pytest.approx(way_of([FROM, TO]).length_m / 10.0, rel=0.15)

    def test_the_range_narrows_where_trips_are_alike(self) -> None:
        engine, rng = Engine(), np.random.default_rng(5)
        wide = engine.forecast(leg(), BEGAN_S)
        for n in range(150):
            engine.learn(trip(BEGAN_S + 3_600.0 * n, mps=10.0 * rng.normal(1.0, 0.03)))
        told = engine.forecast(leg(), BEGAN_S + 6e5)
        assert (told.p90_s - told.p10_s) < 0.5 * (wide.p90_s - wide.p10_s)

    def test_a_forecast_changes_nothing(self) -> None:
        engine = Engine()
        engine.learn(trip())
        before = engine.save()
        for at_s in (BEGAN_S, BEGAN_S - 1e8, BEGAN_S + 1e8):
            told = engine.forecast(leg(), at_s)
            assert np.isfinite(told.p50_s)
        assert engine.save() == before


class TestForgetting:
    def test_the_oldest_trips_go_whole_and_what_stays_is_found(self) -> None:
        nearby = Nearby(most=40)
        for n in range(60):
            starts = [Start((5.0 + n, 52.0), (5.05 + n, 52.0), 5_000.0, 0.0)] * 2
            nearby.learn(starts, np.full(2, 900.0), np.full(2, 600.0), 1_000.0 * n)
        known = [
            nearby.evidence(Start((5.0 + n, 52.0), (5.05 + n, 52.0), 5_000.0, 0.0), 1e6).trips > 0
            for n in range(60)
        ]
        assert known == sorted(known)
        assert 20 <= sum(known) <= 25

    def test_passages_forget_likewise(self) -> None:
        book: Passages[int] = Passages(most=40)
        for n in range(60):
            book.add([n, n + 1_000], np.array([0.0, 60.0]), *np.zeros((3, 2)))
        found = [book.between(n, n + 1_000) is not None for n in range(60)]
        assert found == sorted(found)
        assert 20 <= sum(found) <= 25
        assert book.between(59, 1_059) is not None

    def test_what_was_learned_is_not_learned_twice(self) -> None:
        engine = Engine()
        assert engine.is_new(7)
        assert not engine.is_new(7)
        assert not Engine.load(engine.save()).is_new(7)
