"""The live feed under load: clients that are cut off, Redis killed, api processes restarted."""

import asyncio
import json
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import shapely
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from geofence.shapes import Kind, Shape
from tests.acceptance.fronts import Api, round_robin
from tests.acceptance.rig import World
from tests.benchmarks.generator import Load
from tests.benchmarks.load import Generator, generator
from tests.benchmarks.packets import Stream
from tests.integration.event_stream import EventStreamClient
from tests.services import wait_until
from tracking.fences import FenceDraft
from tracking.store.connection import connect as connect_store
from tracking.store.fence_edits import save_fences
from tracking.store.keys import create_key
from waymark.client import AsyncWaymark, Event, FeedState, Waymark

DEVICES, RATE, SECONDS = 5_000, 5_000.0, 24
# One in ten drives to and fro through a circle of its own, and each of its fixes is an event.
CROSSING = 500
STEP_US, STEP_DEG = 33_333_334, 0.01
CUTS = 200
# A connection is cut after so many messages, or when none come.
MESSAGES, IDLE_S = 60, 1.0

Frame = dict[str, Any]


class Follower:
    """A client that follows from cursor to cursor, and is cut off until it has been often enough.

    `told` are the cursor, id and revision of every event it handled.
    """

    def __init__(self, url: str, key: str, seed: int, cuts: int) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"}
        self.told: list[tuple[int, str, int]] = []
        self.since = 0
        self.cuts = 0
        self.losses = 0
        self._luck = random.Random(seed)
        self.wanted_cuts = cuts

    @abstractmethod
    def messages(self) -> AsyncIterator[Frame]:
        """Connect with `since`, and yield what comes until the connection ends."""

    async def follow(self) -> None:
        """Follow for ever."""
        while True:
            cut_after = self._luck.randint(0, MESSAGES) if self.cuts < self.wanted_cuts else None
            try:
                async with asyncio.timeout(None if cut_after is None else IDLE_S):
                    await self._listen(cut_after)
            except TimeoutError:
                self.cuts += 1
            except (OSError, WebSocketException, httpx.TransportError):
                self.losses += 1
                await asyncio.sleep(0.05)

    async def _listen(self, cut_after: int | None) -> None:
        async with aclosing(self.messages()) as messages:  # type: ignore[type-var]
            handled = 0
            async for frame in messages:
                if handled == cut_after:
                    self.cuts += 1
                    return
                handled += 1
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame["type"] == "event":
            event = frame["event"]
            self.told.append((event["cursor"], event["id"], event["revision"]))
        if frame["type"] in {"event", "heartbeat"} and "cursor" in frame:
            self.since = frame["cursor"]


class SocketFollower(Follower):
    """Over a websocket."""

    async def messages(self) -> AsyncIterator[Frame]:
        url = self.url.replace("http", "ws", 1) + "/v1/feed"
        async with connect(
            url, additional_headers=self.headers, max_size=None, max_queue=None, proxy=None,
            close_timeout=0.0,
        ) as socket:  # fmt: skip
            wanted = {"positions": False}
            hello = {"op": "subscribe", "id": "s", "filter": wanted, "since": self.since}
            await socket.send(json.dumps(hello))
            try:
                async for text in socket:
                    yield json.loads(text)
            finally:
                # Without a farewell, as a network ends.
                socket.transport.abort()


class StreamFollower(Follower):
    """Over server-sent events."""

    async def messages(self) -> AsyncIterator[Frame]:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(limits=limits, trust_env=False, timeout=60, verify=False) as client,  # noqa: S501 -- plain HTTP; saves the certificates' loading
            client.stream(
                "GET",
                f"{self.url}/v1/feed/sse",
                params={"positions": "false"},
                headers={**self.headers, "Last-Event-ID": str(self.since)},
            ) as answer,
        ):
            if answer.status_code != 200:
                raise httpx.ConnectError(f"{answer.status_code}")
            stream = EventStreamClient(answer)
            while (frame := await stream.receive_or_none()) is not None:
                yield frame


class ClientFollower:
    """The Python client, which resumes by itself."""

    cuts = wanted_cuts = 0

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.told: list[tuple[int, str, int]] = []
        self.since = 0
        self.losses = 0

    async def follow(self) -> None:
        """Follow for ever."""
        async with AsyncWaymark(self.url, key=self.key) as waymark:
            async for event in waymark.feed.events(since=0, on_state=self._note):
                self._take(event)

    def _note(self, state: FeedState) -> None:
        self.losses += state.name == "away"

    def _take(self, event: Event) -> None:
        self.told.append((event.cursor, event.id, event.revision))
        self.since = event.cursor


