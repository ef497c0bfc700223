"""Rules and alerts over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio

from tests.integration.alert_rig import AlertRig
from tests.integration.api_site import Site, api_site, client_of
from tests.services import TIMEOUT_FACTOR
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant

RULE: dict[str, Any] = {
    "id": "depot",
    "name": "Somebody came",
    "types": ["fence.entered"],
    "severity": "info",
}
WINDOW = {"from": "2026-03-08T12:00:00Z", "to": "2026-03-08T13:00:00Z"}


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[AlertRig]:
    async with AlertRig(database_url) as rig:
        yield rig


@asynccontextmanager
async def site_of(database_url: str, redis_url: str, role: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", f"the {role}", role)
    async with api_site(database_url, redis_url, key=key) as site:
        yield site


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    async with site_of(database_url, valkey_url, "dispatcher") as site:
        yield site


async def make(site: Site, **members: object) -> dict[str, Any]:
    response = await site.client.post("/v1/rules", json=RULE | members)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def act(site: Site, id_: str, verb: str, **body: object) -> httpx.Response:
    return await site.client.post(f"/v1/alerts/{id_}/{verb}", json=body)


async def listed(site: Site, **params: str | int | list[str]) -> list[dict[str, Any]]:
    response = await site.client.get("/v1/alerts", params=params)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def assert_problem(response: httpx.Response, status: int, field: str | None = None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["field"] == field, response.text


class TestRules:
    async def test_a_rule_is_made_read_changed_and_deleted(self, site: Site) -> None:
        made = await make(
            site,
            quiet_hours={
                "time_zone": "Europe/Amsterdam",
                "windows": [{"start": "22:00", "end": "06:00", "days": ["fri"]}],
            },
        )
        assert (made["version"], made["updated_by"]) == (1, "the dispatcher")
        assert (await site.get("/v1/rules/depot")).json() == made
        changed = await site.client.put("/v1/rules/depot", json=made | {"cooldown_s": 60})
        assert (changed.json()["version"], changed.json()["cooldown_s"]) == (2, 60.0)
        again = await site.client.put("/v1/rules/depot", json=changed.json())
        assert again.json() == changed.json()
        assert (await site.get("/v1/rules/depot", version=1)).json()["cooldown_s"] == 0
        assert [r["id"] for r in (await site.get("/v1/rules")).json()["items"]] == ["depot"]
        assert (await site.client.delete("/v1/rules/depot")).status_code == 204
        assert (await site.get("/v1/rules")).json()["items"] == []
        assert_problem(await site.get("/v1/rules/depot"), 404)
        assert_problem(await site.client.delete("/v1/rules/depot"), 404)
        assert (await make(site))["version"] == 4

    async def test_a_rule_without_an_id_gets_one(self, site: Site) -> None:
        response = await site.client.post("/v1/rules", json={"types": ["trip.*"]})
        made = response.json()
        assert response.headers["location"] == f"/v1/rules/{made['id']}"
        assert made["name"] == made["id"]

    async def test_an_id_that_is_taken_is_a_conflict(self, site: Site) -> None:
        await make(site)
        assert_problem(await site.client.post("/v1/rules", json=RULE), 409, "id")

    async def test_lists_come_in_pages(self, site: Site) -> None:
        for i in range(5):
            await make(site, id=f"r{i}")
        first = (await site.get("/v1/rules", limit=3)).json()
        rest = (await site.get("/v1/rules", limit=3, cursor=first["next"])).json()
        assert [r["id"] for r in first["items"] + rest["items"]] == [f"r{i}" for i in range(5)]
        assert rest["next"] is None

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"id": "no spaces"}, "id"),
            ({"types": []}, "types"),
            ({"types": ["Fence"]}, "types"),
            ({"types": ["alert.opened"]}, "types"),
            ({"severity": "loud"}, "severity"),
            ({"cooldown_s": -1}, "cooldown_s"),
            ({"colour": "red"}, "colour"),
            ({"where": [{"field": "data.x", "op": "like"}]}, "where[0].op"),
            ({"where": [{"field": "time", "op": "eq", "value": 1}]}, "where[0].field"),
            ({"where": [{"field": "data.x", "op": "gt", "value": []}]}, "where[0].value"),
            ({"where": [{"field": "data.x", "op": "in", "value": 3}]}, "where[0].value"),
            ({"where": [{"field": "data.x", "op": "exists", "value": 3}]}, "where[0].value"),
            ({"clears_on": ["fence.*"]}, "clears_on"),
            ({"severity": "critical", "escalate_after_s": 5, "escalate_to": "info"}, "escalate_to"),
            ({"quiet_hours": {"time_zone": "Mars", "windows": [{"start": "22:00", "end": "6:00"}]}},
             "quiet_hours.time_zone"),
            ({"quiet_hours": {"time_zone": "UTC", "windows": [{"start": "9", "end": "06:00"}]}},
             "quiet_hours.windows[0].start"),
        ],
    )  # fmt: skip
    async def test_a_mistake_is_named(
        self, site: Site, members: dict[str, Any], field: str
    ) -> None:
        assert_problem(await site.client.post("/v1/rules", json=RULE | members), 422, field)
        assert (await site.get("/v1/rules")).json()["items"] == []

    async def test_what_is_no_json_is_refused(self, site: Site) -> None:
        assert (await site.client.post("/v1/rules", content=b"{")).status_code == 422
        other = await site.client.put("/v1/rules/depot", json=RULE | {"id": "other"})
        assert_problem(other, 422, "id")


class TestTrial:
    async def test_a_rule_is_tried_on_the_past_with_the_ids_it_raises_live(
        self, rig: AlertRig, site: Site
    ) -> None:
        rule = RULE | {"cooldown_s": 60, "clears_on": ["fence.exited"]}
        await make(site, **rule)
        for at_s in (0, 30, 90, 4_000):
            await rig.happen(at_s, device="a" if at_s < 50 else "b")
        await rig.happen(100, "fence.exited", device="b")
        await rig.follow()
        before = await rig.rows("SELECT count(*), max(cursor) FROM event")
        tried = (await site.client.post("/v1/rules/test", json={"rule": rule, **WINDOW})).json()
        live = await listed(site, **WINDOW)
        assert {a["id"]: a["state"] for a in tried["items"]} == {a["id"]: a["state"] for a in live}
        assert len(live) == 2
        assert tried["alerts_n"] == 2
        assert tried["suppressed_n"] == {"cooldown": 1, "quiet": 0}
        assert tried["devices"] == [
            {"device": "a", "alerts_n": 1}, {"device": "b", "alerts_n": 1},
        ]  # fmt: skip
        assert await rig.rows("SELECT count(*), max(cursor) FROM event") == before
        assert len(await rig.alerts()) == 3

    async def test_a_retracted_event_would_alert_nobody(self, rig: AlertRig, site: Site) -> None:
        occurrence = await rig.happen(1)
        await rig.record(occurrence.retracted())
        tried = await site.client.post("/v1/rules/test", json={"rule": RULE, **WINDOW})
        assert tried.json()["items"] == []

    async def test_a_window_is_checked(self, site: Site) -> None:
        backwards = {"rule": RULE, "from": WINDOW["to"], "to": WINDOW["from"]}
        assert_problem(await site.client.post("/v1/rules/test", json=backwards), 422, "from")
        no_zone = {"rule": RULE, "from": "2026-03-08T12:00:00", "to": WINDOW["to"]}
        assert_problem(await site.client.post("/v1/rules/test", json=no_zone), 422, "from")
        wrong = {"rule": RULE | {"types": ["x"]}, **WINDOW}
        assert_problem(await site.client.post("/v1/rules/test", json=wrong), 422, "types")


class TestAlerts:
    async def test_an_alert_is_taken_up_put_aside_ended_and_opened_again(
        self, rig: AlertRig, site: Site
    ) -> None:
        await make(site)
        await rig.happen(1)
        await rig.follow()
        [alert] = await listed(site)
        id_ = alert["id"]
        assert (alert["state"], alert["event"]["type"]) == ("open", "fence.entered")
        taken = (await act(site, id_, "acknowledge", note="on my way")).json()
        assert (taken["state"], taken["acknowledged_by"], taken["note"]) == (
            "acknowledged", "the dispatcher", "on my way",
        )  # fmt: skip
        until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
        aside = (await act(site, id_, "snooze", until=until.isoformat())).json()
        assert (aside["state"], aside["snoozed_until"]) == (
            "snoozed", until.isoformat().replace("+00:00", "Z"),
        )  # fmt: skip
        assert (await act(site, id_, "snooze", for_s=60)).json()["state"] == "snoozed"
        ended = (await act(site, id_, "resolve")).json()
        assert (ended["state"], ended["resolved_reason"], ended["resolved_by"]) == (
            "resolved", "user", "the dispatcher",
        )  # fmt: skip
        for verb, body in (("acknowledge", {}), ("snooze", {"for_s": 1})):
            assert_problem(await act(site, id_, verb, **body), 409)
        again = (await act(site, id_, "reopen")).json()
        assert again["state"] == "open"
        assert "resolved_at" not in again
        assert "acknowledged_at" not in again
        assert (await site.get(f"/v1/alerts/{id_}")).json() == again
        assert [t for t, _ in await rig.told()] == [
            "alert.opened", "alert.acknowledged", "alert.snoozed", "alert.snoozed",
            "alert.resolved", "alert.reopened",
        ]  # fmt: skip

    async def test_doing_it_again_changes_nothing_and_is_not_told(
        self, rig: AlertRig, site: Site
    ) -> None:
        await make(site)
        await rig.happen(1)
        await rig.follow()
        [alert] = await listed(site)
        for verb in ("acknowledge", "resolve", "reopen"):
            first = await site.client.post(f"/v1/alerts/{alert['id']}/{verb}")
            again = await site.client.post(f"/v1/alerts/{alert['id']}/{verb}")
            assert first.json() == again.json()
        assert len(await rig.told()) == 4

    async def test_changes_are_published_as_events_and_as_alerts(
        self, rig: AlertRig, site: Site, valkey_url: str
    ) -> None:
        await make(site)
        await rig.happen(1)
        await rig.follow()
        [alert] = await listed(site)
        async with redis.asyncio.Redis.from_url(valkey_url) as client, client.pubsub() as heard:
            await heard.subscribe("wm:default:events", "wm:default:alerts")
            await act(site, alert["id"], "resolve", note="done")
            messages: dict[bytes, dict[str, Any]] = {}
            async with asyncio.timeout(20 * TIMEOUT_FACTOR):
                while len(messages) < 2:
                    message = await heard.get_message(ignore_subscribe_messages=True, timeout=10)
                    if message is not None:
                        messages[message["channel"]] = json.loads(message["data"])
        event = messages[b"wm:default:events"]
        assert (event["type"], event["subject"], event["cursor"]) == ("alert.resolved", "van", 3)
        assert event["data"]["note"] == "done"
        told = messages[b"wm:default:alerts"]
        assert told == (await site.get(f"/v1/alerts/{alert['id']}")).json()

    async def test_many_are_acknowledged_at_once(self, rig: AlertRig, site: Site) -> None:
        await make(site)
        for i in range(6):
            await rig.happen(i, device=f"d{i % 2}")
        await rig.follow()
        alerts = await listed(site)
        await act(site, alerts[0]["id"], "resolve")
        unknown = str(uuid4())
        ids = [alerts[0]["id"], alerts[1]["id"], unknown]
        done = (await site.client.post("/v1/alerts/acknowledge", json={"ids": ids})).json()
        assert [a["id"] for a in done["items"]] == [alerts[1]["id"]]
        assert [r["id"] for r in done["refused"]] == [alerts[0]["id"], unknown]
        rest = (await site.client.post("/v1/alerts/acknowledge", json={"device": "d1"})).json()
        assert {a["device"] for a in rest["items"]} == {"d1"}
        assert len(await listed(site, state="open")) == 2
        for body in ({}, {"ids": ids, "device": "d1"}):
            response = await site.client.post("/v1/alerts/acknowledge", json=body)
            assert_problem(response, 422, "ids")

    async def test_lists_answer_every_question(self, rig: AlertRig, site: Site) -> None:
        await make(site, id="a", cooldown_s=50)
        await make(site, id="b", types=["fence.exited"], severity="critical")
        for at_s in (0, 10, 100):
            await rig.happen(at_s)
        event = await rig.happen(200, "fence.exited", fence="yard", device="truck")
        await rig.follow()
        n = {
            "all": len(await listed(site)),
            "suppressed": len(await listed(site, state="suppressed")),
            "open": len(await listed(site, state="open")),
            "several": len(await listed(site, state=["open", "suppressed"])),
            "rule": len(await listed(site, rule="a")),
            "device": len(await listed(site, device="truck")),
            "fence": len(await listed(site, fence="yard")),
            "critical": len(await listed(site, severity="critical")),
            "event": len(await listed(site, event=str(event.id))),
            "none": len(await listed(site, state="resolved")),
            "time": len(await listed(site, **{
                "from": "2026-03-08T12:01:00Z", "to": "2026-03-08T12:03:20Z",
            })),
        }  # fmt: skip
        assert n == {
            "all": 3, "suppressed": 1, "open": 3, "several": 4, "rule": 2, "device": 1,
            "fence": 1, "critical": 1, "event": 1, "none": 0, "time": 1,
        }  # fmt: skip
        first = (await site.get("/v1/alerts", limit=2)).json()
        rest = (await site.get("/v1/alerts", limit=2, cursor=first["next"])).json()
        assert [a["event"]["time"][11:19] for a in first["items"] + rest["items"]] == [
            "12:03:20", "12:01:40", "12:00:00",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("verb", "body", "field"),
        [
            ("snooze", {}, "until"),
            ("snooze", {"for_s": 5, "until": "2999-01-01T00:00:00Z"}, "until"),
            ("snooze", {"until": "2001-01-01T00:00:00Z"}, "until"),
            ("snooze", {"until": "2999-01-01T00:00:00Z"}, "until"),
            ("snooze", {"for_s": 0}, "for_s"),
            ("resolve", {"note": 5}, "note"),
            ("resolve", {"why": "x"}, "why"),
        ],
    )
    async def test_a_mistake_is_named_and_changes_nothing(
        self, rig: AlertRig, site: Site, verb: str, body: dict[str, Any], field: str
    ) -> None:
        await make(site)
        await rig.happen(1)
        await rig.follow()
        [alert] = await listed(site)
        assert_problem(await act(site, alert["id"], verb, **body), 422, field)
        assert await listed(site) == [alert]

    async def test_an_event_kept_silent_cannot_be_acted_on(self, rig: AlertRig, site: Site) -> None:
        await make(site, cooldown_s=60)
        await rig.happen(1)
        await rig.happen(2)
        await rig.follow()
        [silent] = await listed(site, state="suppressed")
        [alert] = await listed(site)
        assert silent["suppressed_by"] == alert["id"]
        assert alert["suppressed_n"] == 1
        for verb in ("acknowledge", "resolve", "reopen"):
            assert_problem(await act(site, silent["id"], verb), 409)


class TestWhoMay:
    async def test_a_viewer_reads_and_changes_nothing(
        self, rig: AlertRig, database_url: str, valkey_url: str
    ) -> None:
        async with site_of(database_url, valkey_url, "viewer") as site:
            stored = await site.client.post("/v1/rules/test", json={"rule": RULE, **WINDOW})
            assert stored.status_code == 200
            for method, path in CHANGES:
                response = await site.client.request(method, path.format(id=uuid4()), json=RULE)
                assert_problem(response, 403)
            for path in ("/v1/rules", "/v1/alerts"):
                assert (await site.get(path)).status_code == 200
        assert await rig.rows("SELECT count(*) FROM rule") == [(0,)]

    async def test_another_tenant_sees_and_changes_nothing(
        self, rig: AlertRig, site: Site, database_url: str
    ) -> None:
        create_tenant(database_url, "other")
        key = create_key(database_url, "other", "spy", "admin")
        await make(site)
        await rig.happen(1)
        await rig.follow()
        [alert] = await listed(site)
        id_ = alert["id"]
        async with client_of(site.url, key) as spy:
            for path in ("/v1/rules", "/v1/alerts", "/v1/alerts?rule=depot&state=open"):
                assert (await spy.get(path)).json()["items"] == []
            assert_problem(await spy.get("/v1/rules/depot"), 404)
            assert_problem(await spy.delete("/v1/rules/depot"), 404)
            assert_problem(await spy.get(f"/v1/alerts/{id_}"), 404)
            for verb in ("acknowledge", "resolve", "reopen"):
                assert_problem(await spy.post(f"/v1/alerts/{id_}/{verb}"), 404)
            snooze = await spy.post(f"/v1/alerts/{id_}/snooze", json={"for_s": 5})
            assert_problem(snooze, 404)
            bulk = await spy.post("/v1/alerts/acknowledge", json={"ids": [id_]})
            assert bulk.json()["items"] == []
            bulk = await spy.post("/v1/alerts/acknowledge", json={"rule": "depot"})
            assert bulk.json() == {"items": [], "refused": []}
            tried = await spy.post("/v1/rules/test", json={"rule": RULE, **WINDOW})
            assert (tried.json()["events_n"], tried.json()["items"]) == (0, [])
            # The same id is free for it, and another rule.
            assert (await spy.put("/v1/rules/depot", json=RULE)).json()["version"] == 1
        assert (await site.get("/v1/rules/depot")).json()["version"] == 1
        assert await listed(site) == [alert]


CHANGES = [
    ("POST", "/v1/rules"),
    ("PUT", "/v1/rules/depot"),
    ("DELETE", "/v1/rules/depot"),
    ("POST", "/v1/alerts/acknowledge"),
    ("POST", "/v1/alerts/{id}/acknowledge"),
    ("POST", "/v1/alerts/{id}/snooze"),
    ("POST", "/v1/alerts/{id}/resolve"),
    ("POST", "/v1/alerts/{id}/reopen"),
]
