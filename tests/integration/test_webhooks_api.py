"""Webhooks over HTTP: made, read without their secrets, changed, and kept from others."""

import pytest
from psycopg import connect

from tests.integration.api_site import Rows, client_of
from tests.integration.hooks_rig import admin_site, hook, hook_of
from tracking.store.keys import create_key

URL = "https://example.com/hook"


async def test_what_is_read_tells_no_secret_and_can_be_sent_back(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site:
        made = await hook(
            site.client, URL, id="orders", headers={"X-Token": "hunter2"},
            filter={"types": ["trip.*"], "bbox": [5, 52, 6, 53]}, max_per_s=5,
        )  # fmt: skip
        assert made["secret"].startswith("whsec_")
        told = await hook_of(site.client, "orders")
        assert "secret" not in told
        assert told["headers"] == {"X-Token": "***"}
        again = await site.client.put("/v1/webhooks/orders", json=told)
        assert again.status_code == 200, again.text
        changed = {"version", "updated_at"}
        assert {k: v for k, v in again.json().items() if k not in changed} == {
            k: v for k, v in told.items() if k not in changed
        }
        with connect(database_url) as conn:
            kept = str(conn.execute("SELECT w::text, secrets FROM webhook w").fetchall())
            audit = str(conn.execute("SELECT before, after FROM audit_log").fetchall())
        for text in (kept, audit):
            assert "hunter2" not in text
            assert made["secret"][6:] not in text


async def test_changes_are_by_version(database_url: str, valkey_url: str) -> None:
    async with admin_site(database_url, valkey_url) as site:
        await hook(site.client, URL, id="orders", max_per_s=5)
        path = "/v1/webhooks/orders"
        edited = await site.client.patch(
            path, json={"description": "new", "max_per_s": None}, headers={"If-Match": '"1"'}
        )
        assert (edited.status_code, edited.headers["etag"]) == (200, '"2"')
        assert (edited.json()["description"], edited.json()["max_per_s"]) == ("new", None)
        late = await site.client.put(path, json={"url": URL}, headers={"If-Match": '"1"'})
        assert late.status_code == 412
        taken = await site.client.post("/v1/webhooks", json={"id": "orders", "url": URL})
        assert taken.status_code == 409
        assert (await site.client.delete(path)).status_code == 204
        assert (await site.client.get(path)).status_code == 404
        assert (await site.client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "no url"}, "url"),
        ({"url": URL, "kind": "pigeon"}, "kind"),
        ({"url": URL, "filter": {"bbox": [5, 52, 6, 91]}}, "filter.bbox"),
        ({"url": URL, "filter": {"colour": "red"}}, "filter.colour"),
        ({"url": URL, "filter": {"alerts": {"rules": [""]}}}, "filter.alerts.rules[0]"),
        ({"url": URL, "headers": {"Host": "x"}}, "headers"),
        ({"url": URL, "headers": {"X": "a\r\nb"}}, "headers"),
        ({"url": URL, "max_per_s": 0}, "max_per_s"),
        ({"url": URL, "title": "$nobody"}, "title"),
        ({"url": URL, "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"url": "slack://a/b/c", "kind": "apprise"}, "url"),
        ({"url": URL, "id": "../etc"}, "id"),
        ({"url": URL + "\u0000"}, "url"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(
    database_url: str, valkey_url: str, body: dict[str, object], field: str
) -> None:
    async with admin_site(database_url, valkey_url) as site:
        answer = await site.client.post("/v1/webhooks", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field


async def test_nobody_but_an_admin_and_no_other_tenant_sees_a_webhook(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site:
        await hook(site.client, URL, id="orders")
        with Rows(database_url, "blue"):
            stranger = create_key(database_url, "blue", "stranger", "admin")
        async with client_of(site.url, stranger) as other:
            assert (await other.get("/v1/webhooks")).json()["items"] == []
            for method, path in everything_about("orders"):
                answer = await other.request(method, path, json=_body(path))
                assert answer.status_code == 404, (method, path)
            # The id is free for them, and theirs is another webhook.
            await hook(other, URL + "/blue", id="orders")
        for role in ("viewer", "dispatcher", "service"):
            key = create_key(database_url, "default", role, role)
            async with client_of(site.url, key) as client:
                for method, path in (("GET", "/v1/webhooks"), *everything_about("orders")):
                    answer = await client.request(method, path, json=_body(path))
                    assert answer.status_code == 403, (role, method, path)
        assert (await hook_of(site.client, "orders"))["url"] == URL


async def test_without_a_key_to_seal_with_no_webhook_is_made(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url, secret_key=None) as site:
        answer = await site.client.post("/v1/webhooks", json={"url": URL})
        assert answer.status_code == 503
        assert "WAYMARK_SECRET_KEY" in answer.json()["detail"]


async def test_what_is_asked_of_a_webhook_is_in_the_audit_log(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site:
        await hook(site.client, URL, id="orders")
        await site.client.post("/v1/webhooks/orders/test")
        await site.client.post("/v1/webhooks/orders/replay", json={"since": 0})
        await site.client.post("/v1/webhooks/orders/secret")
        lines = (await site.client.get("/v1/audit?noun=webhooks")).json()["items"]
        assert [line["action"] for line in lines][::-1] == ["create", "test", "replay", "update"]


def everything_about(id_: str) -> list[tuple[str, str]]:
    path = f"/v1/webhooks/{id_}"
    return [
        ("GET", path),
        ("PUT", path),
        ("PATCH", path),
        ("POST", f"{path}/secret"),
        ("POST", f"{path}/test"),
        ("GET", f"{path}/deliveries"),
        ("GET", f"{path}/deliveries/1"),
        ("POST", f"{path}/deliveries/1/replay"),
        ("POST", f"{path}/dead-letters/replay"),
        ("POST", f"{path}/replay"),
        ("DELETE", path),
    ]


def _body(path: str) -> dict[str, object] | None:
    if path.endswith("/replay") and "deliver" not in path and "dead" not in path:
        return {"since": 0}
    if path.endswith("/secret"):
        return {}
    return {"url": URL} if path.count("/") == 3 else None
