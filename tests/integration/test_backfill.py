"""Histories brought in: what becomes of each reading, what they make of the past, and no alarms."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from ingest.backfill import Backfills
from ingest.mqtt import Message
from ingest.outcome import Committed
from tests.integration.alert_rig import AlertRig, rule
from tests.integration.api_site import Rows, Site, api_site
from tests.integration.ingest_rig import NOW_US, Rig, message, moment
from tests.integration.test_pipeline import day_of
from tests.services import free_port
from tracking.feed import Publisher
from tracking.settings import load_settings
from tracking.store.keys import create_key


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "archive", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


@pytest.fixture
def worker(database_url: str) -> Backfills:
    return worker_of(database_url)


def worker_of(database_url: str) -> Backfills:
    nowhere = Publisher(f"redis://127.0.0.1:{free_port()}")
    return Backfills(load_settings(database_url=database_url), nowhere)


def line(device: str, t_s: float, lon: float, lat: float) -> dict[str, Any]:
    return {"device": device, "t": moment(t_s), "lon": lon, "lat": lat}


def history(seed: int = 7) -> list[dict[str, Any]]:
    """Three days of one vehicle, twenty days apart, as lines."""
    lines = []
    for n in range(3):
        for sent in day_of("d", random.Random(seed + n)):
            told = json.loads(sent.payload)
            later = datetime.fromisoformat(told["t"]) + timedelta(days=20 * n)
            lines.append({"device": "d", **told, "t": later.isoformat()})
    return lines


def messages_of(lines: list[dict[str, Any]]) -> list[Message]:
    return [
        message(f"wm/default/{one['device']}/pos", json.dumps(one).encode(), NOW_US * 2)
        for one in lines
    ]


def body(*lines: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def bring(site: Site, content: bytes, **params: str) -> dict[str, Any]:
    response = await site.client.post("/v1/backfill", content=content, params=params)
    assert response.status_code == 202, response.text
    told: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/backfill/{told['id']}"
    return told


async def work(worker: Backfills, rig: Rig) -> list[Committed]:
    done: list[Committed] = []
    while (step := await worker.step(rig.conn)) is not None:
        done += step
    return done


async def outcome(site: Site, told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await site.get(f"/v1/backfill/{told['id']}")).json()
    return found


async def test_every_reading_has_its_fate_and_the_refused_ones_their_line(
    site: Site, worker: Backfills, database_url: str
) -> None:
    content = body(
        line("a", 0, 5, 52),
        line("a", 0, 5, 52),
        {"device": "b", "pos": [{"t": moment(1), "lon": 5, "lat": 52}, {"t": "soon", "lon": 5}]},
        {"device": "b", "sensor": {"t": moment(2), "values": {"temperature_c": 4.5}}},
        {"device": "b", "t": moment(3), "values": {"temperature_c": 5.5}},
        {"device": "c", "t": moment(3), "epc": "3034257BF7194E4000001A85"},
        {"device": "../x/pos", "t": moment(3), "lon": 5, "lat": 52},
        {"t": moment(3), "lon": 5, "lat": 52},
    )
    content += b"not json\n\n" + body(line("d", 5, 500, 52))[:-1]
    async with Rig(database_url) as rig:
        told = await bring(site, content)
        assert (told["state"], told["lines"], told["done_lines"]) == ("queued", 11, 0)
        await work(worker, rig)
        found = await outcome(site, told)
        assert (found["state"], found["done_lines"]) == ("done", 11)
        assert (found["readings"], found["stored"], found["duplicate"], found["rejected"]) == (
            11, 5, 1, 5,
        )  # fmt: skip
        assert [(one["line"], one["device"], one["reason"]) for one in found["refused"]] == [
            (3, "b", "missing_field"), (7, None, "bad_device_name"), (8, None, "missing_field"),
            (9, None, "not_json"), (11, "d", "coordinates_out_of_range"),
        ]  # fmt: skip
        assert sum(found["reasons"].values()) == 5
        assert await rig.rows("SELECT count(*) FROM dead_letter WHERE tenant_id = 1") == [(5,)]
        assert await rig.rows("SELECT metric, value FROM measurement ORDER BY fix_time") == [
            ("temperature_c", 4.5), ("temperature_c", 5.5),
        ]  # fmt: skip
        assert await rig.rows("SELECT count(*) FROM tag_read") == [(1,)]
        assert await rig.rows("SELECT count(*) FROM backfill_part") == [(0,)]


async def test_the_same_content_is_the_same_backfill_and_other_pieces_store_nothing_twice(
    site: Site, worker: Backfills, database_url: str
) -> None:
    content = body(*(line("a", i, 5, 52) for i in range(50)))
    async with Rig(database_url) as rig:
        first, second = await bring(site, content), await bring(site, content)
        assert first["id"] == second["id"]
        await work(worker, rig)
        assert (await bring(site, content))["state"] == "done"
        more = await bring(site, content + body(line("a", 99, 5, 52)))
        await work(worker, rig)
        found = await outcome(site, more)
        assert (found["stored"], found["duplicate"]) == (1, 50)
        listed = (await site.get("/v1/backfill")).json()["items"]
        assert [one["id"] for one in listed] == [more["id"], first["id"]]


@pytest.mark.parametrize("seed", range(3))
async def test_a_history_beyond_the_late_horizon_makes_what_in_order_would_have_made(
    site: Site, worker: Backfills, database_url: str, seed: int
) -> None:
    """Live fixes first, then the weeks before them in any order and any cuts."""
    lines = history(seed)
    async with Rig(database_url) as rig:
        await rig.feed(messages_of(lines))
        expected = await rig.truth()
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "TRUNCATE position, event, device_state, checkpoint, repair, ledger_reason, device "
            "CASCADE"
        )
    old, new = lines[: 2 * len(lines) // 3], lines[2 * len(lines) // 3 :]
    random.Random(seed).shuffle(old)
    async with Rig(database_url) as rig:
        await rig.feed(messages_of(new))
        live = {row[0] for row in await rig.rows("SELECT id FROM event")}
        await bring(site, body(*old))
        await work(worker, rig)
        await rig.repair()
        found = await rig.truth()
        # The ledger counts arrivals, not truths.
        assert [row[:-1] for row in found.pop("states")] == [
            row[:-1] for row in expected.pop("states")
        ]
        assert found == expected
        marked = await rig.rows("SELECT id, origin, quiet, late FROM event WHERE status = 'active'")
        for id_, origin, quiet, late in marked:
            if id_ in live:
                assert (origin, quiet) == (None, False)
            elif origin is not None:
                assert (origin, quiet, late) == ("backfill", True, True)
        assert sum(origin == "backfill" for _, origin, *_ in marked) >= 4


async def test_nobody_is_heard_by_a_history(
    site: Site, worker: Backfills, database_url: str
) -> None:
    async with Rig(database_url) as rig:
        await bring(site, body(line("a", 0, 5, 52)))
        await work(worker, rig)
        assert await rig.rows("SELECT heard_at, fix_time IS NOT NULL FROM device_state") == [
            (None, True)
        ]


async def test_events_are_marked_and_on_the_feed(
    site: Site, worker: Backfills, database_url: str
) -> None:
    async with Rig(database_url) as rig:
        told = await bring(site, body(*history()))
        await work(worker, rig)
        assert (await outcome(site, told))["events"] > 0
        events = (await site.get("/v1/events")).json()["items"]
        assert {event["origin"] for event in events} == {"backfill"}
        assert [event["cursor"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("alerts", [False, True])
async def test_rules_keep_quiet_unless_asked(
    site: Site, worker: Backfills, database_url: str, *, alerts: bool
) -> None:
    async with AlertRig(database_url) as rig, Rig(database_url) as store:
        await rig.save(rule("trips", "trip.started"))
        await bring(site, body(*history()), alerts=str(alerts).lower())
        await work(worker, store)
        while await rig.judge.turn(rig.conn) is not None:
            pass
        [(n,)] = await rig.rows("SELECT count(*) FROM alert")
        assert (n > 0) == alerts


async def test_what_is_wrong_with_a_request_is_said(site: Site) -> None:
    for content, params, field in (
        (b"", {}, "body"),
        (b"x" * 1_048_600, {}, "body"),
        (b"{}\n", {"source": "live"}, "source"),
        (b"{}\n", {"alerts": "perhaps"}, "alerts"),
    ):
        response = await site.client.post("/v1/backfill", content=content, params=params)
        assert (response.status_code, response.json()["field"]) == (422, field)
    assert (await site.get("/v1/backfill")).json()["items"] == []


async def test_only_those_who_may_write_bring_histories_and_only_their_own_see_them(
    site: Site, database_url: str, valkey_url: str
) -> None:
    told = await bring(site, body(line("a", 0, 5, 52)))
    viewer = {"Authorization": f"Bearer {create_key(database_url, 'default', 'x', 'viewer')}"}
    refused = await site.client.post("/v1/backfill", content=b"{}\n", headers=viewer)
    assert refused.status_code == 403
    with Rows(database_url, "other"):
        stranger = {"Authorization": f"Bearer {create_key(database_url, 'other', 'x', 'admin')}"}
    response = await site.client.get(f"/v1/backfill/{told['id']}", headers=stranger)
    assert response.status_code == 404
    assert (await site.client.get("/v1/backfill", headers=stranger)).json()["items"] == []
    assert valkey_url


async def test_a_large_history_is_worked_in_part_by_part_and_once_whoever_dies(
    site: Site, worker: Backfills, database_url: str
) -> None:
    content = body(*(line(f"t{i % 50}", i, 5, 52) for i in range(12_000)))
    told = await bring(site, content)
    async with Rig(database_url) as rig, Rig(database_url) as other:
        dying = asyncio.create_task(worker.step(rig.conn))
        await asyncio.sleep(0)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await asyncio.gather(
            work(worker_of(database_url), other), work(worker_of(database_url), rig)
        )
        found = await outcome(site, told)
        assert (found["state"], found["stored"], found["duplicate"]) == ("done", 12_000, 0)
        assert await rig.rows("SELECT count(*) FROM position") == [(12_000,)]
