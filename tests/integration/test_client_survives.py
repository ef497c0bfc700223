"""The client where connections are cut, answers lost, servers restarted: nothing lost or twice."""

import asyncio
import itertools
import random
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from tests.integration.api_site import Rows, Site, api_site
from tests.integration.cutting_front import cutting_front
from tests.integration.feed_source import publish
from tests.integration.identity_site import people_of
from tests.services import TIMEOUT_FACTOR, free_port
from tracking.feed import Publisher
from tracking.store.keys import create_key, list_keys, revoke_key
from waymark.client import (
    AsyncWaymark,
    Closed,
    Event,
    FeedState,
    Patience,
    Unauthorized,
    Unavailable,
    Waymark,
)

pytestmark = pytest.mark.long

EVENTS, CUTS = 400, 100
HASTY = Patience(first_s=0.002, longest_s=0.02)
PLACE = {"lon": 5.1, "lat": 52.1}
PLAN = {"id": "s-1", "stops": [{"kind": "delivery", "place": PLACE}]}


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "order service", "service")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


def unlucky(seed: int) -> Iterator[int | None]:
    """So many connections are cut, some in their handshake, some within an event; then none."""
    luck = random.Random(seed)
    yield from (luck.randint(0, 2_000) for _ in range(CUTS))
    yield from itertools.repeat(None)


async def write(rows: Rows, publisher: Publisher) -> None:
    """Events, and amendments of events before them."""
    luck = random.Random(7)
    made = list[uuid.UUID]()
    for i in range(EVENTS):
        amended = made[luck.randrange(len(made))] if i % 10 == 9 else None
        record = rows.event(f"t{i % 5}", event_id=amended)
        if amended is None:
            made.append(uuid.UUID(record.id))
        await publish(publisher, record)
        await asyncio.sleep(0)


