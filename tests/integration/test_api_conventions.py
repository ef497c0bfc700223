"""What all answers have in common, over a real socket: fields, ETags, links, compression."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.api_site import Rows, Site, api_site, later
from tests.integration.test_api_http import assert_problem
from tracking.store.keys import create_key

SHAPE = {"type": "Circle", "center": [5.1, 52.1], "radius_m": 150}


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "order service", "service")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def items(site: Site, path: str, **params: str | int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await site.get(path, **params)).json()["items"]
    return found


class TestFields:
    async def test_a_list_tells_only_what_is_asked_for(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        rows.device("van-2", None)
        answer = (await site.get("/v1/devices", fields="name,position.lon,position.lat")).json()
        assert answer == {
            "items": [
                {"name": "van-1", "position": {"lon": 5.1, "lat": 52.1}},
                {"name": "van-2", "position": None},
            ],
            "next": None,
        }

    async def test_so_does_one_object(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        answer = (await site.get("/v1/devices/van-1", fields="ledger.stored,motion")).json()
        assert answer == {"motion": "moving", "ledger": {"stored": 10}}

    async def test_a_member_and_a_part_of_it_are_the_part(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        answer = (await site.get("/v1/devices/van-1", fields="position.lon,position")).json()
        assert answer == {"position": {"lon": 5.1}}

    async def test_what_is_anybody_s_json_may_be_asked_for_by_any_name(
        self, site: Site, rows: Rows
    ) -> None:
        event = rows.event("van-1", data={"trip": {"km": 3, "from": "a"}, "lon": 5.1})
        answer = await site.get(f"/v1/events/{event.id}", fields="id,data.trip.km,data.nothing")
        assert answer.json() == {"id": event.id, "data": {"trip": {"km": 3}}}
        assert answer.headers["content-type"] == "application/cloudevents+json"

    async def test_of_geojson_it_is_the_properties(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        answer = await site.get("/v1/positions", format="geojson", fields="device")
        assert answer.json()["features"] == [
            {
                "geometry": {"coordinates": [5.1, 52.1], "type": "Point"},
                "properties": {"device": "van-1"},
                "type": "Feature",
            }
        ]

    @pytest.mark.parametrize(
        ("path", "fields", "named"),
        [
            ("/v1/devices", "name,colour", "'colour'"),
            ("/v1/devices", "position.colour", "'position.colour'"),
            ("/v1/devices", "name.first", "'name.first'"),
            ("/v1/rules", "id,x,y", "'x', 'y'"),
        ],
    )
    async def test_what_is_not_there_is_named(
        self, site: Site, path: str, fields: str, named: str
    ) -> None:
        answer = await site.get(path, fields=fields)
        assert_problem(answer, 422, "fields")
        assert named in answer.json()["detail"]

    @pytest.mark.parametrize("fields", ["", ",", "name,", ".a", "a..b", "a b", "x" * 1_025])
    async def test_what_is_no_list_of_names_is_refused(self, site: Site, fields: str) -> None:
        assert_problem(await site.get("/v1/devices", fields=fields), 422, "fields")

    async def test_it_is_refused_where_there_is_nothing_to_choose_from(self, site: Site) -> None:
        answer = await site.client.post(
            "/v1/fences", json={"shape": SHAPE}, params={"fields": "id"}
        )
        assert_problem(answer, 422, "fields")


class TestEtags:
    async def test_what_has_not_changed_is_not_sent_again(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        for path in ("/v1/devices", "/v1/devices/van-1", "/v1/positions", "/v1/ledger"):
            first = await site.get(path)
            tag = first.headers["etag"]
            assert tag.startswith('W/"')
            again = await site.client.get(path, headers={"If-None-Match": f'"other", {tag}'})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert again.headers["cache-control"] == "private, no-cache"
            assert "content-type" not in again.headers
            rows.move("van-1", 6.0 + len(path) / 100, 52.0, later(len(path)))
            if path != "/v1/ledger":
                changed = await site.client.get(path, headers={"If-None-Match": tag})
                assert changed.status_code == 200
                assert changed.headers["etag"] != tag

    async def test_a_version_is_a_strong_tag(self, site: Site) -> None:
        await site.client.put("/v1/fences/depot", json={"shape": SHAPE})
        first = await site.get("/v1/fences/depot")
        assert first.headers["etag"] == '"1"'
        again = await site.client.get("/v1/fences/depot", headers={"If-None-Match": '"1"'})
        assert again.status_code == 304
        await site.client.put("/v1/fences/depot", json={"shape": SHAPE, "name": "other"})
        changed = await site.client.get("/v1/fences/depot", headers={"If-None-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')

    async def test_a_star_is_whatever_is_there(self, site: Site) -> None:
        answer = await site.client.get("/v1/devices", headers={"If-None-Match": "*"})
        assert answer.status_code == 304

    async def test_a_refusal_has_none(self, site: Site) -> None:
        answer = await site.client.get("/v1/devices/none", headers={"If-None-Match": "*"})
        assert_problem(answer, 404)
        assert "etag" not in answer.headers


class TestLinks:
    @pytest.mark.parametrize("path", ["/v1/devices", "/v1/positions"])
    async def test_they_lead_over_all_pages(self, site: Site, rows: Rows, path: str) -> None:
        for i in range(7):
            rows.device(f"v\u00e4n-{i}")
        seen: list[str] = []
        url: str | None = f"{path}?name=v%C3%A4n&limit=3"
        while url is not None:
            answer = await site.client.get(url)
            found = [item.get("name", item.get("device")) for item in answer.json()["items"]]
            assert found
            seen += found
            link = answer.links.get("next")
            assert (link is None) is (answer.json()["next"] is None)
            url = None if link is None else link["url"]
        assert seen == [f"v\u00e4n-{i}" for i in range(7)]


class TestCompression:
    async def get(self, site: Site, path: str, accept: str) -> httpx.Response:
        return await site.client.get(path, headers={"Accept-Encoding": accept})

    async def test_a_large_answer_is_smaller_for_who_accepts_it(
        self, site: Site, rows: Rows
    ) -> None:
        for i in range(100):
            rows.device(f"van-{i}")
        packed = await self.get(site, "/v1/devices", "deflate, gzip;q=0.8")
        plain = await self.get(site, "/v1/devices", "identity")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        assert packed.json() == plain.json()
        assert int(packed.headers["content-length"]) * 5 < int(plain.headers["content-length"])

    @pytest.mark.parametrize("accept", ["gzip;q=0", "br, gzip; q=0.0", "identity", "br"])
    async def test_nobody_gets_it_who_does_not(self, site: Site, rows: Rows, accept: str) -> None:
        rows.fixes(rows.device("van-1"), 100)
        answer = await self.get(site, "/v1/devices/van-1/positions", accept)
        assert "content-encoding" not in answer.headers

    async def test_a_small_answer_is_sent_as_it_is(self, site: Site) -> None:
        answer = await self.get(site, "/v1/devices", "gzip")
        assert "content-encoding" not in answer.headers

    async def test_the_version_of_what_is_packed_is_a_weak_tag_that_still_matches(
        self, site: Site
    ) -> None:
        attrs = {"text": "x" * 2_000}
        await site.client.put("/v1/fences/depot", json={"shape": SHAPE, "attrs": attrs})
        packed = await self.get(site, "/v1/fences/depot", "gzip")
        assert (packed.headers["content-encoding"], packed.headers["etag"]) == ("gzip", 'W/"1"')
        again = await site.client.get("/v1/fences/depot", headers={"If-None-Match": 'W/"1"'})
        assert again.status_code == 304

    async def test_what_is_streamed_is_not_gathered(self, site: Site, rows: Rows) -> None:
        rows.device("van-1")
        body = {"start": "2026-03-08T00:00:00Z", "end": "2026-03-09T00:00:00Z"}
        async with site.client.stream(
            "POST",
            "/v1/fences/preview",
            json=body | {"fence": {"shape": SHAPE}},
            headers={"Accept-Encoding": "gzip"},
        ) as answer:
            assert answer.status_code == 200
            assert "content-encoding" not in answer.headers
            assert "content-length" not in answer.headers
            lines = [line async for line in answer.aiter_lines()]
        assert lines[-1].startswith('{"summary"')


RULE = {"types": ["fence.entered"], "name": "Somebody came"}


class TestVersions:
    @pytest.mark.parametrize(
        ("path", "body"),
        [("/v1/fences/one", {"shape": SHAPE, "name": "a"}), ("/v1/rules/one", RULE)],
    )
    async def test_an_edit_may_be_meant_for_one_version_only(
        self, site: Site, path: str, body: dict[str, Any]
    ) -> None:
        async def put(name: str, **headers: str) -> httpx.Response:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            return await site.client.put(path, json=body | {"name": name}, headers=named)

        assert_problem(await put("a", if_match="*"), 412, "If-Match")
        assert (await put("a", if_none_match="*")).headers["etag"] == '"1"'
        assert_problem(await put("b", if_none_match="*"), 412, "If-Match")
        assert (await put("b", if_match='"1"')).headers["etag"] == '"2"'
        assert_problem(await put("c", if_match='"1"'), 412, "If-Match")
        assert (await put("c", if_match="*")).headers["etag"] == '"3"'
        assert (await site.get(path)).headers["etag"] == '"3"'

        stale = await site.client.delete(path, headers={"If-Match": '"2"'})
        assert_problem(stale, 412, "If-Match")
        assert (await site.get(path)).json()["name"] == "c"
        gone = await site.client.delete(path, headers={"If-Match": 'W/"3"'})
        assert gone.status_code == 204
        assert_problem(await site.client.delete(path, headers={"If-Match": '"3"'}), 404)

    async def test_a_device_has_the_version_of_what_people_said_of_it(
        self, site: Site, rows: Rows
    ) -> None:
        rows.device("van-1")
        tag = (await site.get("/v1/devices/van-1")).headers["etag"]
        assert tag.startswith('W/"1.')
        # Where it is moves on, and an edit is still one of the version that was read.
        rows.move("van-1", 6.0, 52.0, later(60))

        async def edit(match: str, **body: object) -> httpx.Response:
            headers = {"If-Match": match}
            return await site.client.patch("/v1/devices/van-1", json=body, headers=headers)

        edited = await edit(tag, tags=["cold"])
        assert (edited.status_code, edited.json()["version"]) == (200, 2)
        assert_problem(await edit(tag, tags=[]), 412, "If-Match")
        assert (await edit(edited.headers["etag"], tags=["cold"])).json()["version"] == 2
        assert (await edit("*", attrs={"a": 1})).json()["version"] == 3


class TestDevices:
    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("name", ["a", "b", "c", "d", "e"]),
            ("-name", ["e", "d", "c", "b", "a"]),
            ("fix_time", ["d", "e", "c", "a", "b"]),
            ("-fix_time", ["b", "a", "c", "e", "d"]),
        ],
    )
    async def test_pages_walk_over_all_in_every_order(
        self, site: Site, rows: Rows, sort: str, expected: list[str]
    ) -> None:
        for name, seconds in (("a", 3), ("b", 4), ("c", 2)):
            rows.device(name, fix_time=later(seconds))
        rows.device("d", None)
        rows.device("e", None)
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            more = {"cursor": cursor} if cursor else {}
            answer = (await site.get("/v1/devices", limit=2, sort=sort, **more)).json()
            seen += [device["name"] for device in answer["items"]]
            cursor = answer["next"]
        assert seen == expected

    async def test_a_cursor_of_another_order_is_none(self, site: Site, rows: Rows) -> None:
        for name in "abc":
            rows.device(name)
        cursor = (await site.get("/v1/devices", limit=1, sort="-name")).json()["next"]
        for sort in ("name", "fix_time"):
            answer = await site.get("/v1/devices", sort=sort, cursor=cursor)
            assert_problem(answer, 400, "cursor")

    async def test_groups_and_tags_narrow_lists(self, site: Site, rows: Rows) -> None:
        for name in ("a", "b", "c"):
            rows.device(name)
        edits = [
            {"name": "a", "groups": ["north"], "tags": ["cold"]},
            {"name": "b", "groups": ["north", "south"]},
            {"name": "nobody", "groups": []},
        ]
        done = (await site.client.patch("/v1/devices", json={"devices": edits})).json()
        assert [device["name"] for device in done["items"]] == ["a", "b"]
        assert done["refused"] == [{"id": "nobody", "detail": "there is no such device"}]
        for path, key in (("/v1/devices", "name"), ("/v1/positions", "device")):
            found = await items(site, path, group="north")
            assert [item[key] for item in found] == ["a", "b"]
            found = await items(site, path, group="north", tag="cold")
            assert [item[key] for item in found] == ["a"]
            assert await items(site, path, tag="north") == []
