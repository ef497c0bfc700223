"""Share links over the api: unguessable, ending, and showing one shipment only."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.api_site import Rows, Site, api_site
from tracking.store.keys import create_key

STOPS = [
    {"kind": "pickup", "name": "Depot", "place": {"lon": 5.0, "lat": 52.0}},
    {"kind": "delivery", "name": "Shop", "place": {"lon": 5.1, "lat": 52.0}},
]


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        for id_ in ("s1", "s2"):
            body = {"id": id_, "stops": STOPS, "attrs": {"secret": 1}}
            assert (await site.client.post("/v1/shipments", json=body)).status_code == 201
        yield site


@pytest.fixture
async def public(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


async def share(site: Site, id_: str = "s1", **members: Any) -> Any:  # noqa: ANN401 -- JSON
    made = await site.client.post(f"/v1/shipments/{id_}/share", json=members)
    assert made.status_code == 201, made.text
    return made.json()


async def depart(site: Site) -> None:
    """It left its pickup a minute ago."""
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    said = {"act": "departed", "stop": 0, "at": at}
    assert (await site.client.post("/v1/shipments/s1/overrides", json=said)).status_code == 201


async def test_a_link_opens_its_shipment_without_a_credential(
    site: Site, public: httpx.AsyncClient, rows: Rows
) -> None:
    now = datetime.now(UTC)
    rows.fixes(rows.device("gps"), 4, start=now - timedelta(seconds=30))
    await site.client.post(
        "/v1/attachments",
        json={
            "load": {"kind": "shipment", "id": "s1"}, "carrier": {"kind": "device", "id": "gps"},
            "from": (now - timedelta(hours=1)).isoformat(),
        },
    )  # fmt: skip
    link = await share(site)
    assert link["path"] == f"/track/{link['token']}"
    assert len(link["token"]) == 43
    before = await public.get(f"/v1/share/{link['token']}")
    assert (before.json()["status"], before.json()["place"]) == ("planned", None)
    assert before.headers["cache-control"] == "no-store"
    await depart(site)
    found = (await public.get(f"/v1/share/{link['token']}")).json()
    assert (found["status"], found["shipment"], found["for_stop"]) == ("in_transit", "s1", 1)
    assert (found["place"]["lat"], found["place"]["radius_m"]) == (52.0, 0)
    assert "secret" not in str(found)
    assert "gps" not in str(found)


async def test_unknown_expired_and_revoked_links_are_one_and_the_same(
    site: Site, public: httpx.AsyncClient, database_url: str
) -> None:
    expired, revoked = await share(site), await share(site)
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "UPDATE share_link SET expires_at = now() - interval '1 s' WHERE id = %s",
            (expired["id"],),
        )
    for _ in range(2):
        path = f"/v1/shipments/s1/share/{revoked['id']}"
        assert (await site.client.delete(path)).status_code == 204
    told = set()
    for token in (expired["token"], revoked["token"], "x" * 43, "x", "é" * 300):
        answer = await public.get(f"/v1/share/{token}")
        body = answer.json()
        del body["request_id"]
        told.add((answer.status_code, str(body), answer.headers["cache-control"]))
    assert len(told) == 1
    assert next(iter(told))[0] == 404
    listed = (await site.get("/v1/shipments/s1/share")).json()["items"]
    assert [item["revoked_at"] is None for item in listed] == [False, True]
    assert "token" not in listed[0]


async def test_tokens_are_not_kept(site: Site, database_url: str) -> None:
    token = (await share(site))["token"]
    with psycopg.connect(database_url) as conn:
        [(link, audit)] = conn.execute(
            "SELECT (SELECT string_agg(l::text, '') FROM share_link l), "
            "(SELECT string_agg(a::text, '') FROM audit_log a)"
        ).fetchall()
    assert token not in link
    assert "share-links" in audit
    assert token not in audit


async def test_a_link_opens_nothing_else(site: Site, public: httpx.AsyncClient) -> None:
    token = (await share(site))["token"]
    for path in ("/v1/shipments", "/v1/shipments/s1", "/v1/shipments/s1/track", "/v1/devices"):
        answer = await public.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, path
    assert (await public.get(f"/v1/share/{token}/track")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stop": 2}, "stop"),
        ({"stops_away": -1}, "stops_away"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_a_link_that_cannot_be_is_refused(
    site: Site, body: dict[str, object], field: str
) -> None:
    refused = await site.client.post("/v1/shipments/s1/share", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_links_are_made_and_ended_for_their_own_shipment_only(site: Site) -> None:
    link = await share(site)
    wrong = await site.client.delete(f"/v1/shipments/s2/share/{link['id']}")
    assert wrong.status_code == 404
    assert (await site.client.post("/v1/shipments/none/share")).status_code == 404
    # Without a body it is for the last stop, and two weeks.
    made = (await site.client.post("/v1/shipments/s1/share")).json()
    expires = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert (made["stop"], round(expires / timedelta(days=1))) == (1, 14)
