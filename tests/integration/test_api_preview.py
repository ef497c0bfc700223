"""Previews over a real socket: streamed, refused, limited, left alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.api_site import Site, api_site, client_of
from tests.integration.ingest_rig import NOW_US, START_US, Rig
from tests.integration.test_fences_live import drive, yard
from tests.integration.test_preview import raised
from tests.services import wait_until
from tracking.fence_input import read_fence
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant
from tracking.times import iso

FENCE: dict[str, Any] = {"id": "yard", "name": "The yard", "shape": yard(), "dwell_s": 60}
WINDOW = {"start": iso(START_US), "end": iso(NOW_US)}
ASKED = {"fence": FENCE, **WINDOW}


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    """A truck that drove through the yard."""
    async with Rig(database_url) as rig:
        await rig.feed(drive("truck", 0, 0, n=40))
        yield rig


@pytest.fixture
async def site(rig: Rig, valkey_url: str) -> AsyncIterator[Site]:
    async with api_site(rig._database_url, valkey_url) as site:
        yield site


async def ask(client: httpx.AsyncClient, **members: object) -> list[dict[str, Any]]:
    """The lines of a preview."""
    response = await client.post("/v1/fences/preview", json=ASKED | members)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def events_in(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["event"] for line in lines if "event" in line]


async def test_a_viewer_gets_progress_the_events_to_be_and_the_sum(rig: Rig, site: Site) -> None:
    lines = await ask(site.client)
    assert [next(iter(line)) for line in lines] == [
        "progress",
        "event",
        "event",
        "event",
        "progress",
        "summary",
    ]
    assert lines[0]["progress"]["devices"] == 1
    assert lines[-2]["progress"]["devices_done"] == 1
    summary = lines[-1]["summary"]
    assert summary["fences"] == ["yard"]
    assert summary["events"] == {"fence.dwelled": 1, "fence.entered": 1, "fence.exited": 1}
    assert (summary["devices"], summary["fixes"], summary["notes"]) == (1, 40, [])

    await rig.save(read_fence(json.dumps(FENCE | {"effective_from": WINDOW["start"]}).encode()))
    await rig.repair()
    response = await site.get("/v1/events", limit=1_000)
    live = [event for event in response.json()["items"] if event["type"].startswith("fence.")]

    def bare(event: dict[str, Any]) -> dict[str, Any]:
        unlike = {"cursor", "recorded_at", "late"}
        return {name: value for name, value in event.items() if name not in unlike}

    assert [bare(event) for event in events_in(lines)] == [bare(event) for event in live]
    assert {event["cursor"] for event in events_in(lines)} == {0}


async def test_a_fence_without_an_id_is_given_the_one_under_which_it_raises_the_same(
    rig: Rig, site: Site
) -> None:
    fence = {name: value for name, value in FENCE.items() if name != "id"}
    lines = await ask(site.client, fence=fence)
    (id_,) = lines[-1]["summary"]["fences"]
    saved = fence | {"id": id_, "effective_from": WINDOW["start"]}
    await rig.save(read_fence(json.dumps(saved).encode()))
    await rig.repair()
    ids = {event["id"] for event in events_in(lines)}
    assert ids == {told[3] for told in await raised(rig, id_)}
    assert len(ids) == 3


async def test_several_fences_are_previewed_at_once_up_to_now(site: Site) -> None:
    twins = [FENCE | {"id": id_} for id_ in ("one", "two")]
    response = await site.client.post(
        "/v1/fences/preview", json={"fences": twins, "start": WINDOW["start"]}
    )
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert {event["data"]["fence"] for event in events_in(lines)} == {"one", "two"}


async def test_another_tenants_devices_and_fences_are_not_seen(rig: Rig, site: Site) -> None:
    create_tenant(rig._database_url, "acme")
    key = create_key(rig._database_url, "acme", "test", "viewer")
    await rig.save(read_fence(json.dumps(FENCE | {"effective_from": WINDOW["start"]}).encode()))
    async with client_of(site.url, key) as stranger:
        lines = await ask(stranger)
        assert events_in(lines) == []
        summary = lines[-1]["summary"]
        assert summary["devices"] == summary["fixes"] == 0
        assert summary["notes"] == [], "it does not know that there is such a fence"
        lines = await ask(stranger, devices=["truck"])
        assert lines[-1]["summary"]["notes"] == ["there is no device 'truck'"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({**WINDOW}, "fence", id="no fence"),
        pytest.param({**ASKED, "fences": [FENCE]}, "fence", id="fence and fences"),
        pytest.param({**WINDOW, "fences": []}, "fences", id="no fences"),
        pytest.param({"fence": FENCE}, "start", id="no start"),
        pytest.param({**ASKED, "start": "yesterday"}, "start", id="no time"),
        pytest.param({**ASKED, "start": "2026-01-01T00:00:00"}, "start", id="no time zone"),
        pytest.param({**ASKED, "start": WINDOW["end"]}, "start", id="start at the end"),
        pytest.param({**ASKED, "colour": 1}, "colour", id="unknown member"),
        pytest.param(
            {**WINDOW, "fence": {"shape": {"type": "Circle", "center": [0, 0], "radius_m": -1}}},
            "fence.shape.radius_m",
            id="bad radius",
        ),
        pytest.param(
            {**WINDOW, "fences": [FENCE, FENCE | {"id": "b", "dwell_s": "long"}]},
            "fences[1].dwell_s",
            id="bad option of the second",
        ),
        pytest.param({**WINDOW, "fences": [FENCE, FENCE]}, "fences[1].id", id="id twice"),
    ],
)
async def test_what_has_no_answer_is_refused_by_name_before_anything_is_sent(
    site: Site, body: dict[str, Any], field: str
) -> None:
    response = await site.client.post("/v1/fences/preview", json=body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["field"] == field, response.text


async def test_two_run_at_a_time_and_one_that_is_left_makes_room(rig: Rig, site: Site) -> None:
    with psycopg.connect(rig._database_url, autocommit=True) as watcher:

        def running() -> int:
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'waymark-preview'"
            ).fetchone()
            return int(row[0]) if row else 0

        async with AsyncExitStack() as stack:
            # Previews wait for history as long as this transaction goes on.
            keeper = await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(rig._database_url)
            )
            await keeper.execute("LOCK TABLE position IN ACCESS EXCLUSIVE MODE")
            streams = [await stack.enter_async_context(_opened(site)) for _ in range(2)]
            assert [stream.status_code for stream in streams] == [200, 200]
            refused = await site.client.post("/v1/fences/preview", json=ASKED)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["type"] == "urn:waymark:problem:busy"
            assert running() == 2

            await streams[0].aclose()
            await asyncio.to_thread(
                wait_until, lambda: running() == 1, "the preview nobody reads has ended"
            )
            third = await stack.enter_async_context(_opened(site))
            assert third.status_code == 200
            await keeper.rollback()
            for stream in (streams[1], third):
                lines = [json.loads(line) async for line in stream.aiter_lines()]
                assert "summary" in lines[-1]
        await asyncio.to_thread(wait_until, lambda: running() == 0, "the others have ended")


def _opened(site: Site) -> Any:  # noqa: ANN401 -- httpx has no name for it
    return site.client.stream("POST", "/v1/fences/preview", json=ASKED)


async def test_a_database_that_goes_away_ends_the_answer_with_an_error(
    rig: Rig, site: Site
) -> None:
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(rig._database_url)
        )
        await keeper.execute("LOCK TABLE position IN ACCESS EXCLUSIVE MODE")
        stream = await stack.enter_async_context(_opened(site))
        await keeper.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'waymark-preview'"
        )
        lines = [json.loads(line) async for line in stream.aiter_lines()]
        assert next(iter(lines[-1])) == "error"
