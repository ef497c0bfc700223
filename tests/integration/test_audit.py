"""The audit log: what principals do leaves a line, in the same transaction, and nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.api_site import NOON, Rows, Site, api_site, client_of
from tests.integration.test_locks import pool_of
from tracking.access import Principal
from tracking.store.acting import Mandate, acting
from tracking.store.audit import record
from tracking.store.connection import Connection
from tracking.store.keys import create_key

CIRCLE = {"type": "Circle", "center": [5.1, 52.1], "radius_m": 150}


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "office", "admin")
    async with api_site(database_url, valkey_url, key=key) as running:
        yield running


async def _lines(client: httpx.AsyncClient, **params: str | int) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_an_edit_tells_who_did_what_to_which_and_the_change(site: Site) -> None:
    url = "/v1/fences/depot"
    made = await site.client.put(
        url, json={"name": "Depot", "shape": CIRCLE}, headers={"X-Request-Id": "req-1"}
    )
    assert made.status_code == 201
    await site.client.delete(url)
    gone, version, fence = await _lines(site.client, noun="fences")
    assert {k: fence[k] for k in ("action", "noun", "key", "actor_kind", "actor_name")} == {
        "action": "create",
        "noun": "fences",
        "key": "depot",
        "actor_kind": "key",
        "actor_name": "office",
    }
    assert (fence["request_id"], fence["ip"], fence["before"]) == ("req-1", "127.0.0.1", None)
    assert (version["key"], version["after"]["name"]) == ("depot@1", "Depot")
    assert (gone["action"], gone["before"]) == ("update", {"deleted_at": None})
    assert gone["after"]["deleted_at"]


async def test_a_device_edited_by_a_person_is_told_and_one_that_reports_is_not(
    site: Site, database_url: str
) -> None:
    with Rows(database_url) as rows:
        rows.device("van-7")
        rows.move("van-7", 5, 52, NOON)
    await site.client.patch("/v1/devices/van-7", json={"tags": ["cold"]})
    (line,) = await _lines(site.client)
    assert (line["noun"], line["key"], line["action"]) == ("devices", "van-7", "update")
    assert line["before"] == {"tags": [], "version": 1}
    assert line["after"] == {"tags": ["cold"], "version": 2}


async def test_an_edit_that_fails_leaves_no_line(site: Site) -> None:
    body = {"fences": [{"id": "a", "shape": CIRCLE}, {"id": "b", "shape": {"type": "Circle"}}]}
    refused = await site.client.put("/v1/fences", json=body)
    assert refused.status_code == 422
    assert await _lines(site.client) == []


async def test_pages_go_back_in_time_and_filters_narrow_them(site: Site) -> None:
    for i in range(3):
        await site.client.put(f"/v1/fences/f{i}", json={"name": "F", "shape": CIRCLE})
    everything = await _lines(site.client)
    assert len(everything) == 6
    paged: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = (await site.client.get("/v1/audit", params={"limit": 2, **cursor})).json()
        paged += answer["items"]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert paged == everything
    assert [line["key"] for line in await _lines(site.client, key="f1", noun="fences")] == ["f1"]
    assert await _lines(site.client, actor="somebody else") == []
    assert await _lines(site.client, action="delete") == []
    assert len(await _lines(site.client, to=everything[0]["at"])) == 4
    assert len(await _lines(site.client, **{"from": everything[0]["at"]})) == 2


async def test_only_an_admin_reads_the_log_and_only_of_their_tenant(
    site: Site, database_url: str
) -> None:
    await site.client.put("/v1/fences/depot", json={"name": "D", "shape": CIRCLE})
    with Rows(database_url, "other"):
        other = create_key(database_url, "other", "theirs", "admin")
    async with client_of(site.url, other) as client:
        assert await _lines(client) == []
    for role in ("dispatcher", "service", "viewer"):
        async with client_of(site.url, create_key(database_url, "default", "x", role)) as client:
            assert (await client.get("/v1/audit")).status_code == 403


async def test_acts_that_change_no_row_are_recorded_by_name(site: Site, database_url: str) -> None:
    principal = Principal(1, "default", "viewer", None, name="ann", user_id=9)
    async with pool_of(database_url) as pool:
        with acting(Mandate.of(principal, request_id="r", ip="::1", changes=False)):
            await pool.run(record, "export", "positions", "van-7", {"format": "csv"})
        with acting(Mandate.reader(1)), pytest.raises(RuntimeError, match="nobody to name"):
            await pool.run(record, "export", "positions", "van-7")
    (line,) = await _lines(site.client)
    assert (line["actor_kind"], line["actor_id"], line["actor_name"]) == ("user", 9, "ann")
    assert (line["action"], line["after"], line["ip"]) == ("export", {"format": "csv"}, "::1")


async def test_secrets_are_named_and_never_written(site: Site, database_url: str) -> None:
    async def make(conn: Connection) -> None:
        await conn.execute(
            "INSERT INTO api_key (tenant_id, name, digest) VALUES (1, 'new', '\\x5ec3e7')"
        )
        await conn.execute("UPDATE api_key SET digest = '\\x0bad' WHERE name = 'new'")
        await conn.execute("UPDATE api_key SET last_used_at = now() WHERE name = 'new'")

    principal = Principal(1, "default", "admin", 1, name="a: colon")
    async with pool_of(database_url) as pool:
        with acting(Mandate.of(principal)):
            await pool.run(make)
    changed, made = await _lines(site.client, noun="api-keys")
    assert made["after"]["digest"] == "***"
    assert (changed["before"], changed["after"]) == ({"digest": "***"}, {"digest": "***"})
    assert changed["actor_name"] == "a: colon"
    with psycopg.connect(database_url) as conn:
        found = conn.execute("SELECT count(*) FROM audit_log WHERE audit_log::text ~ '5ec3e7|0bad'")
        assert found.fetchone() == (0,)
