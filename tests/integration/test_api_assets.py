"""Assets and attachments over the api: what carries what, where that is, and what contradicts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.api_site import NOON, Rows, Site, api_site, client_of, later
from tracking.store.keys import create_key


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        for id_, kind in (("truck", "vehicle"), ("pallet", "pallet"), ("parcel", "parcel")):
            made = await site.client.post("/v1/assets", json={"id": id_, "kind": kind})
            assert made.status_code == 201, made.text
        yield site


def at(seconds: float) -> str:
    return later(seconds).isoformat()


async def attach(
    site: Site, load: str, carrier: str, start: float = 0, end: float | None = None
) -> Any:  # noqa: ANN401 -- JSON
    """`load` and `carrier` as kind/id."""
    (load_kind, load_id), (carrier_kind, carrier_id) = load.split("/"), carrier.split("/")
    return await site.client.post(
        "/v1/attachments",
        json={
            "load": {"kind": load_kind, "id": load_id},
            "carrier": {"kind": carrier_kind, "id": carrier_id},
            "from": at(start),
            "to": None if end is None else at(end),
        },
    )


async def test_an_asset_is_made_read_changed_and_retired(site: Site) -> None:
    made = await site.client.post(
        "/v1/assets", json={"id": "van", "kind": "vehicle", "attrs": {"axles": 2}}
    )
    assert made.headers["Location"] == "/v1/assets/van"
    assert (made.json()["name"], made.json()["attrs"]) == ("van", {"axles": 2})
    taken = await site.client.post("/v1/assets", json={"id": "van", "kind": "vehicle"})
    assert (taken.status_code, taken.json()["field"]) == (409, "id")
    changed = await site.client.patch(
        "/v1/assets/van", json={"name": "Van"}, headers={"If-Match": made.headers["ETag"]}
    )
    assert (changed.json()["name"], changed.json()["attrs"]) == ("Van", {"axles": 2})
    stale = await site.client.patch(
        "/v1/assets/van", json={"name": "x"}, headers={"If-Match": made.headers["ETag"]}
    )
    assert stale.status_code == 412
    listed = (await site.get("/v1/assets", kind="vehicle")).json()["items"]
    assert [item["id"] for item in listed] == ["truck", "van"]
    assert (await site.client.delete("/v1/assets/van")).status_code == 204
    assert (await site.get("/v1/assets/van")).status_code == 404
    revived = await site.client.post("/v1/assets", json={"id": "van", "kind": "vehicle"})
    assert (revived.status_code, revived.json()["version"]) == (201, 4)


async def test_a_second_carrier_at_the_same_time_is_refused_with_the_reason(
    site: Site, rows: Rows
) -> None:
    rows.device("gps")
    first = await attach(site, "device/gps", "asset/truck", 0)
    assert first.status_code == 201
    again = await attach(site, "device/gps", "asset/truck", 0)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    other = await attach(site, "device/gps", "asset/pallet", 60)
    assert other.status_code == 409
    assert other.json()["detail"] == (
        "device 'gps' is on asset 'truck' from 2026-03-08T12:00:00Z "
        f"(attachment {first.json()['id']}): end that first"
    )
    path = f"/v1/attachments/{first.json()['id']}"
    ended = await site.client.patch(path, json={"to": at(60)})
    assert ended.json()["to"] == "2026-03-08T12:01:00Z"
    assert (await attach(site, "device/gps", "asset/pallet", 60)).status_code == 201
    # The one before can no longer be opened again.
    assert (await site.client.patch(path, json={"to": None})).status_code == 409
    assert (await site.client.patch(path, json={"from": at(90)})).status_code == 422


async def test_nothing_carries_itself(site: Site) -> None:
    assert (await attach(site, "asset/parcel", "asset/pallet", 0)).status_code == 201
    assert (await attach(site, "asset/pallet", "asset/truck", 0, 100)).status_code == 201
    looped = await attach(site, "asset/truck", "asset/parcel", 50)
    assert looped.status_code == 409
    assert looped.json()["detail"] == (
        "carrier.id: 'parcel' is itself in 'truck' at 2026-03-08T12:00:50Z"
    )
    assert (await attach(site, "asset/truck", "asset/parcel", 100)).status_code == 201
    same = await attach(site, "asset/pallet", "asset/pallet", 200)
    assert same.status_code == 409


async def test_of_many_who_claim_one_load_at_once_one_succeeds(site: Site) -> None:
    for i in range(6):
        await site.client.post("/v1/assets", json={"id": f"t{i}", "kind": "vehicle"})
    tried = await asyncio.gather(
        *(attach(site, "asset/pallet", f"asset/t{i}", i) for i in range(6))
    )
    assert sorted(answer.status_code for answer in tried) == [201] + [409] * 5


async def test_a_circle_closed_from_both_ends_at_once_stays_open(site: Site) -> None:
    tried = await asyncio.gather(
        attach(site, "asset/pallet", "asset/truck"), attach(site, "asset/truck", "asset/pallet")
    )
    assert sorted(answer.status_code for answer in tried) == [201, 409]


@pytest.mark.parametrize(
    ("load", "carrier", "field"),
    [
        ("device/none", "asset/truck", "load.id"),
        ("asset/pallet", "asset/none", "carrier.id"),
        ("asset/pallet", "device/none", "carrier.kind"),
        ("ship/pallet", "asset/truck", "load.kind"),
    ],
)
async def test_what_is_not_there_is_refused_by_name(
    site: Site, load: str, carrier: str, field: str
) -> None:
    refused = await attach(site, load, carrier)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_a_load_is_where_its_carrier_is_and_gaps_show(site: Site, rows: Rows) -> None:
    for name in ("old", "new"):
        rows.fixes(rows.device(name), 40)  # two a second, for 20 seconds
    await attach(site, "asset/pallet", "asset/truck", 2, 15)
    await attach(site, "device/old", "asset/truck", 0, 5)
    await attach(site, "device/new", "asset/truck", 8)
    asked: dict[str, str | int] = {"from": at(0), "to": at(20), "limit": 7}
    found = (await site.get("/v1/assets/pallet/track", **asked)).json()
    assert [
        (p["device"], p["via"], p["from"][17:19], p["to"] and p["to"][17:19])
        for p in found["parts"]
    ] == [
        (None, [], "00", "02"),
        ("old", ["asset/truck"], "02", "05"),
        (None, [], "05", "08"),
        ("new", ["asset/truck"], "08", "15"),
        (None, [], "15", "20"),
    ]
    told = [(item["device"], item["fix_time"][17:19]) for item in found["items"]]
    while found["next"]:
        asked["cursor"] = found["next"]
        found = (await site.get("/v1/assets/pallet/track", **asked)).json()
        told += [(item["device"], item["fix_time"][17:19]) for item in found["items"]]
    assert told == [
        (device, f"{second:02d}")
        for device, seconds in (("old", range(2, 5)), ("new", range(8, 15)))
        for second in seconds
        for _ in range(2)
    ]


async def test_where_something_was_is_told_with_its_age_and_who_carries_it(
    site: Site, rows: Rows
) -> None:
    rows.fixes(rows.device("gps"), 40)
    await attach(site, "device/gps", "asset/truck", 0, 10)

    async def position(second: float) -> Any:  # noqa: ANN401 -- JSON
        return (await site.get("/v1/assets/truck/position", at=at(second))).json()

    assert (await position(-5))["position"] is None
    inside = await position(4.5)
    assert (inside["position"]["device"], inside["age_s"]) == ("gps", 0.5)
    assert inside["carried_by"]["device"] == "gps"
    gap = await position(100)
    assert (gap["position"]["fix_time"], gap["age_s"]) == ("2026-03-08T12:00:09Z", 91.0)
    assert gap["carried_by"] == {
        "device": None, "via": [], "from": "2026-03-08T12:00:10Z", "to": None,
    }  # fmt: skip


async def test_a_late_edit_changes_the_past(site: Site, rows: Rows) -> None:
    rows.fixes(rows.device("gps"), 40)
    made = (await attach(site, "device/gps", "asset/truck", 10)).json()
    before = await site.get("/v1/assets/truck/position", at=at(5))
    assert before.json()["position"] is None
    await site.client.patch(f"/v1/attachments/{made['id']}", json={"from": at(0)})
    after = await site.get("/v1/assets/truck/position", at=at(5))
    assert after.json()["position"]["device"] == "gps"
    assert (await site.client.delete(f"/v1/attachments/{made['id']}")).status_code == 204
    gone = await site.get("/v1/assets/truck/position", at=at(5))
    assert gone.json()["position"] is None
    removed = (await site.get("/v1/attachments", removed="true")).json()["items"]
    assert [(item["id"], item["removed_at"] is None) for item in removed] == [(made["id"], False)]


async def test_attachments_are_found_by_either_end_and_by_time(site: Site, rows: Rows) -> None:
    rows.device("gps")
    on = (await attach(site, "device/gps", "asset/truck", 0, 10)).json()["id"]
    within = (await attach(site, "asset/pallet", "asset/truck", 5, 20)).json()["id"]

    async def ids(**wanted: str) -> list[int]:
        return [
            item["id"] for item in (await site.get("/v1/attachments", **wanted)).json()["items"]
        ]

    assert await ids() == [within, on]
    assert await ids(device="gps") == [on]
    assert await ids(asset="pallet") == [within]
    assert await ids(asset="truck", at=at(3)) == [on]
    assert await ids(asset="truck", at=at(10)) == [within]
    assert await ids(**{"from": at(20)}) == []


async def test_an_asset_with_open_attachments_is_not_retired(site: Site) -> None:
    made = (await attach(site, "asset/pallet", "asset/truck")).json()
    assert (await site.client.delete("/v1/assets/truck")).status_code == 409
    await site.client.patch(f"/v1/attachments/{made['id']}", json={"to": at(5)})
    assert (await site.client.delete("/v1/assets/truck")).status_code == 204


async def test_what_is_another_tenants_is_not_there(
    site: Site, rows: Rows, database_url: str
) -> None:
    rows.device("gps")
    made = (await attach(site, "device/gps", "asset/truck")).json()
    with Rows(database_url, "other"):
        pass
    other = create_key(database_url, "other", "x", "admin")
    async with client_of(site.url, other) as client:
        for path in ("assets/truck", "assets/truck/track", f"attachments/{made['id']}"):
            assert (await client.get(f"/v1/{path}")).status_code == 404
        assert (await client.delete(f"/v1/attachments/{made['id']}")).status_code == 404
        # Its own asset of the same name is another one, and the device is not for it.
        await client.post("/v1/assets", json={"id": "truck", "kind": "vehicle"})
        refused = await client.post(
            "/v1/attachments",
            json={
                "load": {"kind": "device", "id": "gps"},
                "carrier": {"kind": "asset", "id": "truck"},
                "from": NOON.isoformat(),
            },
        )
        assert refused.status_code == 422
