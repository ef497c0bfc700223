"""The worker on a real broker and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from ingest.mqtt import Message
from ingest.outcome import Committed
from ingest.pipeline import Pipeline
from ingest.worker import Worker
from tests.integration.api_site import api_site
from tests.integration.ingest_rig import Rig, draft, pos
from tests.services import Mosquitto
from tracking.errors import SettingsError
from tracking.feed import Delivery, EventRecord, Subscriber, decode_event, events_channel
from tracking.settings import Settings, load_settings
from tracking.store.connection import Connection
from waymark.replay.publish import Publisher, parse_url


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """A worker that is subscribed, and drained at the end."""
    worker = Worker(settings)
    ready = asyncio.Event()
    task = asyncio.create_task(worker.run(ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 20)


def publish(url: str, messages: Sequence[Message]) -> None:
    with Publisher(parse_url(url)) as publisher:
        for message in messages:
            publisher.publish(message.topic.decode(), message.payload)
        assert publisher.drain()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 -- the database does not call back
            await asyncio.sleep(0.02)


async def test_one_message_that_cannot_be_stored_never_stops_the_others(
    database_url: str, valkey_url: str, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Pipeline.process

    async def fail_on_poison(
        self: Pipeline, conn: Connection, messages: Sequence[Message]
    ) -> Committed:
        if any(b"poison" in message.payload for message in messages):
            raise ValueError("nobody thought of this")
        return await process(self, conn, messages)

    monkeypatch.setattr(Pipeline, "process", fail_on_poison)
    # The broker outlives a test, with what others queued for a worker's name or had it retain.
    run = uuid4().hex
    settings = load_settings(
        database_url=database_url,
        redis_url=valkey_url,
        mqtt_url=mosquitto.url,
        mqtt_client_id=f"worker-{run}",
    )
    messages = [pos(run, 60 * i, 1, 1, attrs={"n": i}) for i in range(50)]
    messages[17] = pos(run, 60 * 17, 1, 1, attrs={"n": "poison"})
    async with Rig(database_url) as rig, working(settings) as worker:
        publish(mosquitto.url, messages)

        async def settled() -> bool:
            found = await rig.rows(
                "SELECT (SELECT count(*) FROM position p JOIN device d ON d.id = p.device_id "
                "WHERE d.name = %s), (SELECT count(*) FROM dead_letter WHERE topic LIKE %s)",
                (run, f"%{run}%"),
            )
            return found == [(49, 1)] and worker.session.outstanding == 0

        await until(settled)
        [(reason, detail, payload)] = await rig.rows(
            "SELECT reason, detail, payload FROM dead_letter WHERE topic LIKE %s", (f"%{run}%",)
        )
        assert reason == "store_refused"
        assert "nobody thought of this" in detail
        assert json.loads(payload)["attrs"] == {"n": "poison"}


def test_a_worker_outside_the_division_says_which_setting_to_change() -> None:
    with pytest.raises(SettingsError, match=r"WAYMARK_WORKERS is 2.*no worker 2"):
        Worker(load_settings(workers=2), index=2)
    Worker(load_settings(workers=1, mqtt_group="g"), index=7)


async def test_a_retraction_reaches_redis_and_the_api(
    database_url: str, valkey_url: str, mosquitto: Mosquitto
) -> None:
    run = uuid4().hex
    settings = load_settings(
        database_url=database_url,
        redis_url=valkey_url,
        mqtt_url=mosquitto.url,
        mqtt_client_id=f"worker-{run}",
    )
    heard: list[EventRecord] = []
    subscriber = Subscriber(valkey_url, [events_channel("default")])

    async def listen() -> None:
        async for received in subscriber:
            if isinstance(received, Delivery):
                event = decode_event(received.payload)
                if event.subject == run:
                    heard.append(event)

    def east(t_s: float, metres: float) -> Message:
        return pos(run, t_s, 13.0 + metres / 68_677.0, 52.0)

    yard = {"type": "Circle", "center": [13.0 + 1_500 / 68_677.0, 52.0], "radius_m": 505}
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard, dwell_s=600.0))
        listening = asyncio.create_task(listen())
        async with working(settings):
            publish(mosquitto.url, [east(0, 0), east(100, 1_500), east(1_000, 1_500)])

            async def dwelled() -> bool:
                return any(event.type == "fence.dwelled" for event in heard)

            await until(dwelled)
            publish(mosquitto.url, [east(400, 4_000), east(700, 4_000)])

            async def retracted() -> bool:
                return any(
                    event.status == "retracted" and event.type == "fence.dwelled" for event in heard
                )

            await until(retracted)
        listening.cancel()
    gone = {event.id: event for event in heard if event.status == "retracted"}
    (dwelling,) = [event for event in gone.values() if event.type == "fence.dwelled"]
    assert (dwelling.revision, dwelling.late) == (2, True)
    async with api_site(database_url, valkey_url) as site:
        answer = await site.get("/v1/events", status="retracted", device=run)
        assert {item["id"] for item in answer.json()["items"]} == gone.keys()