class BlockingFollower(ClientFollower):
    """The one that blocks, in a thread that is told to end."""

    async def follow(self) -> None:
        """Follow for ever."""
        with Waymark(self.url, key=self.key) as waymark:
            events = waymark.feed.events(since=0, on_state=self._note)

            def take_all() -> None:
                for event in events:
                    self._take(event)

            await asyncio.to_thread(take_all)


async def draw(world: World) -> None:
    """A circle where each crossing device is with every second fix."""
    [(tenant_id,)] = world.rows("SELECT id FROM tenant WHERE name = 'default'")
    drafts = []
    for i in range(CROSSING):
        lon, lat = round(10.0 + 0.4 * (i % 100) + STEP_DEG, 6), round(10.0 + 0.4 * (i // 100), 6)
        document = {"type": "Circle", "center": [lon, lat], "radius_m": 400.0}
        shape = Shape(Kind.CIRCLE, shapely.Point(lon, lat), 400.0)
        drafts.append(FenceDraft(f"c{i}", f"Circle {i}", shape, json.dumps(document).encode()))
    conn = await connect_store(world.postgres.url(), name="editor")
    day_ago_us = int(time.time() * 1e6) - 86_400_000_000
    await save_fences(conn, tenant_id, drafts, author="test", effective_from_us=day_ago_us)
    await conn.close()


def wreak_havoc(world: World, apis: list[Api], source: Generator) -> None:
    """Redis killed twice, one api restarted and one killed, while the load runs."""
    started = time.monotonic()
    blows: list[tuple[float, Callable[[], None]]] = [
        (4.0, world.valkey.kill),
        (6.0, world.valkey.start),
        (8.0, apis[0].stop),
        (8.5, apis[0].start),
        (13.0, world.valkey.kill),
        (13.5, apis[1].kill),
        (14.0, apis[1].start),
        (16.0, world.valkey.start),
    ]
    source.go()
    for at_s, blow in blows:
        time.sleep(max(0.0, started + at_s - time.monotonic()))
        blow()
    source.report()


@pytest.mark.timeout(600)
async def test_clients_cut_off_200_times_end_with_exactly_the_events_of_the_database(
    tmp_path: Path,
) -> None:
    start_us = int((time.time() - 40_000) * 1e3) * 1_000
    stream = Stream(
        "sv", DEVICES, int(RATE) * SECONDS, start_us, STEP_US,
        wrap_microdegrees=round(2e6 * STEP_DEG),
    )  # fmt: skip
    with World(tmp_path / "world", workers=2) as world, ExitStack() as stack:
        await draw(world)
        key = create_key(world.postgres.url(), "default", "followers")
        apis = [Api(world, tmp_path / f"api-{n}.log") for n in range(2)]
        for api in apis:
            api.start()
            stack.callback(api.stop)
        broker = urlsplit(world.broker.url)
        load = Load(broker.hostname or "", broker.port or 0, stream, rate=RATE)
        source = stack.enter_context(generator(load))
        async with round_robin([api.port for api in apis]) as balancer:
            url = f"http://127.0.0.1:{balancer.port}"
            followers: list[Follower | ClientFollower] = [
                SocketFollower(url, key, 1, CUTS),
                StreamFollower(url, key, 2, CUTS),
                StreamFollower(url, key, 3, 0),
                ClientFollower(url, key),
                BlockingFollower(url, key),
            ]
            tasks = [asyncio.create_task(follower.follow()) for follower in followers]
            await asyncio.to_thread(wreak_havoc, world, apis, source)
            under_load = [follower.cuts for follower in followers[:2]]
            await asyncio.to_thread(settle, world, stream)
            [(last,)] = world.rows("SELECT max(cursor) FROM event")
            await asyncio.to_thread(
                wait_until,
                lambda: all(f.since == last and f.cuts >= f.wanted_cuts for f in followers),
                "everybody has the last event",
                30,
            )
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        truth = {
            id_: (cursor, revision)
            for cursor, id_, revision in world.rows("SELECT cursor, id::text, revision FROM event")
        }
    assert len(truth) > 10_000
    for follower in followers:
        cursors = [cursor for cursor, _, _ in follower.told]
        assert cursors == sorted(set(cursors)), "in cursor order, none twice"
        assert len({event[1:] for event in follower.told}) == len(cursors), "each revision once"
        assert {id_: (cursor, n) for cursor, id_, n in follower.told} == truth
    assert min(under_load) > CUTS / 4, "most cuts came while everything moved"
    assert all(follower.losses for follower in followers[2:]), "restarts were felt"
    assert min(balancer.passed.values()) > CUTS / 4, "no stickiness"


def settle(world: World, stream: Stream) -> None:
    """Wait until everything sent is stored and repaired."""
    done = "SELECT (SELECT count(*) FROM position), (SELECT count(*) FROM repair)"
    wait_until(lambda: world.rows(done) == [(stream.messages, 0)], "all is stored", 30)