async def test_every_event_comes_once_however_often_the_connection_is_cut(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    blocked: list[Event] = []
    awaited: list[Event] = []

    def follow(url: str) -> None:
        with Waymark(url, key=site.key, patience=HASTY) as waymark:
            for event in waymark.feed.events(since=0):
                blocked.append(event)
                if event.cursor == EVENTS:
                    return

    async def follow_impatiently(url: str) -> None:
        luck = random.Random(3)
        async with AsyncWaymark(url, key=site.key, patience=HASTY) as waymark:
            events = waymark.feed.events(since=0)
            while not awaited or awaited[-1].cursor < EVENTS:
                try:
                    # Cancelled in the middle of whatever it is doing.
                    async with asyncio.timeout(luck.expovariate(20)):
                        awaited.append(await anext(events))
                except TimeoutError:
                    pass

    async with (
        asyncio.timeout(60 * TIMEOUT_FACTOR),
        cutting_front(site.url, unlucky(1)) as one,
        cutting_front(site.url, unlucky(2)) as other,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(asyncio.to_thread(follow, one.url))
        group.create_task(follow_impatiently(other.url))
        group.create_task(write(rows, publisher))
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        stored = {event.id: event.revision async for event in waymark.events.list()}
    for told, front in ((blocked, one), (awaited, other)):
        cursors = [event.cursor for event in told]
        assert cursors == sorted(set(cursors))
        assert {event.id: event.revision for event in told} == stored
        assert front.cuts > CUTS / 2


async def test_a_write_whose_answer_is_lost_happens_once(site: Site) -> None:
    """Each of these would be refused, or be there twice, if it happened again."""
    writes: list[Callable[[AsyncWaymark], Awaitable[object]]] = [
        lambda waymark: waymark.shipments.create(PLAN),
        lambda waymark: waymark.shipments.create({"stops": PLAN["stops"]}),
        lambda waymark: waymark.shipments.edit("s-1", {"order_ref": "o-1"}, only_over=1),
        lambda waymark: waymark.shipments.override("s-1", {"act": "arrived", "stop": 0}),
        lambda waymark: waymark.shipments.share("s-1"),
        lambda waymark: waymark.shipments.cancel("s-1"),
        lambda waymark: waymark.pickups.create({"id": "p-1", "place": PLACE}),
        lambda waymark: waymark.pickups.attempt("p-1", {"reason": "closed"}),
        lambda waymark: waymark.assets.create({"id": "truck", "kind": "vehicle"}),
        lambda waymark: waymark.assets.delete("truck"),
    ]
    async with cutting_front(site.url, itertools.cycle([0, None])) as front:
        for write in writes:
            async with AsyncWaymark(front.url, key=site.key, patience=HASTY) as waymark:
                await write(waymark)
        assert front.cuts == len(writes)
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        assert len([one async for one in waymark.shipments.list()]) == 3
        assert (await waymark.shipments.get("s-1")).version == 2
        said = [one.act async for one in waymark.shipments.overrides("s-1")]
        assert said == ["arrived", "cancelled"]
        assert len([one async for one in waymark.shipments.links("s-1")]) == 1
        assert len((await waymark.pickups.get("p-1")).attempts) == 1


async def test_a_stream_outlives_the_api(
    database_url: str, valkey_url: str, rows: Rows, publisher: Publisher
) -> None:
    key = create_key(database_url, "default", "follower", "viewer")
    port = free_port()
    states: list[FeedState] = []
    async with AsyncWaymark(f"http://127.0.0.1:{port}", key=key, patience=HASTY) as waymark:
        events = waymark.feed.events(since=0, on_state=states.append)
        for n in (1, 3, 5):
            rows.event("t1")
            waiting = asyncio.create_task(events.__anext__())
            async with api_site(database_url, valkey_url, key=key, http_port=port):
                assert (await waiting).cursor == n
                record = rows.event("t1")
                await publish(publisher, record)
                assert (await anext(events)).cursor == n + 1
    assert {"away", "catching_up"} <= {state.name for state in states}


async def test_a_database_that_was_brought_back_is_followed_on(
    database_url: str, valkey_url: str, rows: Rows, publisher: Publisher
) -> None:
    key = create_key(database_url, "default", "follower", "viewer")
    port = free_port()
    states: list[FeedState] = []
    async with AsyncWaymark(f"http://127.0.0.1:{port}", key=key, patience=HASTY) as waymark:
        events = waymark.feed.events(since=0, on_state=states.append)
        async with api_site(database_url, valkey_url, key=key, http_port=port):
            made = [rows.event("t1") for _ in range(5)]
            told = [(await anext(events)).id for _ in made]
        rows.execute("DELETE FROM event WHERE cursor > 3; UPDATE tenant SET feed_cursor = 3")
        unheard = rows.event("t1")
        async with api_site(database_url, valkey_url, key=key, http_port=port):
            told.append((await anext(events)).id)
            last = rows.event("t1")
            await publish(publisher, last)
            told.append((await anext(events)).id)
            assert events.cursor == 5
    assert told == [*(one.id for one in made), unheard.id, last.id]
    assert [state.detail for state in states if state.name == "gap"] == [
        "cursor_ahead: we know 5, it 4"
    ]


async def test_tokens_are_renewed_when_they_are_refused_or_about_to_end(
    database_url: str,
    valkey_url: str,
    rows: Rows,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever is shown ends within the hour, so each is asked to be replaced at once.
    monkeypatch.setattr("api.feed.session._EXPIRING_S", 3_600.0)
    async with people_of(database_url, valkey_url) as people:
        await people.join("ann@acme.example")
        brought: list[str] = []

        async def token() -> str:
            brought.append("none" if not brought else await fresh())
            return brought[-1]

        async def fresh() -> str:
            return str((await people.sign_in("ann@acme.example"))["access_token"])

        async with AsyncWaymark(people.site.url, token=token, patience=HASTY) as waymark:
            assert [one async for one in waymark.devices.list()] == []
            assert len(brought) == 2
            events = waymark.feed.events(since=0)
            await publish(publisher, rows.event("t1"))
            assert (await anext(events)).cursor == 1
            await publish(publisher, rows.event("t1"))
            assert (await anext(events)).cursor == 2
            assert len(brought) == 3


async def test_a_key_that_was_revoked_ends_a_stream(
    site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.feed.session._GUARD_S", 0.05)
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    key = create_key(database_url, "default", "leaver", "viewer")
    async with AsyncWaymark(site.url, key=key, patience=HASTY) as waymark:
        states = asyncio.Queue[str]()
        events = waymark.feed.events(on_state=lambda state: states.put_nowait(state.name))
        waiting = asyncio.create_task(events.__anext__())
        while await states.get() != "live":
            pass
        [leaver] = [one for one in list_keys(database_url, "default") if one.name == "leaver"]
        revoke_key(database_url, leaver.id)
        with pytest.raises(Unauthorized):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_nobody_there_and_nobody_answering_are_told_after_all_tries() -> None:
    patience = Patience(tries=2, first_s=0.001)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_port = silent.getsockname()[1]
        for port, timeout_s in ((free_port(), 5.0), (silent_port, 0.05)):
            url = f"http://127.0.0.1:{port}"
            async with AsyncWaymark(
                url, key="k", patience=patience, timeout_s=timeout_s
            ) as waymark:
                with pytest.raises(Unavailable, match="GET /v1/shipments/s-1: "):
                    await waymark.shipments.get("s-1")


async def test_another_thread_ends_a_stream_and_a_client(site: Site) -> None:
    waits = threading.Event()

    def told(state: FeedState) -> None:
        if state.name in {"live", "away"}:
            waits.set()

    def follow(url: str) -> list[Event]:
        with Waymark(url, key=site.key, patience=Patience(first_s=600, longest_s=600)) as waymark:
            events = waymark.feed.events(on_state=told)

            def end() -> None:
                waits.wait()
                events.close()

            ender = threading.Thread(target=end)
            ender.start()
            got = list(events)
            ender.join()
            waits.clear()
            return got

    def ask(url: str) -> None:
        with Waymark(url, key=site.key, patience=Patience(first_s=600, longest_s=600)) as waymark:
            threading.Timer(0.1, waymark.close).start()
            waymark.devices.get("t1")

    nowhere = f"http://127.0.0.1:{free_port()}"
    async with asyncio.timeout(20 * TIMEOUT_FACTOR):
        # While it waits for an event, and while it waits to connect again.
        for url in (site.url, nowhere):
            assert await asyncio.to_thread(follow, url) == []
        with pytest.raises(Closed):
            await asyncio.to_thread(ask, nowhere)


async def test_a_stream_ends_with_its_client_and_from_another_task(site: Site) -> None:
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        live = asyncio.Queue[str]()
        first, second = (
            waymark.feed.events(on_state=lambda state: live.put_nowait(state.name))
            for _ in range(2)
        )
        waiting = [asyncio.create_task(anext(one, None)) for one in (first, second)]
        for _ in waiting:
            while await live.get() != "live":
                pass
        await first.aclose()
        assert await waiting[0] is None
    assert await waiting[1] is None
