"""Shipments and orders over the api: planned, found, followed, and seen by whom they concern."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from api.document.openapi import operations_of
from tests.integration.api_site import NOON, Rows, Site, api_site, client_of, later
from tests.integration.feed_client import feed_client
from tracking.access import PARTY_NOUNS
from tracking.settings import load_settings
from tracking.store.keys import create_key

DOCUMENT = create_app(load_settings()).openapi()
# What fits every path parameter.
UUID_ = "0b8e8c1e-7a64-4a5c-9a71-4d3a7e1e1f10"
STOPS = [
    {
        "kind": "pickup",
        "name": "Depot",
        "place": {"lon": 5.0, "lat": 52.0},
        "window": {
            "from": "2099-03-08T06:00:00Z", "to": "2099-03-08T07:00:00Z",
            "time_zone": "Europe/Amsterdam",
        },
        "service_s": 600,
    },
    {"kind": "delivery", "place": {"lon": 5.1, "lat": 52.0, "radius_m": 80}},
]  # fmt: skip


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def plan(site: Site, id_: str = "s1", **members: Any) -> Any:  # noqa: ANN401 -- JSON
    given = {"id": id_, "stops": STOPS} | members
    made = await site.client.post("/v1/shipments", json=given)
    assert made.status_code == 201, made.text
    return made.json()


async def carry(site: Site, id_: str, device: str, at: Any = NOON) -> None:  # noqa: ANN401 -- datetime
    attached = await site.client.post(
        "/v1/attachments",
        json={
            "load": {"kind": "shipment", "id": id_},
            "carrier": {"kind": "device", "id": device},
            "from": at.isoformat(),
        },
    )
    assert attached.status_code == 201, attached.text


async def ids(site: Site, **wanted: str) -> list[str]:
    found = await site.get("/v1/shipments", **wanted)
    assert found.status_code == 200, found.text
    return [item["id"] for item in found.json()["items"]]


async def test_a_shipment_is_planned_changed_and_cancelled(site: Site) -> None:
    made = await plan(site, order_ref="o1", attrs={"pallets": 2})
    assert (made["status"], made["next_stop"], made["exceptions"]) == ("planned", 0, [])
    depot, shop = made["stops"]
    assert depot["arrive"] == {"planned": "2099-03-08T06:00:00Z", "estimated": None, "actual": None}
    assert depot["depart"]["planned"] == "2099-03-08T06:10:00Z"
    assert depot["time_zone"] == "Europe/Amsterdam"
    assert shop["name"] == "delivery 2"
    taken = await site.client.post("/v1/shipments", json={"id": "s1", "stops": STOPS})
    assert (taken.status_code, taken.json()["field"]) == (409, "id")
    path = "/v1/shipments/s1"
    changed = await site.client.patch(path, json={"kind": "return"}, headers={"If-Match": '"1"'})
    assert (changed.json()["kind"], changed.json()["version"]) == ("return", 2)
    assert changed.json()["attrs"] == {"pallets": 2}
    stale = await site.client.patch(path, json={"kind": "return"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    cancelled = await site.client.delete(path)
    assert cancelled.json()["status"] == "cancelled"
    again = await site.client.delete(path)
    assert (again.status_code, again.json()["since"]) == (200, cancelled.json()["since"])
    said = (await site.get(f"{path}/overrides")).json()["items"]
    assert [(one["act"], one["made_by"]) for one in said] == [("cancelled", "dispatch")]
    refused = await site.client.post(f"{path}/overrides", json={"act": "delivered"})
    assert refused.status_code == 409
    back = await site.client.delete(f"{path}/overrides/{said[0]['id']}")
    assert back.json()["status"] == "planned"


async def test_a_copy_is_asked_for_again_when_the_shipment_moved_though_its_plan_did_not(
    site: Site,
) -> None:
    await plan(site)
    path, fields = "/v1/shipments/s1", {"fields": "id,status,stops"}
    first = await site.get(path, **fields)
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]

    async def again() -> int:
        same = {"If-None-Match": tag}
        return (await site.client.get(path, params=fields, headers=same)).status_code

    assert await again() == 304
    arrived = {"act": "arrived", "stop": 0, "at": NOON.isoformat()}
    await site.client.post(f"{path}/overrides", json=arrived)
    assert await again() == 200


async def test_every_change_of_a_plan_is_told_and_none_that_is_none(site: Site) -> None:
    await plan(site)
    for _ in range(2):
        await site.client.patch("/v1/shipments/s1", json={"attrs": {"pallets": 2}})
    told = (await site.get("/v1/shipments/s1/events")).json()["items"]
    assert [(e["type"], e["data"].get("version")) for e in told] == [
        ("shipment.status_changed", None),
        ("shipment.replanned", 2),
    ]
    newest = (await site.get("/v1/shipments/s1/events", order="desc", limit=1)).json()["items"]
    assert newest == told[-1:]


async def test_overrides_carry_proof_and_stand_among_its_events(site: Site) -> None:
    await plan(site)
    path = "/v1/shipments/s1/overrides"
    await site.client.post(path, json={"act": "departed", "stop": 0, "at": NOON.isoformat()})
    done = await site.client.post(
        path,
        json={
            "act": "delivered", "stop": 1, "at": later(60).isoformat(),
            "proof": {"name": "J. Doe", "code": "1234"},
        },
    )  # fmt: skip
    body = done.json()
    assert (done.status_code, body["status"]) == (201, "delivered")
    assert body["stops"][1]["proof"]["name"] == "J. Doe"
    assert body["stops"][1]["arrive"]["actual"] == "2026-03-08T12:01:00Z"
    told = (await site.get("/v1/shipments/s1/events")).json()["items"]
    assert [(e["type"], e["data"].get("to")) for e in sorted(told, key=lambda e: e["time"])] == [
        ("shipment.overridden", None),
        ("stop.departed", None),
        ("shipment.status_changed", "in_transit"),
        ("shipment.overridden", None),
        ("shipment.status_changed", "delivered"),
        ("shipment.status_changed", "planned"),
    ]
    assert {event["subject"] for event in told} == {"shipment/s1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stops": []}, "stops"),
        ({"stops": STOPS, "id": "a/b"}, "id"),
        ({"stops": [{"kind": "drop"}]}, "stops[0].kind"),
        ({"stops": [{"kind": "via", "place": {"lon": 181, "lat": 0}}]}, "stops[0].place.lon"),
        ({"stops": [{"kind": "via", "fence": "none"}]}, "stops[0].fence"),
        (
            {"stops": [{"kind": "via", "window": {"time_zone": "Mars/Base"}}]},
            "stops[0].window.time_zone",
        ),
        (
            {"stops": [{"kind": "via", "fence": "f", "place": {"lon": 1, "lat": 1}}]},
            "stops[0].fence",
        ),
    ],
)
async def test_a_plan_that_means_nothing_is_refused_by_its_member(
    site: Site, body: Mapping[str, Any], field: str
) -> None:
    refused = await site.client.post("/v1/shipments", json=body)
    assert (refused.status_code, refused.json()["field"].replace(".0", "[0]")) == (422, field)


async def test_a_timetable_is_kept_and_one_that_cannot_be_is_refused_by_its_stop(
    site: Site,
) -> None:
    depot, shop = cast("list[dict[str, Any]]", STOPS)
    timed = [depot, shop | {"window": {"from": "2099-03-08T08:00:00Z"}}]
    early = [depot, shop | {"window": {"from": "2099-03-08T06:05:00Z"}}]
    made = await plan(site, stops=timed, timetable=True)
    assert made["timetable"] is True
    assert (await plan(site, "s2"))["timetable"] is False
    post = {"id": "s3", "stops": STOPS, "timetable": True}
    refused = [
        await site.client.post("/v1/shipments", json=post),
        await site.client.post("/v1/shipments", json={**post, "stops": early}),
        await site.client.patch("/v1/shipments/s1", json={"stops": STOPS}),
        await site.client.patch("/v1/shipments/s2", json={"timetable": True}),
    ]
    assert {(one.status_code, one.json()["field"]) for one in refused} == {
        (422, "stops[1].window.from")
    }
    one = {"stops": STOPS, "timetable": False}
    assert (await site.client.patch("/v1/shipments/s1", json=one)).json()["timetable"] is False
    back = {"stops": timed, "timetable": True}
    assert (await site.client.patch("/v1/shipments/s2", json=back)).json()["timetable"] is True
    assert (await site.get("/v1/shipments/s2")).json()["timetable"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"act": "arrived"}, "stop"),
        ({"act": "arrived", "stop": 2}, "stop"),
        ({"act": "arrived", "stop": 0, "at": "2099-01-01T00:00:00Z"}, "at"),
        ({"act": "cancelled", "stop": 0}, "stop"),
    ],
)
async def test_an_override_that_cannot_be_is_refused(
    site: Site, body: Mapping[str, Any], field: str
) -> None:
    await plan(site)
    refused = await site.client.post("/v1/shipments/s1/overrides", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_shipments_are_found_by_what_they_are_and_by_who_carries_them(
    site: Site, rows: Rows
) -> None:
    rows.device("gps")
    await plan(site, "a", order_ref="o1", parties={"carrier": "fast"})
    await plan(site, "b", order_ref="o1", parties={"shipper": "acme"})
    await plan(site, "c", stops=[{"kind": "delivery"}])
    await carry(site, "b", "gps")
    await site.client.post("/v1/assets", json={"id": "truck", "kind": "vehicle"})
    await site.client.post(
        "/v1/attachments",
        json={"load": {"kind": "shipment", "id": "a"}, "carrier": {"kind": "asset", "id": "truck"}},
    )
    await site.client.delete("/v1/shipments/a")
    # Who carries it is derived; an edit of the plan does it at once.
    await site.client.patch("/v1/shipments/b", json={"attrs": {}})
    assert await ids(site) == ["c", "b", "a"]
    assert await ids(site, id="b") == ["b"]
    assert await ids(site, id="%") == []
    assert await ids(site, order="o1") == ["b", "a"]
    assert await ids(site, status="cancelled") == ["a"]
    assert await ids(site, party="fast") == ["a"]
    assert await ids(site, carrier="truck") == ["a"]
    assert await ids(site, device="gps") == ["b"]
    assert await ids(site, device="none") == []
    assert await ids(site, delayed="true") == []
    assert await ids(site, **{"from": "2099-03-08T07:00:00Z"}) == ["b", "a"]
    assert await ids(site, to="2099-03-08T06:00:00Z") == []
    first = (await site.get("/v1/shipments", limit=2)).json()
    assert await ids(site, limit="2", cursor=first["next"]) == ["a"]


async def test_an_order_tells_where_all_its_shipments_are(site: Site, rows: Rows) -> None:
    rows.fixes(rows.device("gps"), 20)
    await plan(site, "a", order_ref="o/1 ä")
    await plan(site, "b", order_ref="o/1 ä")
    await carry(site, "a", "gps")
    assert (await site.get("/v1/orders/none/tracking")).status_code == 404
    slashed = (await site.get("/v1/orders/o%2F1%20%C3%A4/tracking")).json()
    assert [item["id"] for item in slashed["items"]] == ["b", "a"]
    await plan(site, "c", order_ref="o1")
    found = (await site.get("/v1/orders/o1/tracking")).json()
    assert [item["id"] for item in found["items"]] == ["c"]
    await carry(site, "c", "gps")
    [item] = (await site.get("/v1/orders/o1/tracking")).json()["items"]
    seen = item["last_seen"]
    assert (seen["position"]["fix_time"], seen["stale"]) == ("2026-03-08T12:00:09Z", True)
    assert seen["age_s"] > 86_400
    assert seen["carried_by"]["device"] == "gps"


async def test_a_track_joins_whoever_carried_it(site: Site, rows: Rows) -> None:
    for name in ("one", "two"):
        rows.fixes(rows.device(name), 20)
    await plan(site)
    await carry(site, "s1", "one")
    [attached] = (await site.get("/v1/attachments", shipment="s1")).json()["items"]
    await site.client.patch(f"/v1/attachments/{attached['id']}", json={"to": later(4).isoformat()})
    await carry(site, "s1", "two", later(6))
    asked = {"from": NOON.isoformat(), "to": later(20).isoformat()}
    found = (await site.get("/v1/shipments/s1/track", **asked)).json()
    assert [part["device"] for part in found["parts"]] == ["one", None, "two"]
    assert [item["device"] for item in found["items"]] == ["one"] * 8 + ["two"] * 8


async def test_nobody_may_use_the_ids_of_fences_made_for_shipments(site: Site) -> None:
    shape = {"type": "Circle", "center": [5, 52], "radius_m": 100}
    for answer in (
        await site.client.put("/v1/fences/shipment:s1:1", json={"shape": shape}),
        await site.client.post("/v1/fences", json={"id": "shipment:x", "shape": shape}),
    ):
        assert (answer.status_code, answer.json()["field"]) == (422, "id")


async def test_fences_made_for_shipments_are_listed_to_whoever_asks_for_them(
    site: Site, rows: Rows
) -> None:
    rows.device("gps")
    await plan(site)
    await carry(site, "s1", "gps")
    await site.client.patch("/v1/shipments/s1", json={"attrs": {}})
    assert (await site.get("/v1/fences")).json()["items"] == []
    found = (await site.get("/v1/fences", id="shipment:s1:")).json()["items"]
    assert [fence["id"] for fence in found] == [f"shipment:s1:{n}" for n in range(1, 5)]
    assert (await site.client.delete("/v1/fences/shipment:s1:1")).status_code == 409
    place = {"points": [[5.0, 52.0]]}
    [located] = (await site.client.post("/v1/fences/locate", json=place)).json()["items"]
    assert located["fences"] == []
    # Nor are stays in them, unless one is asked for.
    data = {"fence": "shipment:s1:1", "fence_name": "Depot", "initial": False}
    rows.event("gps", "fence.entered", data=data, rule="shipment:s1:1")
    assert (await site.get("/v1/visits")).json()["items"] == []
    visits = (await site.get("/v1/visits", fence="shipment:s1:1")).json()["items"]
    assert [visit["device"] for visit in visits] == ["gps"]


class TestParties:
    async def test_a_party_sees_its_own_shipments_and_nothing_of_others(
        self, site: Site, database_url: str, rows: Rows
    ) -> None:
        rows.fixes(rows.device("gps"), 20)
        await plan(site, "mine", order_ref="o1", parties={"carrier": "fast", "shipper": "acme"})
        await plan(site, "other", order_ref="o1", parties={"carrier": "slow"})
        await plan(site, "nobody", order_ref="o2")
        await carry(site, "mine", "gps")
        key = create_key(database_url, "default", "fast", "viewer", party="fast")
        async with client_of(site.url, key) as client:
            fast = Site(site.url, key, client)
            assert await ids(fast) == ["mine"]
            assert await ids(fast, party="slow") == []
            order = (await fast.get("/v1/orders/o1/tracking")).json()
            assert [item["id"] for item in order["items"]] == ["mine"]
            assert (await fast.get("/v1/orders/o2/tracking")).status_code == 404
            for path in ("", "/track", "/events", "/overrides"):
                assert (await fast.get(f"/v1/shipments/mine{path}")).status_code == 200
                for hidden in ("other", "nobody", "none"):
                    found = await fast.get(f"/v1/shipments/{hidden}{path}")
                    assert (found.status_code, found.json()["detail"]) == (
                        404, f"there is no shipment {hidden!r}",
                    )  # fmt: skip

    @pytest.mark.parametrize("role", ["viewer", "admin"])
    async def test_a_party_may_use_no_other_route(
        self, site: Site, database_url: str, role: str
    ) -> None:
        """Whatever its role. Routes are enumerated, so a new one is tried by being there."""
        await plan(site, "mine", parties={"carrier": "fast"})
        key = create_key(database_url, "default", "fast", role, party="fast")
        tried = 0
        async with client_of(site.url, key) as client:
            for (method, path), operation in operations_of(DOCUMENT):
                allowed = operation["tags"][0] in PARTY_NOUNS and method == "get"
                if "security" not in operation or allowed:
                    continue
                answer = await client.request(method, re.sub(r"\{[^}]*\}", UUID_, path))
                assert answer.status_code == 403, (method, path, answer.text)
                tried += 1
        assert tried > 50

    async def test_a_party_gets_no_feed(self, site: Site, database_url: str) -> None:
        key = create_key(database_url, "default", "fast", "admin", party="fast")
        async with feed_client(Site(site.url, key, site.client)) as feed:
            with pytest.raises(ConnectionClosed) as closed:
                await feed.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
