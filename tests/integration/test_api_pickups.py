"""Pickups over the api: asked for, tried in vain, planned anew, and picked up by themselves."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.shipments import turn
from tests.integration.api_site import Site, api_site
from tracking.store.connection import Connection, connect
from tracking.store.keys import create_key

WINDOW = {
    "from": "2099-03-08T08:00:00Z", "to": "2099-03-08T10:00:00Z", "time_zone": "Europe/Amsterdam",
}  # fmt: skip
ASKED = {"name": "Workshop", "place": {"lon": 5.0, "lat": 52.0}, "window": WINDOW}


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, name="follower") as conn:
        yield conn


async def ask(site: Site, id_: str = "p1", **members: Any) -> Any:  # noqa: ANN401 -- JSON
    made = await site.client.post("/v1/pickups", json={**ASKED, "id": id_, **members})
    assert made.status_code == 201, made.text
    return made.json()


async def follow(conn: Connection) -> None:
    while await turn(conn):
        pass


async def ids(site: Site, **wanted: str) -> list[str]:
    found = await site.get("/v1/pickups", **wanted)
    assert found.status_code == 200, found.text
    return [item["id"] for item in found.json()["items"]]


async def told(site: Site) -> list[str]:
    items = (await site.get("/v1/events", limit=100)).json()["items"]
    return [item["type"] for item in items if item["subject"].startswith("pickup/")]


async def test_a_pickup_becomes_a_shipment_and_is_picked_up_with_it(site: Site) -> None:
    made = await ask(site, order_ref="o1", deliver_to={"kind": "delivery", "name": "Depot"})
    assert (made["kind"], made["status"], made["shipment"]) == ("scheduled", "scheduled", "p1")
    assert made["planned_until"] == WINDOW["to"]
    order = (await site.get("/v1/orders/o1/tracking")).json()
    assert [stop["kind"] for stop in order["items"][0]["stops"]] == ["pickup", "delivery"]
    now = datetime.now(UTC)
    for act, status in (("arrived", "at_stop"), ("departed", "picked_up")):
        at = (now - timedelta(seconds=60 if act == "arrived" else 30)).isoformat()
        await site.client.post("/v1/shipments/p1/overrides", json={"act": act, "stop": 0, "at": at})
        assert (await site.get("/v1/pickups/p1")).json()["status"] == status
    for refused in (
        await site.client.delete("/v1/pickups/p1"),
        await site.client.patch("/v1/pickups/p1", json={"window": WINDOW}),
    ):
        assert refused.status_code == 409


async def test_an_attempt_in_vain_fails_it_until_it_is_planned_anew(site: Site) -> None:
    await ask(site)
    path = "/v1/pickups/p1/attempts"
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    for _ in range(2):  # as after a lost answer
        failed = await site.client.post(path, json={"reason": "closed", "at": at})
        assert (failed.status_code, failed.json()["status"]) == (201, "failed")
    assert [a["reason"] for a in failed.json()["attempts"]] == ["closed"]
    later = {"from": "2099-03-09T08:00:00Z", "to": "2099-03-09T10:00:00Z"}
    for _ in range(2):
        anew = await site.client.patch("/v1/pickups/p1", json={"window": later})
    assert (anew.json()["status"], anew.json()["planned_from"]) == ("scheduled", later["from"])
    shipment = (await site.get("/v1/shipments/p1")).json()
    assert shipment["stops"][0]["arrive"]["planned"] == later["from"]
    again = await site.client.post(path, json={"reason": "no dock", "window": WINDOW})
    assert (again.json()["status"], len(again.json()["attempts"])) == ("scheduled", 2)
    assert again.json()["planned_from"] == WINDOW["from"]
    assert await told(site) == ["pickup.attempted", "pickup.rescheduled", "pickup.attempted"]


async def test_a_pickup_may_be_a_stop_of_a_shipment_that_is_there(site: Site) -> None:
    stops = [{"kind": "via"}, {"kind": "pickup", "name": "Yard"}, {"kind": "delivery"}]
    await site.client.post("/v1/shipments", json={"id": "s1", "stops": stops, "order_ref": "o9"})
    made = await site.client.post("/v1/pickups", json={"id": "p1", "shipment": "s1"})
    body = made.json()
    assert (body["shipment"], body["stop"], body["name"]) == ("s1", 1, "Yard")
    assert await ids(site, order="o9") == ["p1"]
    refused = await site.client.post("/v1/pickups", json={"id": "p2", "shipment": "none"})
    assert (refused.status_code, refused.json()["field"]) == (409, "shipment")
    assert (await site.get("/v1/pickups/p2")).status_code == 404


async def test_a_pickup_on_demand_is_for_now(site: Site) -> None:
    made = await ask(site, window=None, express=True)
    assert (made["kind"], made["express"], made["planned_until"]) == ("on_demand", True, None)
    age = datetime.now(UTC) - datetime.fromisoformat(made["planned_from"])
    assert timedelta() <= age < timedelta(minutes=5)
    assert await ids(site, express="true") == ["p1"]


async def test_pickups_are_called_off_and_found_by_what_became_of_them(site: Site) -> None:
    for n in range(3):
        await ask(site, f"p{n}")
    for _ in range(2):
        cancelled = await site.client.delete("/v1/pickups/p0")
        assert cancelled.json()["status"] == "cancelled"
    assert (await site.client.delete("/v1/shipments/p1")).status_code == 200
    assert await ids(site, status="cancelled") == ["p1", "p0"]
    assert await ids(site, status="scheduled") == ["p2"]
    assert await ids(site, **{"from": "2099-03-08T11:00:00Z"}) == []
    assert await told(site) == ["pickup.cancelled"]
    assert (await site.client.delete("/v1/pickups/none")).status_code == 404


async def test_a_series_makes_its_pickups_two_days_ahead_and_each_once(
    site: Site, conn: Connection
) -> None:
    today = datetime.now(UTC).date()
    recurrence = {
        "freq": "daily", "from": str(today + timedelta(days=1)), "start": "00:00", "end": "23:59",
        "count": 30,
    }  # fmt: skip
    made = await ask(site, "daily", window=None, recurrence=recurrence)
    assert (made["kind"], made["status"], made["shipment"]) == ("recurring", "series", None)
    await follow(conn)
    await follow(conn)
    days = [f"daily-{today + timedelta(days=n):%Y%m%d}" for n in (2, 1)]
    assert await ids(site, series="daily") == days
    assert await ids(site, status="series") == ["daily"]
    # One that was called off is not made again; the series goes on.
    await site.client.delete(f"/v1/pickups/{days[0]}")
    await conn.execute("UPDATE pickup SET due_at = now() WHERE id = 'daily'")
    await follow(conn)
    assert await ids(site, series="daily") == days
    found = await conn.execute("SELECT due_at::date FROM pickup WHERE id = 'daily'")
    assert await found.fetchall() == [(today + timedelta(days=1),)]
    assert (await site.client.delete("/v1/pickups/daily")).json()["status"] == "cancelled"
    await conn.execute("UPDATE shipment SET dirty = true")
    await follow(conn)
    found = await conn.execute("SELECT due_at FROM pickup WHERE id = 'daily'")
    assert await found.fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"window": WINDOW}, "place"),
        ({**ASKED, "fence": "f"}, "fence"),
        ({**ASKED, "shipment": "s1"}, "place"),
        ({**ASKED, "deliver_to": {"kind": "via"}}, "deliver_to.kind"),
        ({**ASKED, "recurrence": {"freq": "daily", "from": "2026-03-08", "start": "8", "end": "9"}},
         "recurrence.start"),
        ({**ASKED, "window": {**WINDOW, "time_zone": "Mars/Base"}}, "window.time_zone"),
        ({"place": ASKED["place"], "recurrence": {
            "freq": "daily", "from": "2026-03-08", "start": "08:00", "end": "09:00",
            "days": ["mon"]}}, "recurrence.days"),
    ],
)  # fmt: skip
async def test_a_pickup_that_means_nothing_is_refused_by_its_member(
    site: Site, body: Mapping[str, Any], field: str
) -> None:
    refused = await site.client.post("/v1/pickups", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
