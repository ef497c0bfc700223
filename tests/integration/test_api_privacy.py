"""Privacy over HTTP: erasing a device, choosing how long to keep what."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from psycopg import sql

from ingest.monitor import Monitor
from tests.integration.alert_rig import rule
from tests.integration.api_site import Rows, Site, api_site, client_of
from tests.integration.test_locks import pool_of
from tests.services import TIMEOUT_FACTOR
from tracking.access import Principal
from tracking.settings import load_settings
from tracking.store.acting import Mandate, acting
from tracking.store.connection import connect
from tracking.store.erasures import erase_some
from tracking.store.keys import create_key
from tracking.store.rules import save_rule


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "office", "admin")
    async with api_site(database_url, valkey_url, key=key) as running:
        yield running


async def test_an_erased_device_is_gone_at_once_and_named_in_the_list(
    site: Site, database_url: str
) -> None:
    with Rows(database_url) as rows:
        rows.fixes(rows.device("van-7"), 10)
        rows.device("van-8")
        rows.dead_letter(b"rubbish", device="van-7")
    await site.client.patch("/v1/devices/van-7", json={"attrs": {"driver": "Ann"}})
    asked = await site.client.post("/v1/privacy/erasures", json={"device": "van-7"})
    assert asked.status_code == 202, asked.text
    assert (await site.get("/v1/devices/van-7")).status_code == 404
    assert (await site.get("/v1/devices/van-7/positions")).status_code == 404
    assert (await site.get("/v1/dead-letters")).json()["items"] == []
    assert (await site.get("/v1/devices/van-8")).status_code == 200
    told = (await site.client.get(asked.headers["Location"])).json()
    assert (told["subject"], told["finished_at"]) == ("van-7", None)
    assert (await site.get("/v1/privacy/erasures")).json()["items"] == [told]
    again = await site.client.post("/v1/privacy/erasures", json={"device": "van-7"})
    assert again.status_code == 404


async def test_the_audit_log_keeps_who_asked_but_not_what_the_device_was_like(
    site: Site, database_url: str
) -> None:
    with Rows(database_url) as rows:
        rows.fixes(rows.device("van-7"), 10)
    await site.client.patch("/v1/devices/van-7", json={"attrs": {"driver": "Ann"}})
    asked = await site.client.post("/v1/privacy/erasures", json={"device": "van-7"})
    assert "Ann" in (await site.get("/v1/audit")).text
    async with await connect(database_url, name="test") as conn:
        while await erase_some(conn, settled_after=timedelta(0)):
            pass
    assert (await site.client.get(asked.headers["Location"])).json()["finished_at"]
    log = (await site.get("/v1/audit")).json()["items"]
    assert ("create", "privacy", "device van-7") in {
        (line["action"], line["noun"], line["key"]) for line in log
    }
    assert "Ann" not in str(log)


async def test_an_erased_person_is_named_nowhere_and_what_they_did_stays(
    site: Site, database_url: str
) -> None:
    made = await site.client.post(
        "/v1/users", json={"email": "Ann@acme.example", "name": "Ann Miller", "role": "dispatcher"}
    )
    assert made.status_code == 201, made.text
    user = made.json()["id"]
    ann = Principal(1, "default", "dispatcher", None, "ann@acme.example", user)
    async with pool_of(database_url) as pool:
        with acting(Mandate.of(ann, ip="192.0.2.7")):
            await pool.run(save_rule, 1, rule(), author=ann.name)
    asked = await site.client.post("/v1/privacy/erasures", json={"user": "ann@acme.example"})
    assert asked.status_code == 202, asked.text
    assert (await site.get(f"/v1/users/{user}")).status_code == 404
    async with await connect(database_url, name="test") as conn:
        while await erase_some(conn, settled_after=timedelta(0)):
            pass
        found = await conn.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' "
            "AND table_type = 'BASE TABLE'"
        )
        for (table,) in await found.fetchall():
            rows = await conn.execute(
                sql.SQL(
                    "SELECT count(*) FROM {} t WHERE t::text ~* 'acme|miller|192.0.2.7'"
                ).format(sql.Identifier(table))
            )
            assert await rows.fetchone() == (0,), table
    saved = (await site.get("/v1/rules/r1")).json()
    assert saved["updated_by"] == f"erased user {user}"
    told = (await site.client.get(asked.headers["Location"])).json()
    assert told["subject"] == f"erased user {user}"
    assert told["finished_at"]
    log = (await site.client.get("/v1/audit", params={"noun": "rules"})).json()["items"]
    assert {line["actor_name"] for line in log} == {f"erased user {user}"}


@pytest.mark.parametrize("body", [{}, {"device": "a", "user": "b"}, {"device": ""}, {"user": 7}])
async def test_what_to_forget_must_be_said(site: Site, body: dict[str, object]) -> None:
    refused = await site.client.post("/v1/privacy/erasures", json=body)
    assert refused.status_code == 422
    assert refused.json()["field"] in {"device", "user"}


async def test_nobody_of_that_name_is_404(site: Site) -> None:
    refused = await site.client.post("/v1/privacy/erasures", json={"user": "bob@acme.example"})
    assert refused.status_code == 404


async def test_the_monitor_forgets_by_itself(
    site: Site, database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.monitor._FORGET_EVERY_S", 0.05)
    with Rows(database_url) as rows:
        rows.fixes(rows.device("old"), 10)
        rows.fixes(rows.device("gone"), 10)
    kept = {"positions_days": 30, "events_days": 90}
    assert (await site.client.put("/v1/privacy/retention", json=kept)).status_code == 200
    await site.client.post("/v1/privacy/erasures", json={"device": "gone"})
    monitor = Monitor(load_settings(database_url=database_url, redis_url=valkey_url))
    forgetting = asyncio.create_task(monitor.forget())
    try:
        await until(lambda: site.get("/v1/devices/old/positions"), lambda told: told["items"] == [])
        await until(
            lambda: site.get("/v1/privacy/erasures"), lambda told: told["items"][0]["rows_n"] == 10
        )
    finally:
        forgetting.cancel()


async def until(ask: Callable[[], Awaitable[httpx.Response]], holds: Callable[[Any], bool]) -> None:
    """Ask again until the answer is as it should become."""
    async with asyncio.timeout(20 * TIMEOUT_FACTOR):
        while not holds((await ask()).json()):  # noqa: ASYNC110 -- another process's doing
            await asyncio.sleep(0.02)


async def test_what_is_held_of_a_device_is_told_table_by_table_and_the_asking_is_audited(
    site: Site, database_url: str
) -> None:
    with Rows(database_url) as rows:
        rows.fixes(rows.device("van-7"), 25)
        rows.fixes(rows.device("van-8"), 3)
        rows.dead_letter(b"rubbish", device="van-7")
        rows.reason("van-7", "not_json", 1)
    await site.client.patch("/v1/devices/van-7", json={"attrs": {"driver": "Ann"}})
    told = await site.get("/v1/privacy/devices/van-7")
    assert told.status_code == 200
    lines = [json.loads(line) for line in told.text.splitlines()]
    counts = Counter(line["table"] for line in lines)
    assert counts["position"] == 25
    assert counts.keys() >= {"device", "device_state", "dead_letter", "ledger_reason", "audit_log"}
    (device,) = (line["row"] for line in lines if line["table"] == "device")
    assert device["attrs"] == {"driver": "Ann"}
    assert "van-8" not in told.text
    log = (await site.client.get("/v1/audit", params={"noun": "privacy"})).json()["items"]
    assert [(line["action"], line["key"]) for line in log] == [("export", "device-van-7")]
    assert (await site.get("/v1/privacy/devices/nobody")).status_code == 404


async def test_what_is_held_of_a_person_is_told_without_what_proves_a_secret(
    site: Site, database_url: str
) -> None:
    made = await site.client.post(
        "/v1/users", json={"email": "ann@acme.example", "name": "Ann Miller", "role": "viewer"}
    )
    user = made.json()["id"]
    told = await site.get(f"/v1/privacy/users/{user}")
    lines = [json.loads(line) for line in told.text.splitlines()]
    (account,) = (line["row"] for line in lines if line["table"] == "user_account")
    assert account["email"] == "ann@acme.example"
    assert not {"password", "totp_secret", "recovery", "invite"} & account.keys()
    assert any(line["table"] == "audit_log" for line in lines)
    with Rows(database_url, "other"):
        key = create_key(database_url, "other", "office", "admin")
    async with client_of(site.url, key) as others:
        assert (await others.get(f"/v1/privacy/users/{user}")).status_code == 404


class TestRetention:
    async def test_what_is_chosen_is_told_and_leaves_an_audit_line(self, site: Site) -> None:
        nothing = (await site.get("/v1/privacy/retention")).json()
        assert set(nothing.values()) == {None}
        kept = nothing | {"positions_days": 400, "audit_days": 2_200}
        assert (await site.client.put("/v1/privacy/retention", json=kept)).json() == kept
        assert (await site.get("/v1/privacy/retention")).json() == kept
        lines = (await site.client.get("/v1/audit", params={"noun": "privacy"})).json()["items"]
        assert {line["key"] for line in lines} == {"positions", "audit"}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"positions_days": 2}, "positions_days"),
            ({"events_days": 0}, "events_days"),
            ({"audit_days": "x"}, "audit_days"),
            ({"photos_days": 3}, "photos_days"),
        ],
    )
    async def test_what_cannot_be_kept_is_refused_by_name(
        self, site: Site, body: dict[str, object], field: str
    ) -> None:
        refused = await site.client.put("/v1/privacy/retention", json=body)
        assert refused.status_code == 422
        assert refused.json()["field"] == field


async def test_only_an_admin_may_forget(site: Site, database_url: str) -> None:
    async with client_of(
        site.url, create_key(database_url, "default", "desk", "dispatcher")
    ) as desk:
        for method, path in (
            ("GET", "/v1/privacy/retention"),
            ("PUT", "/v1/privacy/retention"),
            ("GET", "/v1/privacy/erasures"),
            ("POST", "/v1/privacy/erasures"),
        ):
            assert (await desk.request(method, path, json={})).status_code == 403
