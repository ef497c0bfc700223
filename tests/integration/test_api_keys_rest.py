"""API keys over the api: made, narrowed, rotated and revoked, and never more than their maker."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.api_site import Rows, Site, api_site, client_of
from tracking.store.keys import create_key

SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "office", "admin")
    async with api_site(database_url, valkey_url, key=key) as running:
        yield running


async def _make(site: Site, **members: object) -> dict[str, Any]:
    made = await site.client.post("/v1/api-keys", json={"name": "map", **members})
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == f"/v1/api-keys/{made.json()['id']}"
    told: dict[str, Any] = made.json()
    return told


async def _status(site: Site, key: str, method: str, path: str, **body: Any) -> int:  # noqa: ANN401 -- JSON
    async with client_of(site.url, key) as client:
        answer = await client.request(method, path, json=body or None)
    return answer.status_code


async def test_a_key_is_shown_once_and_listed_without_it(site: Site) -> None:
    made = await _make(site, role="service", scopes=["fences:write", "fences:read"])
    listed = (await site.client.get("/v1/api-keys")).json()["items"]
    assert [key["name"] for key in listed] == ["office", "map"]
    assert made.pop("key").startswith("wmk_")
    assert listed[1] == made
    assert made["scopes"] == ["fences:read", "fences:write"]
    assert (await site.client.get(f"/v1/api-keys/{made['id']}")).json() == made


async def test_scopes_narrow_what_the_role_grants_and_never_widen_it(site: Site) -> None:
    narrow = (await _make(site, role="dispatcher", scopes=["fences:read"]))["key"]
    assert await _status(site, narrow, "GET", "/v1/fences") == 200
    assert await _status(site, narrow, "GET", "/v1/devices") == 403
    assert await _status(site, narrow, "DELETE", "/v1/fences/x") == 403
    wide = (await _make(site, role="viewer", scopes=["*:*"]))["key"]
    assert await _status(site, wide, "GET", "/v1/devices") == 200
    assert await _status(site, wide, "DELETE", "/v1/fences/x") == 403


async def test_a_key_ends_when_it_was_to(site: Site, database_url: str) -> None:
    made = await _make(site, expires_at=SOON)
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE api_key SET expires_at = now() WHERE id = %s", (made["id"],))
    assert await _status(site, made["key"], "GET", "/v1/devices") == 401


async def test_a_revoked_key_opens_nothing_and_stays_listed(site: Site) -> None:
    made = await _make(site)
    path = f"/v1/api-keys/{made['id']}"
    assert [(await site.client.delete(path)).status_code for _ in range(2)] == [204, 204]
    assert await _status(site, made["key"], "GET", "/v1/devices") == 401
    assert (await site.client.get(path)).json()["revoked_at"] is not None
    again = await site.client.post(path + "/rotate")
    assert again.status_code == 409


async def test_rotation_leaves_the_old_key_for_an_overlap(site: Site) -> None:
    old = await _make(site, role="service", scopes=["events:read"], expires_at=SOON)
    path = f"/v1/api-keys/{old['id']}"
    new = (await site.client.post(path + "/rotate", json={"overlap_s": 3_600})).json()
    assert new["id"] != old["id"]
    assert [new[m] for m in ("name", "role", "scopes")] == [
        old[m] for m in ("name", "role", "scopes")
    ]
    lives = datetime.fromisoformat(new["expires_at"]) - datetime.fromisoformat(new["created_at"])
    assert abs(lives - timedelta(days=30)) < timedelta(minutes=10)
    ends = datetime.fromisoformat((await site.client.get(path)).json()["expires_at"])
    assert timedelta(minutes=50) < ends - datetime.now(UTC) <= timedelta(hours=1)
    for key in (old["key"], new["key"]):
        assert await _status(site, key, "GET", "/v1/events") == 200
    at_once = await site.client.post(f"/v1/api-keys/{new['id']}/rotate", json={"overlap_s": 0})
    assert at_once.status_code == 201
    assert (await site.client.post(f"/v1/api-keys/{new['id']}/rotate")).status_code == 409


async def test_no_key_makes_one_that_may_more_than_itself(site: Site) -> None:
    scoped = (await _make(site, role="admin", scopes=["api-keys:*", "fences:*"]))["key"]
    async with client_of(site.url, scoped) as client:
        for refused in (
            {"role": "admin"},
            {"role": "viewer"},
            {"role": "admin", "scopes": ["*:read"]},
            {"role": "viewer", "scopes": ["fences:read", "devices:read"]},
        ):
            answer = await client.post("/v1/api-keys", json={"name": "x", **refused})
            assert answer.status_code == 403, refused
        # Neither by taking over one there is.
        assert (await client.post("/v1/api-keys/1/rotate")).status_code == 403
        granted = {"name": "x", "role": "dispatcher", "scopes": ["fences:write"]}
        assert (await client.post("/v1/api-keys", json=granted)).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({}, "name", id="no name"),
        pytest.param({"name": ""}, "name", id="empty name"),
        pytest.param({"name": "x", "role": "king"}, "role", id="no role"),
        pytest.param({"name": "x", "scopes": []}, "scopes", id="no scopes"),
        pytest.param({"name": "x", "scopes": ["fences"]}, "scopes[0]", id="no action"),
        pytest.param({"name": "x", "scopes": ["a:read"]}, "scopes[0]", id="no such noun"),
        pytest.param({"name": "x", "scopes": ["*:read", "*:fly"]}, "scopes[1]", id="no such act"),
        pytest.param({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", id="past"),
        pytest.param({"name": "x", "expires_at": "2099-01-01T00:00"}, "expires_at", id="no zone"),
        pytest.param({"name": "x", "digest": "x"}, "digest", id="unknown member"),
    ],
)
async def test_mistakes_are_named(site: Site, body: dict[str, object], field: str) -> None:
    refused = await site.client.post("/v1/api-keys", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["field"] == field


async def test_keys_of_another_tenant_are_not_there(site: Site, database_url: str) -> None:
    with Rows(database_url, "other"):
        theirs = create_key(database_url, "other", "theirs", "admin")
    async with client_of(site.url, theirs) as client:
        assert [k["name"] for k in (await client.get("/v1/api-keys")).json()["items"]] == ["theirs"]
        for method, path in (("GET", "1"), ("DELETE", "1"), ("POST", "1/rotate")):
            assert (await client.request(method, f"/v1/api-keys/{path}")).status_code == 404
    assert (await site.client.get("/v1/devices")).status_code == 200
