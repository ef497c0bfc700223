"""`waymark deliver` killed while it works: nothing is lost and nothing overtakes."""

import asyncio
import random
import signal
from pathlib import Path

from aiohttp import web
from psycopg import connect

from tests.integration.api_site import Rows
from tests.integration.hooks_rig import (
    Received,
    admin_site,
    deliver_process,
    hook,
    receiver,
    until,
)
from tests.services import TIMEOUT_FACTOR


async def test_killed_again_and_again_every_event_arrives_in_the_order_of_its_subject(
    tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    chance = random.Random(7)

    async def slowly(_: Received) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        # Now and then a refusal, so that heads are kept over a crash, too.
        return web.Response(status=500 if chance.random() < 0.02 else 200)

    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = slowly
        await hook(site.client, there.url)
        with Rows(database_url) as rows:
            events = [rows.event(f"van-{n % 20}") for n in range(600)]
        for killed_at in (60, 250):
            with deliver_process(tmp_path, database_url, valkey_url) as process:
                await there.until(killed_at, 40)
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.wait)
        with deliver_process(tmp_path, database_url, valkey_url):
            wanted = {f"{event.id}_1" for event in events}
            await until(lambda: {o.id for o in there.accepted} >= wanted, "every event", 60)
        assert {one.id for one in there.accepted} == wanted
        for van in {event.subject for event in events}:
            got = [o.event["cursor"] for o in there.accepted if o.event["subject"] == van]
            first = list(dict.fromkeys(got))
            assert first == [event.cursor for event in events if event.subject == van]
        # What was under way or not written down at each kill comes twice, and no more than that.
        assert len(there.accepted) < len(events) + 2 * 200


async def test_a_signal_lets_what_is_under_way_finish_and_ends_with_success(
    tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    begun = asyncio.Event()

    async def slowly(_: Received) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(0.5)
        return web.Response()

    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = slowly
        await hook(site.client, there.url)
        with Rows(database_url) as rows:
            events = [rows.event("van-7") for _ in range(3)]
        with deliver_process(tmp_path, database_url, valkey_url) as process:
            await begun.wait()
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, 20 * TIMEOUT_FACTOR)
        assert code == 0
        assert there.ids == [f"{events[0].id}_1"]
        with connect(database_url) as conn:
            # Released, not left to run out; and the first is not sent again.
            assert conn.execute("SELECT lease FROM webhook_progress").fetchall() == [(None,)]
        with deliver_process(tmp_path, database_url, valkey_url):
            await there.until(3, 8)
        assert there.ids == [f"{event.id}_1" for event in events]
