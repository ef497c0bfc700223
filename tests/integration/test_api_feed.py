"""The websocket feed: who may listen, what arrives, and that nothing is missing or double."""

import asyncio
import random
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.feed import dialogue, session
from tests.integration.api_site import Rows, Site, api_site, later
from tests.integration.feed_client import FeedClient, feed_client
from tests.integration.feed_source import closed_slow, publish, publish_position
from tests.services import TIMEOUT_FACTOR, Postgres, Valkey
from tracking.feed import EventRecord, Publisher, encode_event, events_channel
from tracking.store.keys import create_key, list_keys, revoke_key
from tracking.store.tenants import create_tenant

TCP_CLOSE = 7  # as TCP_INFO names states


async def close_code(client: FeedClient) -> int:
    """Read to the end; the code of the server's close frame."""
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 -- whichever read meets it
        while True:
            await client.receive(20)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


class TestWhoMayListen:
    async def test_a_key_in_the_header_is_enough(self, site: Site) -> None:
        async with feed_client(site) as client:
            assert (await client.receive())["type"] == "ready"

    async def test_a_key_in_the_first_message_is_enough(self, site: Site) -> None:
        async with feed_client(site, header=False) as client:
            assert (await client.receive())["type"] == "ready"

    async def test_a_wrong_key_is_closed_with_4401(self, site: Site) -> None:
        async with feed_client(site, header=False, token="wmk_" + "x" * 43) as client:
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_any_other_first_message_is_closed_with_4401(self, site: Site) -> None:
        site.key = "not a key at all"
        async with feed_client(site) as client:
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_silence_is_closed_with_4401(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialogue, "_AUTH_WITHIN_S", 0.05)
        site.key = ""
        async with feed_client(site) as client:
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_a_revoked_key_ends_an_open_feed(
        self, site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_GUARD_S", 0.05)
        monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
        async with feed_client(site) as client:
            await client.subscribe()
            revoke_key(database_url, list_keys(database_url)[0].id)
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_a_newer_credential_keeps_an_open_feed(
        self, site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch, rows: Rows
    ) -> None:
        monkeypatch.setattr(session, "_GUARD_S", 0.05)
        monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
        async with feed_client(site) as client:
            await client.subscribe(since=0)
            newer = create_key(database_url, "default", "newer")
            await client.send(op="auth", token=newer)
            await client.settle()
            revoke_key(database_url, list_keys(database_url)[0].id)
            await client.settle()
            rows.event("still heard")
            assert await client.events(1) == [1]
            revoke_key(database_url, list_keys(database_url)[1].id)
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_a_newer_credential_must_be_good_and_of_the_same_tenant(
        self, site: Site, database_url: str
    ) -> None:
        create_tenant(database_url, "other")
        for token in ("wmk_wrong", create_key(database_url, "other", "theirs")):
            async with feed_client(site) as client:
                await client.subscribe()
                await client.send(op="auth", token=token)
                assert await close_code(client) == session.UNAUTHORIZED

    async def test_another_tenant_hears_nothing(
        self, site: Site, rows: Rows, publisher: Publisher, database_url: str
    ) -> None:
        with Rows(database_url, "other") as others:
            others.device("theirs")
            key = create_key(database_url, "other", "test")
            async with (
                feed_client(site) as mine,
                feed_client(site, header=False, token=key) as theirs,
            ):
                await mine.subscribe(since=0)
                await theirs.subscribe(since=0)
                await publish(publisher, others.event("theirs"))
                await publish_position(publisher, "theirs", 6.0, 1, tenant="other")
                assert await theirs.events(1) == [1]
                await theirs.next("positions")
                await mine.settle()
                assert mine.of("event") == mine.of("positions") == []
                assert [s["positions"] for s in mine.of("snapshot")] == [[]]
                rows.event("mine")


class TestWhatArrives:
    async def test_the_snapshot_tells_where_everything_is_and_from_which_cursor_on(
        self, site: Site, rows: Rows
    ) -> None:
        rows.device("t1", 5.0)
        rows.device("t2", 6.0)
        rows.device("unseen", None)
        rows.event("t1")
        async with feed_client(site) as client:
            await client.send(op="subscribe", id="map")
            snapshot = await client.next("snapshot")
        assert snapshot["id"] == "map"
        assert snapshot["cursor"] == 1
        assert snapshot["more"] is False
        assert [(p["device"], p["lon"]) for p in snapshot["positions"]] == [
            ("t1", 5.0),
            ("t2", 6.0),
        ]

    async def test_a_large_snapshot_comes_in_parts(
        self, site: Site, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_SNAPSHOT_PAGE", 2)
        for name in "abcde":
            rows.device(name)
        async with feed_client(site) as client:
            await client.subscribe()
        parts = client.of("snapshot")
        assert [p["more"] for p in parts] == [True, True, False]
        assert [p["device"] for part in parts for p in part["positions"]] == list("abcde")

    async def test_positions_arrive_conflated_and_never_go_back_in_time(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        rows.device("t1", 5.0)
        async with feed_client(site) as client:
            await client.subscribe()
            for seconds, lon in [(1, 5.1), (3, 5.3), (2, 5.2)]:
                await publish_position(publisher, "t1", lon, seconds)
            await publish_position(publisher, "t1", 99.0, 4, quality=7)
            await client.settle()
        told = [u["lon"] for frame in client.of("positions") for u in frame["updates"]]
        assert told[-1] == 5.3
        assert told == sorted(told)

    async def test_nothing_older_than_the_snapshot_follows_it(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        rows.device("t1", 5.0, fix_time=later(10))
        async with feed_client(site) as client:
            await client.subscribe()
            await publish_position(publisher, "t1", 4.0, 5)
            await publish_position(publisher, "t2", 7.0, 5)
            await client.settle()
        told = [u["lon"] for frame in client.of("positions") for u in frame["updates"]]
        assert 7.0 in told
        assert 4.0 not in told

    async def test_filters_limit_positions_and_events(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        async with feed_client(site) as client:
            await client.subscribe("d", filter={"devices": ["t1"]})
            await client.subscribe("b", filter={"bbox": [6.5, 50, 7.5, 54]})
            await client.subscribe("t", filter={"types": ["fence.*", "trip.ended"]})
            await client.subscribe("f", filter={"fences": ["depot"], "positions": False})
            await publish_position(publisher, "t1", 5.0, 1)
            await publish_position(publisher, "t2", 7.0, 1)
            await publish(
                publisher,
                rows.event("t1", "trip.started", data={"lon": 5.0, "lat": 52.0}),
                rows.event("t2", "fence.entered", data={"lon": 7.0, "lat": 52.0, "fence": "depot"}),
                rows.event("t3", "trip.ended", data={"lon": "no number"}),
            )
            await client.settle()
        positions = {
            name: [
                u["device"] for f in client.of("positions") if f["id"] == name for u in f["updates"]
            ]
            for name in "dbtf"
        }
        events = {
            name: [f["event"]["subject"] for f in client.of("event") if f["id"] == name]
            for name in "dbtf"
        }
        assert positions == {"d": ["t1"], "b": ["t2"], "t": ["t1", "t2"], "f": []}
        assert events == {"d": ["t1"], "b": ["t2", "t3"], "t": ["t2", "t3"], "f": ["t2"]}

    async def test_heartbeats_tell_how_far_a_client_is_that_hears_nothing(
        self,
        database_url: str,
        valkey_url: str,
        rows: Rows,
        publisher: Publisher,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("api.feed.fanout._HEARTBEAT_S", 0.05)
        async with api_site(database_url, valkey_url) as site, feed_client(site) as client:
            assert "cursor" not in await client.next("heartbeat")
            await client.subscribe("deaf", filter={"types": ["trip.ended"]})
            await publish(publisher, rows.event("t1"), rows.event("t1"))
            while (beat := await client.next("heartbeat")).get("cursor") != 2:
                pass
            assert beat["id"] == "deaf"
            assert client.of("event") == []

    async def test_only_large_messages_are_compressed_and_only_for_who_offers(
        self, site: Site, rows: Rows
    ) -> None:
        for n in range(200):
            rows.device(f"t{n:03}")
        received = {}
        for offer in ("deflate", None):
            async with connect(
                site.feed_url,
                additional_headers=site.headers,
                compression=offer,
                proxy=None,
                max_size=None,
            ) as raw:
                with counted(raw) as pieces:
                    client = FeedClient(raw)
                    await client.subscribe()
                assert len(client.of("snapshot")[0]["positions"]) == 200
                received[offer] = sum(pieces)
        assert received["deflate"] < received[None] / 4

    async def test_an_ended_subscription_is_silent_and_its_name_free(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        async with feed_client(site) as client:
            await client.subscribe("s")
            await client.send(op="unsubscribe", id="s")
            await publish(publisher, rows.event("t1"))
            await client.settle()
            assert client.of("event") == []
            await client.subscribe("s", since=0)
            assert await client.events(1) == [1]

    @pytest.mark.parametrize(
        ("message", "field"),
        [
            pytest.param("{", None, id="not json"),
            pytest.param("[]", None, id="not an object"),
            pytest.param('{"op":"dance"}', "op", id="unknown op"),
            pytest.param('{"op":"subscribe"}', "id", id="no id"),
            pytest.param(
                '{"op":"subscribe","id":"x","filter":{"colour":1}}', "colour", id="unknown"
            ),
            pytest.param('{"op":"subscribe","id":"x","since":-1}', "since", id="negative cursor"),
            pytest.param('{"op":"subscribe","id":"x","since":"1"}', "since", id="cursor as text"),
            pytest.param(
                '{"op":"subscribe","id":"x","filter":{"bbox":[1,2,3]}}',
                "filter.bbox",
                id="short box",
            ),
            pytest.param(
                '{"op":"subscribe","id":"x","filter":{"bbox":[1,60,3,50]}}',
                "bbox",
                id="upside down",
            ),
            pytest.param('{"op":"subscribe","id":"taken"}', "id", id="name in use"),
            pytest.param('{"op":"unsubscribe","id":"x"}', "id", id="unknown subscription"),
        ],
    )
    async def test_a_wrong_message_is_answered_and_the_feed_goes_on(
        self, site: Site, message: str, field: str | None
    ) -> None:
        async with feed_client(site) as client:
            await client.subscribe("taken")
            await client.socket.send(message)
            error = await client.next("error")
            assert error["code"] == "invalid"
            assert error["field"] == field
            await client.settle()

    async def test_a_client_that_only_makes_mistakes_is_closed(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialogue, "_MAX_MISTAKES", 3)
        async with feed_client(site) as client:
            for _ in range(4):
                await client.socket.send("nonsense")
            assert await close_code(client) == session.POLICY_VIOLATION


class TestNothingMissingNothingDouble:
    async def test_since_brings_the_past_then_the_present(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        for _ in range(5):
            rows.event("t1")
        async with feed_client(site) as client:
            await client.subscribe(since=2)
            assert await client.events(3) == [3, 4, 5]
            await publish(publisher, rows.event("t1"))
            assert await client.events(1) == [6]

    async def test_a_hole_between_live_events_is_filled_in_order(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        async with feed_client(site) as client:
            await client.subscribe()
            first, _, third = rows.event("a"), rows.event("b"), rows.event("c")
            await publish(publisher, first, third, first)
            assert await client.events(3) == [1, 2, 3]
            await client.settle()
        assert len(client.of("event")) == 3

    async def test_an_amended_event_comes_once_more_at_its_new_cursor(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        event_id = uuid.uuid4()
        rows.event("a", event_id=event_id)
        rows.event("b")
        amended = rows.event("a", event_id=event_id, data={"more": 1})
        async with feed_client(site) as client:
            await client.subscribe(since=0)
            assert await client.events(2) == [2, 3]
            assert client.of("event")[-1]["event"]["revision"] == 2
            await publish(publisher, amended)
            await client.settle()
        assert len(client.of("event")) == 2

    async def test_a_cursor_never_given_out_is_answered_with_a_gap(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        rows.event("a")
        async with feed_client(site) as client:
            await client.subscribe(since=1_000)
            gap = await client.next("gap")
            assert gap["cursor"] == 1
            assert gap["reason"] == "cursor_ahead"
            await publish(publisher, rows.event("a"))
            assert await client.events(1) == [2]

    async def test_an_event_of_nowhere_stops_nothing(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        real = rows.event("a")
        async with feed_client(site) as client:
            await client.subscribe()
            ghost = msgspec.structs.replace(real, cursor=500)
            await publish(publisher, ghost, real)
            await publisher.publish([(events_channel("default"), b"not json")])
            await publish(publisher, rows.event("a"))
            assert await client.events(1) == [2]

    async def test_clients_that_come_and_go_while_events_are_shuffled_and_lost_get_each_once(
        self, site: Site, rows: Rows, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_CATCH_UP_PAGE", 7)
        monkeypatch.setattr("api.feed.fanout._RECHECK_S", 0.2)
        total = 400
        luck = random.Random(20260308)

        async def write() -> None:
            held: list[EventRecord] = []
            for _ in range(total):
                held.append(rows.event("t1"))
                if luck.random() < 0.3:
                    luck.shuffle(held)
                    await publish(publisher, *(e for e in held if luck.random() > 0.1))
                    held = []
                await asyncio.sleep(luck.random() * 0.004)

        async def follow(patience: int) -> list[int]:
            seen: list[int] = []
            while not seen or seen[-1] < total:
                async with feed_client(site) as client:
                    await client.send(op="subscribe", id="s", since=seen[-1] if seen else 0)
                    for _ in range(patience):
                        seen += await client.events(1)
                        if seen[-1] == total:
                            break
            return seen

        async with asyncio.timeout(60):
            writing = asyncio.create_task(write(), name="test.write")
            results = await asyncio.gather(follow(13), follow(101), follow(total))
            await writing
        assert list(results) == [list(range(1, total + 1))] * 3


class TestRedisAway:
    async def test_events_and_positions_go_on_from_the_database_and_return_to_redis(
        self, database_url: str, rows: Rows
    ) -> None:
        rows.device("t1", 5.0)
        with Valkey() as valkey:
            async with (
                api_site(database_url, valkey.url) as site,
                feed_client(site) as client,
                Publisher(valkey.url) as publisher,
            ):
                await client.subscribe()
                await publish(publisher, rows.event("t1"))
                assert await client.events(1) == [1]

                valkey.kill()
                assert (await client.next("status"))["live"] is False
                rows.event("t1")
                rows.event("t1")
                rows.move("t1", 5.5, 52.0, later(60))
                assert await client.events(2) == [2, 3]
                # The first look into the database may tell the snapshot's place once more.
                while (await client.next("positions"))["updates"][0]["lon"] != 5.5:
                    pass
                assert (await site.get("/v1/health/ready")).json()["status"] == "degraded"

                lost = rows.event("t1")
                assert not await publisher.publish(
                    [(events_channel("default"), encode_event(lost))]
                )
                valkey.start()
                status = await client.next("status", timeout_s=20)
                assert status["live"] is True
                await until(lambda: publisher.up)
                await publish(publisher, rows.event("t1"))
                await client.settle()
                assert [f["cursor"] for f in client.of("event")] == [1, 2, 3, 4, 5]

    async def test_what_a_cut_off_publisher_did_not_say_is_found_in_time(
        self, site: Site, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.feed.fanout._RECHECK_S", 0.1)
        async with feed_client(site) as client:
            await client.subscribe()
            rows.event("t1")
            assert await client.events(1) == [1]


class TestDatabaseAway:
    async def test_a_new_client_is_sent_away_and_an_old_one_misses_nothing(
        self, own_server: Postgres, site: Site, database_url: str
    ) -> None:
        async with feed_client(site) as client:
            await client.subscribe()
            own_server.stop()
            try:
                site.key = "wmk_" + "y" * 43
                async with feed_client(site) as stranger:
                    assert await close_code(stranger) == session.TRY_AGAIN_LATER
            finally:
                own_server.start()
            with Rows(database_url) as again:
                again.event("t1")
            assert await client.events(1) == [1]


class TestSlowClients:
    async def test_one_that_does_not_read_is_closed_with_1013_and_resumes_without_loss(
        self, site: Site, rows: Rows, publisher: Publisher
    ) -> None:
        padding = "x" * 20_000
        total = 1_000
        async with feed_client(site) as slow, feed_client(site) as quick:
            slow.socket.transport.pause_reading()
            await quick.subscribe()
            await slow.send(op="subscribe", id="s")
            while await closed_slow(site) == 0:
                assert rows.event("t1", data={"p": padding}).cursor <= total
                last = rows.event("t1", data={"p": padding})
                await publish(publisher, last)
                assert len(await quick.events(2)) == 2
            slow.socket.transport.resume_reading()
            assert await close_code(slow) == session.TRY_AGAIN_LATER
            seen = [f["cursor"] for f in slow.of("event")]
            async with feed_client(site) as resumed:
                await resumed.subscribe(since=seen[-1])
                seen += await resumed.events(last.cursor - seen[-1])
        assert seen == list(range(seen[0], last.cursor + 1))

    async def test_one_that_never_reads_again_is_let_go(
        self, site: Site, rows: Rows, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.feed.socket.ABORT_AFTER_S", 0.2)
        async with feed_client(site) as slow:
            slow.socket.transport.pause_reading()
            await slow.send(op="subscribe", id="s")
            big = {"p": "x" * 100_000}
            while await closed_slow(site) == 0:
                await publish(publisher, rows.event("t1", data=big))
            # The kernel tells of the reset although nothing was read.
            sock = slow.socket.transport.get_extra_info("socket")
            await until(lambda: tcp_state(sock) == TCP_CLOSE)
            slow.socket.transport.abort()


@contextmanager
def counted(client: ClientConnection) -> Iterator[list[int]]:
    """The sizes of what the client's socket reads meanwhile."""
    sizes, take = list[int](), client.data_received

    def count(data: bytes) -> None:
        sizes.append(len(data))
        take(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "data_received", count)
        yield sizes


def tcp_state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20 * TIMEOUT_FACTOR):
        while not condition():  # noqa: ASYNC110 -- nobody else would set an event
            await asyncio.sleep(0.02)
