"""Ways by road: asked seldom, kept, and never in the way of whoever forecasts.

The provider is a stand-in (`road_stand_in`); the database is real.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import cast

import pytest

from ingest.forecasts import Forecaster
from ingest.roads import Ahead, RoadBook, Wanted, open_roads
from ingest.roads.book import OFF_M
from tests.integration.api_site import Rows
from tests.integration.hooks_rig import eventually, until
from tests.integration.ingest_rig import START_US, pos
from tests.integration.road_stand_in import StandIn, broken, by, held, metres, no_way, stand_in, way
from tests.integration.test_shipments import Office, drive
from tests.services import free_port
from tracking.errors import RoadsUnavailable, SettingsError
from tracking.eta.nearby import Place
from tracking.roads import RoadSource
from tracking.store.connection import Connection, connect
from tracking.store.erasures import erase_device
from tracking.store.road_paths import forget_ways
from tracking.times import from_us

TENANT = 1
HERE, THERE = (5.10, 52.05), (5.16, 52.08)
# To the south of the road along which the shipment drives.
BEND = (5.07, -0.03)
METRES = metres(way([HERE, THERE]))


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with stand_in() as server:
        yield server


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, name="test") as conn:
        yield conn


@pytest.fixture
def shipment(database_url: str) -> Iterator[int]:
    """The number of a shipment that a van has carried, whose forecast is not due for an hour."""
    with Rows(database_url) as rows:
        assert rows.tenant_id == TENANT
        made = rows.one(
            "INSERT INTO shipment (tenant_id, id, plan, devices) "
            "VALUES (1, 's1', '{}', ARRAY[%s::bigint]) RETURNING number",
            [rows.device("van")],
        )
        rows.execute(
            "INSERT INTO shipment_eta (shipment_number, tenant_id, next_at) "
            "SELECT number, 1, now() + interval '1 hour' FROM shipment"
        )
        yield cast("int", made)


@asynccontextmanager
async def book(database_url: str, server: StandIn) -> AsyncIterator[RoadBook]:
    async with open_roads(RoadSource("valhalla", server.url), "truck") as roads:
        made = RoadBook(roads, database_url, per_s=200)
        keeping = asyncio.create_task(made.keep())
        try:
            yield made
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


def moving(shipment: int, here: Place = HERE, **more: Place) -> Wanted:
    return Wanted(TENANT, here, THERE, under_way=(shipment, 1), **more)


async def known(book: RoadBook, conn: Connection, one: Wanted) -> Ahead | None:
    return (await book.known(conn, [one]))[0]


async def found(book: RoadBook, conn: Connection, one: Wanted) -> Ahead:
    """What is known once it was asked for."""
    ahead = await eventually(lambda: known(book, conn, one), lambda told: told, "a way")
    return cast("Ahead", ahead)


async def a_minute_later(conn: Connection, minutes: float = 1.0) -> None:
    await conn.execute(
        "UPDATE road_path SET not_before = not_before - %s * interval '1 minute'", (minutes,)
    )


def count(book: RoadBook, result: str) -> float:
    return (
        book.metrics.registry.get_sample_value("waymark_roads_asked_total", {"result": result})
        or 0.0
    )


async def test_a_way_is_asked_for_behind_the_back_of_who_wants_it_and_then_kept(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    async with book(database_url, server) as roads:
        assert await known(roads, conn, moving(shipment)) is None
        ahead = await found(roads, conn, moving(shipment))
        assert ahead.left_m == pytest.approx(METRES, rel=0.005)
        assert ahead.way.length_m == pytest.approx(METRES, rel=0.005)
        again = await known(roads, conn, moving(shipment))
        assert again is not None
        assert again.way is ahead.way
    assert server.asked == [[HERE, THERE]]
    assert server.costings == ["truck"]
    due = await conn.execute("SELECT next_at <= now() FROM shipment_eta")
    assert await due.fetchone() == (True,), "the forecast is made anew with it"
    # Kept in the database: another monitor, or this one after a restart, asks nobody.
    async with book(database_url, server) as roads:
        assert await known(roads, conn, moving(shipment)) is not None
    assert len(server.asked) == 1


async def test_what_is_left_shrinks_along_the_way_and_leaving_it_asks_anew(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    async with book(database_url, server) as roads:
        await found(roads, conn, moving(shipment))
        places = [(5.10 + i * 0.01, 52.0505) for i in range(6)]
        left = []
        for place in places:
            ahead = await known(roads, conn, moving(shipment, place))
            assert ahead is not None
            assert 0 < ahead.beside_m < OFF_M
            left.append(ahead.left_m)
        steps = [before - after for before, after in pairwise(left)]
        assert steps == pytest.approx([685] * 5, abs=5)
        await a_minute_later(conn)
        beside, lost = (5.13, 52.054), (5.13, 52.1)
        ahead = await known(roads, conn, moving(shipment, beside))
        assert ahead is not None, "until the new one is there"
        assert OFF_M < ahead.beside_m < 1_000
        await until(lambda: len(server.asked) == 2, "the way from beside it")
        ahead = await eventually(
            lambda: known(roads, conn, moving(shipment, beside)),
            lambda told: told is not None and told.beside_m < 1,
            "it is kept",
        )
        assert ahead is not None
        assert ahead.left_m == pytest.approx(metres(way([beside, THERE])), rel=0.005)
        # Far from it the old way tells less than a straight line.
        assert await known(roads, conn, moving(shipment, lost)) is None
    assert server.asked == [[HERE, THERE], [beside, THERE]], "not within the same minute"


async def test_between_stops_a_way_is_asked_for_once_and_serves_who_sets_out(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    async with book(database_url, server) as roads:
        between = Wanted(TENANT, HERE, THERE)
        whole = await found(roads, conn, between)
        both = await roads.known(conn, [between, moving(shipment, (5.12, 52.05), since=HERE)])
        assert [ahead and ahead.way for ahead in both] == [whole.way] * 2
        assert both[1] is not None
        assert both[1].left_m == pytest.approx(METRES - 1370, abs=15)
        # What is at its stop needs no way there.
        assert await known(roads, conn, moving(shipment, (5.1601, 52.08))) is None
        other = Wanted(TENANT, THERE, HERE)
        await found(roads, conn, other)
    assert server.asked == [[HERE, THERE], [THERE, HERE]]


async def test_a_stop_that_was_moved_has_another_way(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    moved = (5.2, 52.08)
    async with book(database_url, server) as roads:
        await found(roads, conn, moving(shipment))
        await a_minute_later(conn)
        wanted = Wanted(TENANT, HERE, moved, under_way=(shipment, 1))
        assert await known(roads, conn, wanted) is None
        ahead = await found(roads, conn, wanted)
        assert ahead.left_m == pytest.approx(metres(way([HERE, moved])), rel=0.005)


async def test_where_there_is_no_way_nobody_asks_again_for_an_hour(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    server.answer = no_way
    async with book(database_url, server) as roads:
        await known(roads, conn, moving(shipment))
        await until(lambda: count(roads, "none") == 1, "an answer")
        await a_minute_later(conn, 58)
        assert await known(roads, conn, moving(shipment)) is None
        assert not roads._wanted
        await a_minute_later(conn, 2)
        await known(roads, conn, moving(shipment))
        await until(lambda: count(roads, "none") == 2, "another")


async def test_an_answer_that_takes_its_time_keeps_nobody_waiting_and_no_transaction_open(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    answered = asyncio.Event()
    server.answer = held(answered)
    async with book(database_url, server) as roads:
        await known(roads, conn, moving(shipment))
        await until(lambda: server.asked, "the question")
        assert await known(roads, conn, moving(shipment)) is None
        state = await conn.execute(
            "SELECT state FROM pg_stat_activity WHERE application_name = 'waymark-roads' "
            "AND datname = current_database()"
        )
        assert await state.fetchall() == [("idle",)]
        answered.set()
        await found(roads, conn, moving(shipment))


async def test_a_provider_that_fails_is_left_alone_and_costs_only_the_roads(
    database_url: str, conn: Connection, server: StandIn
) -> None:
    server.answer = broken
    pairs = [Wanted(TENANT, HERE, (5.2 + i * 0.01, 52.08)) for i in range(40)]
    async with book(database_url, server) as roads:
        assert await roads.known(conn, pairs) == [None] * 40
        await until(lambda: roads._breaker.open, "it counts as away")
        await until(lambda: not roads._breaker._trying, "nobody is on trial")
        asked = len(server.asked)
        # At most those that were under way when the third failed.
        assert asked <= 7
        assert roads.metrics.registry.get_sample_value("waymark_roads_open") == 1
        assert await roads.known(conn, pairs) == [None] * 40
    async with stand_in() as well, book(database_url, well) as roads:
        await a_minute_later(conn)
        await roads.known(conn, pairs)
        await until(lambda: count(roads, "found") == 40, "all of them")
        assert all(await roads.known(conn, pairs))


async def test_a_provider_that_comes_back_is_asked_again(
    database_url: str, conn: Connection, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.roads.breaker._FIRST_S", 0.02)
    server.answer = broken
    pairs = [Wanted(TENANT, HERE, (5.2 + i * 0.01, 52.08)) for i in range(10)]
    async with book(database_url, server) as roads:
        await roads.known(conn, pairs)
        await until(lambda: roads._breaker.open, "it counts as away")
        async with stand_in() as well:
            server.answer = well.answer
            await until(lambda: count(roads, "found") > 0, "it is back")
            await until(lambda: not roads._wanted, "the rest")
        assert not roads._breaker.open
        assert roads.metrics.registry.get_sample_value("waymark_roads_open") == 0


async def test_of_two_monitors_one_asks(
    database_url: str, conn: Connection, server: StandIn
) -> None:
    async with book(database_url, server) as one, book(database_url, server) as two:
        pairs = [Wanted(TENANT, HERE, (5.2 + i * 0.01, 52.08)) for i in range(20)]
        await asyncio.gather(one.known(conn, pairs), _elsewhere(database_url, two, pairs))
        await eventually(lambda: one.known(conn, pairs), all, "all ways")
    assert len(server.asked) == 20


async def _elsewhere(database_url: str, book: RoadBook, pairs: list[Wanted]) -> None:
    async with await connect(database_url, name="elsewhere") as conn:
        await book.known(conn, pairs)


async def test_where_a_device_was_is_forgotten_with_it_and_after_a_day(
    database_url: str, conn: Connection, server: StandIn, shipment: int
) -> None:
    between = Wanted(TENANT, HERE, THERE)
    async with book(database_url, server) as roads:
        for one in (moving(shipment), between):
            await found(roads, conn, one)
        await erase_device(conn, TENANT, "van", None)
        left = await conn.execute("SELECT shipment_number FROM road_path")
        assert await left.fetchall() == [(None,)]
        await found(roads, conn, moving(shipment))
    await a_minute_later(conn, 60 * 24)
    assert await forget_ways(conn) == 0
    await a_minute_later(conn, 2)
    assert await forget_ways(conn) == 1
    await a_minute_later(conn, 60 * 24 * 30)
    assert await forget_ways(conn) == 1


@pytest.mark.parametrize("kind", ["valhalla", "osrm"])
async def test_both_providers_are_asked_as_their_documents_say(server: StandIn, kind: str) -> None:
    source = RoadSource(kind, server.url)  # type: ignore[arg-type]  # one of two literals
    async with open_roads(source, "auto") as roads:
        path = await roads.path([HERE, (5.12, 52.06), THERE])
        assert path is not None
        assert path.points == [(round(x, 6), round(y, 6)) for x, y in way(server.asked[0])]
        server.answer = no_way
        assert await roads.path([HERE, THERE]) is None
        server.answer = broken
        with pytest.raises(RoadsUnavailable, match="HTTP 502"):
            await roads.path([HERE, THERE])


async def test_a_provider_that_is_not_there_is_a_named_error() -> None:
    nowhere = RoadSource("valhalla", f"http://127.0.0.1:{free_port()}")
    async with open_roads(nowhere, "auto") as roads:
        with pytest.raises(RoadsUnavailable, match="Cannot connect"):
            await roads.path([HERE, THERE])
        with pytest.raises(RoadsUnavailable, match="Cannot connect"):
            await roads.introduce()


async def test_tiles_that_are_not_there_are_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"^WAYMARK_ROADS: [^\n]+$"):
        async with open_roads(RoadSource("valhalla-tiles", "/nowhere"), "auto"):
            pass


async def test_a_forecast_goes_by_the_roads_once_they_are_known_and_without_them_until_then(
    database_url: str, server: StandIn
) -> None:
    kept = "SELECT DISTINCT path FROM eta_forecast ORDER BY 1"
    async with Office(database_url) as office, book(database_url, server) as roads:
        await office.feed([pos("gps", -600, 4.9, 0.0)])
        await office.plan()
        await office.attach("shipment/s1", "device/gps")
        await office.feed(drive("gps", end=60))
        await office.settle()
        forecaster = Forecaster(900.0, roads=roads)
        moment = from_us(START_US + 600_000_000)
        server.answer = broken
        await forecaster.turn(office.conn, moment)
        await until(lambda: count(roads, "failed") > 0, "the question")
        assert await office.rows(kept) == [("detour",)]
        server.answer = by(BEND)
        await a_minute_later(office.conn)
        await office.feed(drive("gps", 60, 61))
        await office.settle()
        await forecaster.turn(office.conn, moment + timedelta(seconds=130))
        await until(lambda: count(roads, "found") > 0, "the way")
        # Nothing new was heard of it; that its way is known is news.
        due = "SELECT next_at <= now() FROM shipment_eta"
        await eventually(lambda: office.rows(due), lambda rows: rows == [(True,)], "it is due")
        await forecaster.turn(office.conn, moment + timedelta(seconds=131))
        [(path, remaining_m)] = await office.rows(
            "SELECT estimate ->> 'path', (estimate ->> 'remaining_m')::float8 FROM shipment_eta"
        )
        [(reason,)] = await office.rows(
            "SELECT data ->> 'reason' FROM event WHERE type = 'shipment.eta_changed' "
            "ORDER BY cursor DESC LIMIT 1"
        )
    here, there = server.asked[-1]
    assert there == (5.1, 0.0)
    assert path == "roads"
    # As far as it is, less the radius of the shop.
    assert remaining_m == pytest.approx(metres([here, BEND, there]) - 150, rel=0.01)
    assert reason == "new_path"
