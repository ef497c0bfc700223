"""Both ends of Redis, with a real server that comes and goes."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.services import TIMEOUT_FACTOR, Valkey, free_port
from tracking.errors import SettingsError
from tracking.feed import Delivery, Lost, Publisher, Subscribed, Subscriber, ping
from tracking.feed.subscriber import Received


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of the test's own, to be killed."""
    with Valkey() as server:
        yield server


class Listener:
    """Reads a subscriber in a task, as the hub does."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.received: asyncio.Queue[Received] = asyncio.Queue()

    async def read(self) -> None:
        async for received in self.subscriber:
            self.received.put_nowait(received)

    async def next(self) -> Received:
        async with asyncio.timeout(20 * TIMEOUT_FACTOR):
            return await self.received.get()


@asynccontextmanager
async def listening(url: str, *channels: str) -> AsyncIterator[Listener]:
    listener = Listener(Subscriber(url, channels))
    task = asyncio.create_task(listener.read(), name="test.listen")
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_up(publisher: Publisher) -> None:
    async with asyncio.timeout(20 * TIMEOUT_FACTOR):
        while not publisher.up:  # noqa: ASYNC110 -- the publisher tells by a property
            await asyncio.sleep(0.02)


async def test_what_is_published_arrives_in_order(valkey_url: str) -> None:
    async with listening(valkey_url, "a", "b") as listener, Publisher(valkey_url) as publisher:
        assert {await listener.next(), await listener.next()} == {Subscribed("a"), Subscribed("b")}
        assert await publisher.publish([("a", b"1"), ("b", b"2"), ("other", b"x"), ("a", b"3")])
        assert [await listener.next() for _ in range(3)] == [
            Delivery("a", b"1"),
            Delivery("b", b"2"),
            Delivery("a", b"3"),
        ]
    assert (publisher.published, publisher.dropped) == (4, 0)


async def test_thousands_of_messages_arrive_in_order_between_few(valkey_url: str) -> None:
    wanted = [f"{n} \u2713\r\n".encode() for n in range(3_000)]
    async with listening(valkey_url, "a") as listener, Publisher(valkey_url) as publisher:
        assert await listener.next() == Subscribed("a")
        for part in (wanted[:5], wanted[5:2_900], wanted[2_900:2_903], wanted[2_903:]):
            assert await publisher.publish([("a", payload) for payload in part])
        received = [await listener.next() for _ in wanted]
    assert received == [Delivery("a", payload) for payload in wanted]


async def test_thousands_of_messages_to_a_redis_that_dies_are_dropped_and_the_next_arrive(
    valkey: Valkey,
) -> None:
    async with Publisher(valkey.url) as publisher:
        assert await publisher.publish([("a", b"")] * 1_000)
        valkey.kill()
        assert not await publisher.publish([("a", b"")] * 1_000)
        valkey.start()
        await until_up(publisher)
        assert await publisher.publish([("a", b"")] * 1_000)
        assert (publisher.published, publisher.dropped) == (2_000, 1_000)


async def test_nothing_to_publish_is_no_failure() -> None:
    async with Publisher(f"redis://127.0.0.1:{free_port()}") as publisher:
        assert await publisher.publish([])


async def test_large_batches_go_through_in_one_call(valkey_url: str) -> None:
    async with listening(valkey_url, "a") as listener, Publisher(valkey_url) as publisher:
        await listener.next()
        assert await publisher.publish([("a", b"x" * 500_000)] * 8)
        assert [await listener.next() for _ in range(8)] == [Delivery("a", b"x" * 500_000)] * 8


async def test_an_absent_redis_costs_the_publisher_nothing_and_is_found_again(
    valkey: Valkey,
) -> None:
    async with Publisher(valkey.url) as publisher:
        assert await publisher.publish([("a", b"")])
        valkey.kill()
        assert not await publisher.publish([("a", b"")])
        started = time.perf_counter()
        for _ in range(1_000):
            assert not await publisher.publish([("a", b""), ("b", b"")])
        # Below 1 ms here; a second still tells a thousand calls from one wait.
        assert time.perf_counter() - started < TIMEOUT_FACTOR
        assert publisher.dropped == 2_001
        valkey.start()
        await until_up(publisher)
        assert await publisher.publish([("a", b"")])
        assert publisher.published == 2


async def test_a_redis_that_accepts_but_never_answers_costs_one_second_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        async with Publisher(f"redis://127.0.0.1:{hole.getsockname()[1]}/1") as publisher:
            started = time.perf_counter()
            assert not await publisher.publish([("a", b"")])
            assert not await publisher.publish([("a", b"")])
            assert time.perf_counter() - started < 2 * TIMEOUT_FACTOR


async def test_a_subscriber_tells_when_it_lost_the_line_and_when_it_is_back(
    valkey: Valkey,
) -> None:
    async with listening(valkey.url, "a") as listener, Publisher(valkey.url) as publisher:
        assert await listener.next() == Subscribed("a")
        valkey.kill()
        assert isinstance(await listener.next(), Lost)
        await listener.subscriber.subscribe("b")
        assert not await publisher.publish([("a", b"missed")])
        valkey.start()
        assert {await listener.next(), await listener.next()} == {Subscribed("a"), Subscribed("b")}
        await until_up(publisher)
        await publisher.publish([("b", b"heard")])
        assert await listener.next() == Delivery("b", b"heard")


async def test_a_server_that_hangs_is_noticed(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.feed.subscriber._HEARTBEAT_S", 0.1)
    async with listening(valkey.url, "a") as listener:
        assert await listener.next() == Subscribed("a")
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            assert isinstance(await listener.next(), Lost)
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        assert await listener.next() == Subscribed("a")


async def test_a_quiet_line_is_not_taken_for_a_dead_one(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.feed.subscriber._HEARTBEAT_S", 0.05)
    async with listening(valkey_url, "a") as listener, Publisher(valkey_url) as publisher:
        assert await listener.next() == Subscribed("a")
        await asyncio.sleep(0.5)
        await publisher.publish([("a", b"1")])
        assert await listener.next() == Delivery("a", b"1")


async def test_channels_come_and_go_while_it_listens(valkey_url: str) -> None:
    async with listening(valkey_url) as listener, Publisher(valkey_url) as publisher:
        await listener.subscriber.subscribe("a", "b")
        assert {await listener.next(), await listener.next()} == {Subscribed("a"), Subscribed("b")}
        await listener.subscriber.unsubscribe("a")
        await listener.subscriber.subscribe("c")
        assert await listener.next() == Subscribed("c")
        await publisher.publish([("a", b"1"), ("c", b"2")])
        assert await listener.next() == Delivery("c", b"2")


async def test_a_server_absent_from_the_start_is_told_once() -> None:
    async with listening(f"redis://127.0.0.1:{free_port()}", "a") as listener:
        assert isinstance(await listener.next(), Lost)
        await asyncio.sleep(0.5)
        assert listener.received.empty()


async def test_a_unix_socket_serves_as_well() -> None:
    class UnixValkey(Valkey):
        def command(self) -> list[str]:
            return [*super().command(), "--unixsocket", str(self.folder / "s")]

    with UnixValkey() as server:
        url = f"unix://{server.folder}/s?db=0"
        async with listening(url, "a") as listener, Publisher(url) as publisher:
            assert await listener.next() == Subscribed("a")
            await publisher.publish([("a", b"1")])
            assert await listener.next() == Delivery("a", b"1")
        assert await ping(url) == "ok"


async def test_a_ping_tells_whether_redis_answers(valkey_url: str) -> None:
    assert await ping(valkey_url) == "ok"
    assert await ping(f"redis://127.0.0.1:{free_port()}") == "away"


@pytest.mark.parametrize("end", [Publisher, Subscriber])
def test_a_url_that_cannot_be_understood_names_its_setting(
    end: type[Publisher] | type[Subscriber],
) -> None:
    with pytest.raises(SettingsError, match="WAYMARK_REDIS_URL"):
        end("http://localhost")
