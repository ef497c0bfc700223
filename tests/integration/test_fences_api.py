"""Fences over HTTP: a real socket, a real database, a real Redis."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from api.app import create_app
from api.edge import MAX_BODY_BYTES
from tests.integration.api_site import Rows, Site, api_site, client_of
from tests.integration.test_api_http import assert_problem
from tracking.feed import NOTICES, Delivery, Subscribed, Subscriber
from tracking.settings import load_settings
from tracking.store.keys import create_key

# POST, but only asks.
ASKING = {
    ("post", path)
    for path in ("/v1/fences/locate", "/v1/fences/preview", "/v1/rules/test", "/v1/areas/devices")
}


def square(west: float, south: float, size: float = 0.2) -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


UTRECHT = square(5.0, 52.0)


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "order service", "service")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def put(site: Site, id_: str, **members: object) -> httpx.Response:
    return await site.client.put(f"/v1/fences/{id_}", json={"shape": UTRECHT, **members})


async def put_all(site: Site, *fences: dict[str, Any], partial: bool = False) -> httpx.Response:
    return await site.client.put(
        "/v1/fences", json={"fences": fences}, params={"partial": str(partial).lower()}
    )


async def ids(site: Site, **params: str | int) -> list[str]:
    return [fence["id"] for fence in (await site.get("/v1/fences", **params)).json()["items"]]


async def located(site: Site, *points: tuple[float, float]) -> list[list[str]]:
    answer = await site.client.post("/v1/fences/locate", json={"points": points})
    assert answer.status_code == 200, answer.text
    return [[fence["id"] for fence in item["fences"]] for item in answer.json()["items"]]


class TestOne:
    async def test_a_fence_is_told_as_it_was_given_with_what_was_left_out(self, site: Site) -> None:
        made = await site.client.post(
            "/v1/fences",
            json={
                "id": "depot",
                "name": "Depot",
                "shape": UTRECHT,
                "layer": "sites",
                "buffers": {"enter_m": 10},
                "dwell_s": 600,
                "schedule": {
                    "time_zone": "Europe/Amsterdam",
                    "windows": [{"start": "22:00", "end": "06:00", "days": ["fri"]}],
                },
                "applies_to": {"groups": ["north"]},
                "attrs": {"cost_centre": 7},
                "effective_from": "2026-01-01T00:00:00Z",
            },
        )
        assert made.status_code == 201, made.text
        assert made.headers["location"] == "/v1/fences/depot"
        assert made.headers["etag"] == '"1"'
        fence = made.json()
        assert fence == (await site.get("/v1/fences/depot")).json()
        assert {name: fence[name] for name in ("created_at", "updated_at")}.keys()
        del fence["created_at"], fence["updated_at"]
        assert fence == {
            "id": "depot",
            "name": "Depot",
            "version": 1,
            "shape": UTRECHT,
            "layer": "sites",
            "buffers": {"enter_m": 10.0},
            "dwell_s": 600.0,
            "speed_limit_mps": None,
            "schedule": {
                "time_zone": "Europe/Amsterdam",
                "windows": [{"start": "22:00", "end": "06:00", "days": ["fri"]}],
            },
            "applies_to": {"groups": ["north"]},
            "normal": "outside",
            "crossed": True,
            "attrs": {"cost_centre": 7},
            "effective_from": "2026-01-01T00:00:00Z",
            "effective_to": None,
            "updated_by": "order service",
            "deleted_at": None,
            "notes": [],
        }

    async def test_without_an_id_it_gets_one(self, site: Site) -> None:
        made = await site.client.post("/v1/fences", json={"shape": UTRECHT})
        id_ = made.json()["id"]
        assert made.json()["name"] == id_
        assert await ids(site) == [id_]

    async def test_posting_an_id_again_is_a_conflict_that_names_it(self, site: Site) -> None:
        await put(site, "depot")
        again = await site.client.post("/v1/fences", json={"id": "depot", "shape": UTRECHT})
        assert_problem(again, 409, "id")
        assert "'depot'" in again.json()["detail"]

    async def test_putting_it_again_changes_nothing(self, site: Site) -> None:
        assert (await put(site, "depot")).status_code == 201
        again = await put(site, "depot")
        assert (again.status_code, again.json()["version"]) == (200, 1)

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param(UTRECHT, id="polygon"),
            pytest.param(square(179.9, 10), id="across the antimeridian"),
            pytest.param(
                {"type": "Circle", "center": [-179.9999, 1.23456789], "radius_m": 400}, id="circle"
            ),
            pytest.param(
                {"type": "Corridor", "coordinates": [[5, 52], [5.1, 52.3]], "width_m": 50},
                id="corridor",
            ),
            pytest.param({"type": "Cells", "cells": ["871969c99ffffff"]}, id="cells"),
            pytest.param(
                {"type": "Polygon", "coordinates": [UTRECHT["coordinates"][0][:-1]]}, id="mended"
            ),
        ],
    )
    async def test_what_was_read_can_be_put_back_and_changes_nothing(
        self, site: Site, shape: dict[str, Any]
    ) -> None:
        first = await put(site, "depot", shape=shape, attrs={"b": 1, "a": 2})
        assert first.status_code == 201, first.text
        back = await site.client.put("/v1/fences/depot", json=first.json())
        assert (back.status_code, back.json()) == (200, first.json())
        renamed = await site.client.put("/v1/fences/depot", json=first.json() | {"name": "New"})
        assert renamed.json()["version"] == 2
        assert renamed.json()["effective_from"] > first.json()["effective_from"]

    async def test_a_repaired_shape_says_so_and_where(self, site: Site) -> None:
        open_ring = {"type": "Polygon", "coordinates": [UTRECHT["coordinates"][0][:-1]]}
        fence = (await put(site, "depot", shape=open_ring)).json()
        assert fence["notes"] == ["shape.coordinates[0]: ring closed"]
        ring = fence["shape"]["coordinates"][0]
        assert ring[0] == ring[-1]

    async def test_if_match_saves_only_over_what_was_read(self, site: Site) -> None:
        etag = (await put(site, "depot")).headers["etag"]

        async def rename(name: str, match: str) -> httpx.Response:
            return await site.client.put(
                "/v1/fences/depot",
                json={"shape": UTRECHT, "name": name},
                headers={"If-Match": match},
            )

        assert (await rename("a", etag)).headers["etag"] == '"2"'
        assert_problem(await rename("b", etag), 412, "If-Match")
        assert (await rename("c", "*")).headers["etag"] == '"3"'
        assert (await rename("d", '"1", "3"')).headers["etag"] == '"4"'
        assert_problem(await rename("e", "nonsense"), 412, "If-Match")
        await site.client.delete("/v1/fences/depot")
        assert_problem(await rename("f", "*"), 412, "If-Match")

    async def test_an_edit_keeps_the_version_before(self, site: Site) -> None:
        await put(site, "depot", name="one", effective_from="2026-01-01T00:00:00Z")
        await put(site, "depot", name="two", effective_from="2026-02-01T00:00:00+01:00")
        old = (await site.get("/v1/fences/depot", version=1)).json()
        assert (old["name"], old["effective_to"]) == ("one", "2026-01-31T23:00:00Z")
        first = (await site.get("/v1/fences/depot/versions", limit=1)).json()
        rest = (await site.get("/v1/fences/depot/versions", cursor=first["next"])).json()
        versions = [*first["items"], *rest["items"]]
        assert [(v["version"], v["name"]) for v in versions] == [(2, "two"), (1, "one")]
        assert rest["next"] is None
        assert_problem(await site.get("/v1/fences/depot", version=3), 404)
        early = await put(site, "depot", name="three", effective_from="2026-01-15T00:00:00Z")
        assert_problem(early, 422, "effective_from")

    async def test_a_deleted_fence_is_told_but_not_listed_until_it_is_revived(
        self, site: Site
    ) -> None:
        await put(site, "depot")
        gone = await site.client.delete("/v1/fences/depot")
        assert (gone.status_code, gone.content) == (204, b"")
        assert_problem(await site.client.delete("/v1/fences/depot"), 404)
        fence = (await site.get("/v1/fences/depot")).json()
        assert fence["deleted_at"] is not None
        assert fence["effective_to"] is not None
        assert (await ids(site), await ids(site, deleted="true")) == ([], ["depot"])
        back = await put(site, "depot")
        assert (back.status_code, back.json()["version"]) == (201, 2)
        assert back.json()["deleted_at"] is None

    async def test_what_is_not_there_or_not_ours_is_404(
        self, site: Site, database_url: str
    ) -> None:
        await put(site, "depot")
        with Rows(database_url, "acme"):
            key = create_key(database_url, "acme", "theirs", "admin")
        async with client_of(site.url, key) as client:
            theirs = Site(site.url, key, client)
            for path in ("/v1/fences/depot", "/v1/fences/depot/versions"):
                assert_problem(await theirs.get(path), 404)
            assert_problem(await client.delete("/v1/fences/depot"), 404)
            assert await ids(theirs) == []
            assert await located(theirs, (5.1, 52.1)) == [[]]
            assert (await put(theirs, "depot")).status_code == 201
        assert await ids(site) == ["depot"]

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            pytest.param({"shape": {"type": "Blob"}}, "shape.type", id="kind"),
            pytest.param({"shape": None}, "shape", id="no shape"),
            pytest.param(
                {"shape": {"type": "Polygon", "coordinates": [[[5, 52], [5, 152], [6, 52]]]}},
                "shape.coordinates[0][1]",
                id="swapped",
            ),
            pytest.param({"name": "a\nb"}, "name", id="line feed"),
            pytest.param({"name": "a\n"}, "name", id="line feed at the end"),
            pytest.param({"name": "x" * 257}, "name", id="long name"),
            pytest.param({"id": "other"}, "id", id="another id"),
            pytest.param({"buffers": {"enter_m": -1}}, "buffers.enter_m", id="buffer"),
            pytest.param({"buffers": {"enter": 1}}, "buffers.enter", id="unknown buffer"),
            pytest.param({"colour": "red"}, "colour", id="unknown member"),
            pytest.param({"dwell_s": 0}, "dwell_s", id="dwell"),
            pytest.param({"speed_limit_mps": "50"}, "speed_limit_mps", id="text for a number"),
            pytest.param({"normal": "in"}, "normal", id="normal"),
            pytest.param({"applies_to": {"tags": ["a", 1]}}, "applies_to.tags[1]", id="tag"),
            pytest.param({"attrs": {"a": "\0"}}, "attrs", id="NUL"),
            pytest.param({"attrs": {"\0": 1}}, "attrs", id="NUL in a name"),
            pytest.param({"attrs": {"a": "x" * 20_000}}, "attrs", id="long attrs"),
            pytest.param({"effective_from": "2026-01-01"}, "effective_from", id="no zone"),
            pytest.param({"effective_from": "1969-01-01T00:00:00Z"}, "effective_from", id="1969"),
            pytest.param(
                {"schedule": {"time_zone": "Mars/Base", "windows": [{"start": "1", "end": "2"}]}},
                "schedule.time_zone",
                id="time zone",
            ),
            pytest.param(
                {"schedule": {"time_zone": "UTC", "windows": [{"start": "08:00", "end": "25:00"}]}},
                "schedule.windows[0].end",
                id="time of day",
            ),
        ],
    )
    async def test_a_wrong_member_is_named(
        self, site: Site, members: dict[str, Any], field: str
    ) -> None:
        assert_problem(await put(site, "depot", **members), 422, field)
        assert await ids(site) == []

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a":' + b"[" * 100_000])
    async def test_what_is_no_json_object_is_refused(self, site: Site, body: bytes) -> None:
        response = await site.client.put("/v1/fences/depot", content=body)
        assert response.status_code == 422, response.text
        assert response.json()["detail"]

    @pytest.mark.parametrize("id_", ["-a", "a%20b", "ü", "x" * 129, "a%0A"])
    async def test_an_id_is_a_plain_word(self, site: Site, id_: str) -> None:
        assert_problem(await put(site, id_), 422, "id")


class TestLists:
    async def test_pages_hold_every_fence_once(self, site: Site) -> None:
        names = ["B", "a", "a-1", "a.1", "b", "Z9"]
        await put_all(site, *({"id": id_, "shape": UTRECHT} for id_ in names))
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = (await site.get("/v1/fences", limit=2, **more)).json()
            found += [fence["id"] for fence in page["items"]]
            if page["next"] is None:
                break
            more = {"cursor": page["next"]}
        assert found == sorted(names)

    async def test_filters_fit_all_at_once(self, site: Site) -> None:
        await put(site, "nl-1", name="Depot North", layer="zones")
        await put(site, "nl-2", name="Yard", layer="zones")
        await put(site, "de-1", name="depot south")
        assert await ids(site, id="nl") == ["nl-1", "nl-2"]
        assert await ids(site, name="DEPOT") == ["de-1", "nl-1"]
        assert await ids(site, layer="zones", name="depot") == ["nl-1"]
        assert await ids(site, name="%") == []
        assert_problem(await site.get("/v1/fences", colour="red"), 422, "colour")

    @pytest.mark.parametrize(
        ("bbox", "found"),
        [
            ("4,51,6,53", ["home"]),
            ("5.05,52.05,5.1,52.1", ["home"]),
            ("5.3,52,6,53", []),
            ("-180,-90,180,90", ["date-line", "far-east", "far-west", "home"]),
            ("179,-18,-179,-16", ["date-line", "far-east", "far-west"]),
            ("-180,-18,-179.95,-16", ["date-line"]),
            ("179.95,-18,180,-16", ["date-line"]),
            ("-179.5,-18,-170,-16", ["far-west"]),
            ("170,-18,179.5,-16", ["far-east"]),
            ("10,-90,4,90", ["date-line", "far-east", "far-west"]),
        ],
    )
    async def test_by_the_ground_they_cover(self, site: Site, bbox: str, found: list[str]) -> None:
        saved = await put_all(
            site,
            {"id": "home", "shape": UTRECHT},
            {"id": "date-line", "shape": square(179.9, -17, 0.2)},
            {"id": "far-east", "shape": square(179.2, -17, 0.2)},
            {"id": "far-west", "shape": square(-179.4, -17, 0.2)},
        )
        assert saved.json()["counts"]["created"] == 4, saved.text
        assert await ids(site, bbox=bbox) == found


class TestBulk:
    async def test_each_says_what_became_of_it(self, site: Site) -> None:
        await put(site, "same")
        await put(site, "new-name")
        answer = await put_all(
            site,
            {"id": "same", "shape": UTRECHT},
            {"id": "new-name", "shape": UTRECHT, "name": "other"},
            {"id": "fresh", "shape": UTRECHT},
            {"id": "open", "shape": {**UTRECHT, "coordinates": [UTRECHT["coordinates"][0][:-1]]}},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "counts": {"created": 2, "changed": 1, "unchanged": 1, "refused": 0, "repaired": 1},
            "revision": 3,
            "refused": [],
            "items": [
                {"id": "same", "outcome": "unchanged", "version": 1},
                {"id": "new-name", "outcome": "changed", "version": 2},
                {"id": "fresh", "outcome": "created", "version": 1},
                {
                    "id": "open",
                    "outcome": "created",
                    "version": 1,
                    "notes": ["fences[3].shape.coordinates[0]: ring closed"],
                },
            ],
        }

    async def test_one_that_is_refused_saves_nothing_and_all_faults_are_told(
        self, site: Site
    ) -> None:
        bad: list[dict[str, Any]] = [
            {"id": "good", "shape": UTRECHT},
            {"id": "blob", "shape": {"type": "Blob"}},
            {"shape": UTRECHT},
            {"id": "good", "shape": UTRECHT},
        ]
        answer = await put_all(site, *bad)
        assert_problem(answer, 422, "fences[1].shape.type")
        assert [(e["id"], e["field"]) for e in answer.json()["errors"]] == [
            ("blob", "fences[1].shape.type"),
            (None, "fences[2].id"),
            ("good", "fences[3].id"),
        ]
        assert await ids(site) == []
        partly = await put_all(site, *bad, partial=True)
        assert [item["outcome"] for item in partly.json()["items"]] == ["created"]
        assert [one["field"] for one in partly.json()["refused"]] == [
            "fences[1].shape.type",
            "fences[2].id",
            "fences[3].id",
        ]
        assert await ids(site) == ["good"]

    async def test_one_the_store_refuses_saves_nothing_either(self, site: Site) -> None:
        await put(site, "depot")
        late = {"id": "depot", "shape": square(1, 1), "effective_from": "2020-01-01T00:00:00Z"}
        answer = await put_all(site, {"id": "fresh", "shape": UTRECHT}, late)
        assert_problem(answer, 422, "effective_from")
        assert await ids(site) == ["depot"]

    async def test_ten_thousand_fences_are_one_request_twice_and_a_notice(self, site: Site) -> None:
        fences = [
            {"id": f"f{i}", "shape": square(5 + i % 100 / 50, 52 + i // 100 / 50, 0.01)}
            for i in range(10_000)
        ]
        first = await put_all(site, *fences)
        assert first.status_code == 200, first.text
        assert int(first.request.headers["content-length"]) > MAX_BODY_BYTES
        assert first.json()["counts"]["created"] == 10_000
        again = await put_all(site, *fences)
        assert (again.json()["counts"]["unchanged"], again.json()["revision"]) == (10_000, 1)
        assert await located(site, (5.005, 52.005), (5.015, 52.005)) == [["f0"], []]

    async def test_more_is_refused(self, site: Site) -> None:
        fences = [{"id": f"f{i}"} for i in range(10_001)]
        assert_problem(await put_all(site, *fences), 422, "fences")

    async def test_only_this_route_takes_large_bodies(self, site: Site) -> None:
        body = json.dumps({"shape": UTRECHT, "attrs": {"a": "x" * MAX_BODY_BYTES}})
        assert_problem(await site.client.put("/v1/fences/depot", content=body), 413)
        assert_problem(await site.client.post("/v1/fences/locate", content=body), 413)


class TestImport:
    async def send(self, site: Site, body: object, **params: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await site.client.post("/v1/fences/import", content=content, params=params)

    def collection(self, *ids_: str) -> dict[str, Any]:
        features = [
            {"type": "Feature", "id": id_, "geometry": UTRECHT, "properties": {"dwell_s": 60}}
            for id_ in ids_
        ]
        return {"type": "FeatureCollection", "features": features}

    async def test_a_file_is_fences(self, site: Site) -> None:
        done = await self.send(
            site,
            self.collection("a", "b"),
            layer="zones",
            prefix="nl-",
            effective_from="2026-01-01T00:00:00Z",
        )
        assert done.status_code == 200, done.text
        assert done.json()["counts"]["created"] == 2
        fence = (await site.get("/v1/fences/nl-a")).json()
        assert (fence["layer"], fence["dwell_s"]) == ("zones", 60)
        assert fence["effective_from"] == "2026-01-01T00:00:00Z"

    async def test_a_dry_run_saves_nothing(self, site: Site) -> None:
        await put(site, "a", shape=square(1, 1))
        done = (await self.send(site, self.collection("a", "b"), dry_run="true")).json()["counts"]
        assert (done["created"], done["changed"]) == (1, 1)
        assert await ids(site) == ["a"]

    async def test_kml_is_told_by_its_content(self, site: Site) -> None:
        done = await self.send(
            site,
            b'<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>Yard</name><Polygon>'
            b"<outerBoundaryIs><LinearRing><coordinates>5,52 5.2,52 5.2,52.2 5,52</coordinates>"
            b"</LinearRing></outerBoundaryIs></Polygon></Placemark></kml>",
        )
        assert done.status_code == 200, done.text
        assert await ids(site) == ["Yard"]

    async def test_a_fault_is_told_with_its_place(self, site: Site) -> None:
        document = self.collection("a", "b")
        document["features"][1]["geometry"] = {"type": "Polygon", "coordinates": [[[5, 52]]]}
        done = await self.send(site, document)
        assert_problem(done, 422, "features[1].coordinates[0]")
        assert await ids(site) == []
        partly = await self.send(site, document, partial="true")
        assert [item["id"] for item in partly.json()["items"]] == ["a"]
        assert [one["id"] for one in partly.json()["refused"]] == ["b"]

    @pytest.mark.parametrize("body", [b"", b"\x00\x01", b"hello", b'{"type": "Po', b"{}"])
    async def test_what_is_no_file_of_fences_is_refused(self, site: Site, body: bytes) -> None:
        assert_problem(await self.send(site, body), 422)
        assert_problem(await self.send(site, body, format="kml"), 422, "format")
        assert_problem(await self.send(site, body, format="shp"), 422, "format")

    async def test_a_prefix_must_fit_an_id(self, site: Site) -> None:
        assert_problem(await self.send(site, self.collection("a"), prefix="a b"), 422, "prefix")


class TestLocate:
    async def test_places_on_a_border_are_inside_as_soon_as_it_is_saved(self, site: Site) -> None:
        await put(site, "a")
        await put(site, "b", shape=square(5.1, 52.1))
        points = ((5.05, 52.05), (5.15, 52.15), (5.0, 52.0), (4.9, 52.0))
        assert await located(site, *points) == [["a"], ["a", "b"], ["a"], []]
        await put(site, "a", shape=square(6, 53))
        assert await located(site, *points) == [[], ["b"], [], []]
        await site.client.delete("/v1/fences/b")
        assert await located(site, (5.15, 52.15), (6.1, 53.1)) == [[], ["a"]]

    async def test_what_holds_later_or_no_more_is_not_there(self, site: Site) -> None:
        await put(site, "later", effective_from="2099-01-01T00:00:00Z")
        assert await located(site, (5.1, 52.1)) == [[]]
        await put(site, "now", effective_from="2020-01-01T00:00:00Z")
        await put(site, "now", name="x", effective_from="2099-01-01T00:00:00Z")
        assert await located(site, (5.1, 52.1)) == [["now"]]

    @pytest.mark.parametrize(
        ("points", "field"),
        [
            ([[5, 52], [181, 0]], "points[1][0]"),
            ([[5, 91]], "points[0][1]"),
            ([[5]], "points[0]"),
            ("x", "points"),
            ([[0, 0]] * 10_001, "points"),
        ],
    )
    async def test_a_wrong_place_is_named(self, site: Site, points: object, field: str) -> None:
        response = await site.client.post("/v1/fences/locate", json={"points": points})
        assert_problem(response, 422, field)

    async def test_no_place_is_nowhere(self, site: Site) -> None:
        assert await located(site) == []


class TestDevices:
    async def test_groups_tags_and_attributes_are_changed_one_by_one(
        self, site: Site, rows: Rows
    ) -> None:
        rows.device("van-1")

        async def patch(**members: object) -> dict[str, Any]:
            response = await site.client.patch("/v1/devices/van-1", json=members)
            assert response.status_code == 200, response.text
            return {name: response.json()[name] for name in ("groups", "tags", "attrs")}

        assert await patch(groups=["north", "north"], attrs={"plate": "X"}) == {
            "groups": ["north"],
            "tags": [],
            "attrs": {"plate": "X"},
        }
        assert await patch(tags=["cold"]) == {
            "groups": ["north"],
            "tags": ["cold"],
            "attrs": {"plate": "X"},
        }
        (listed,) = (await site.get("/v1/devices")).json()["items"]
        assert (listed["groups"], listed["tags"]) == (["north"], ["cold"])
        assert await patch(groups=[]) == {"groups": [], "tags": ["cold"], "attrs": {"plate": "X"}}

    async def test_only_a_change_of_groups_or_tags_is_an_edit_of_fences(
        self, site: Site, rows: Rows, database_url: str
    ) -> None:
        rows.device("van-1")

        async def revision_after(**members: object) -> int:
            response = await site.client.patch("/v1/devices/van-1", json=members)
            assert response.status_code == 200, response.text
            with psycopg.connect(database_url) as conn:
                row = conn.execute("SELECT fence_revision FROM tenant").fetchone()
            assert row is not None
            return int(row[0])

        assert await revision_after(groups=["a"]) == 1
        assert await revision_after(groups=["a"], attrs={"x": 1}) == 1
        assert await revision_after(tags=["b"]) == 2

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"groups": "north"}, "groups"),
            ({"tags": [""]}, "tags[0]"),
            ({"name": "x"}, "name"),
            ({"attrs": []}, "attrs"),
            ({"attrs": {"a": "\0"}}, "attrs"),
        ],
    )
    async def test_a_wrong_member_is_named(
        self, site: Site, rows: Rows, body: dict[str, Any], field: str
    ) -> None:
        rows.device("van-1")
        assert_problem(await site.client.patch("/v1/devices/van-1", json=body), 422, field)

    async def test_an_unknown_device_is_404(self, site: Site) -> None:
        assert_problem(await site.client.patch("/v1/devices/none", json={}), 404)


def writes() -> list[tuple[str, str]]:
    """Every route that changes fences, or what they apply to.

    `test_security_matrix` attacks those of every noun, with every role.
    """
    paths = create_app(load_settings()).openapi()["paths"]
    return [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if method != "get" and (method, path) not in ASKING
        if path.startswith("/v1/fences") or path == "/v1/devices/{name}"
    ]


class TestRoles:
    def test_there_are_routes_that_write(self) -> None:
        assert {("put", "/v1/fences/{id}"), ("patch", "/v1/devices/{name}")} < set(writes())

    @pytest.mark.parametrize(("method", "path"), writes())
    async def test_a_viewer_only_reads(
        self, site: Site, database_url: str, method: str, path: str
    ) -> None:
        await put(site, "depot")
        address = path.replace("{id}", "depot").replace("{name}", "van-1")
        body = {"shape": square(1, 1), "fences": [], "groups": []}
        async with client_of(site.url, create_key(database_url, "default", "map")) as viewer:
            assert_problem(await viewer.request(method, address, json=body), 403)
            assert (await viewer.get("/v1/fences/depot")).json()["version"] == 1
        async with httpx.AsyncClient(base_url=site.url, trust_env=False) as nobody:
            assert_problem(await nobody.request(method, address, json=body), 401)

    @pytest.mark.parametrize("role", ["admin", "dispatcher", "service"])
    async def test_others_write(self, site: Site, database_url: str, role: str) -> None:
        key = create_key(database_url, "default", role, role)
        async with client_of(site.url, key) as client:
            assert (await put(Site(site.url, key, client), "depot")).status_code == 201


async def test_every_edit_is_told_to_the_workers(site: Site, rows: Rows, valkey_url: str) -> None:
    rows.device("van-1")
    stream = aiter(Subscriber(valkey_url, [NOTICES]))
    assert isinstance(await anext(stream), Subscribed)

    async def heard() -> dict[str, Any]:
        received = await anext(stream)
        assert isinstance(received, Delivery)
        notice: dict[str, Any] = msgspec.json.decode(received.payload)
        return notice

    await put(site, "depot")
    assert await heard() == {"tenant": "default", "fences": 1}
    await put(site, "depot")
    await put_all(site, {"id": "depot", "shape": UTRECHT}, {"id": "b", "shape": UTRECHT})
    assert await heard() == {"tenant": "default", "fences": 2}
    await site.client.delete("/v1/fences/b")
    assert await heard() == {"tenant": "default", "fences": 3}
    await site.client.patch("/v1/devices/van-1", json={"groups": ["x"]})
    assert await heard() == {"tenant": "default", "fences": 4}
    await stream.aclose()


async def test_without_redis_edits_are_saved_all_the_same(database_url: str) -> None:
    key = create_key(database_url, "default", "x", "admin")
    async with api_site(database_url, "redis://127.0.0.1:1", key=key) as site:
        assert (await put(site, "depot")).status_code == 201
