"""The REST API over a real socket and a real database."""

import base64
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from api.app import create_app
from api.routers import map as live_map
from tests.integration.api_site import (
    NOON,
    Rows,
    Site,
    ThreadedSite,
    api_site,
    client_of,
    later,
)
from tests.services import Postgres, free_port
from tracking.errors import SettingsError
from tracking.settings import load_settings
from tracking.store.keys import list_keys, revoke_key

PROBLEM = "application/problem+json"
# What may be asked without a key.
OPEN = {"/v1/health", "/v1/health/live", "/v1/health/ready", "/v1/map/config"}


@pytest.fixture(scope="module")
def shared_address(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[tuple[str, str]]:
    """Address and key of one api, in a thread, for all tests that only read an empty database."""
    template = request.getfixturevalue("_native_template")
    name = template.clone()
    with ThreadedSite(template.url(name), valkey_url) as address:
        yield address
    template.drop(name)


@pytest.fixture
async def shared_site(shared_address: tuple[str, str]) -> AsyncIterator[Site]:
    url, key = shared_address
    async with client_of(url, key) as client:
        yield Site(url, key, client)


async def walk(site: Site, path: str, limit: int, **params: str | int) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = (await site.get(path, limit=limit, **params, **more)).json()
        assert 0 < len(page["items"]) <= limit
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


async def names(site: Site, **params: str | int) -> list[str]:
    return [d["name"] for d in (await site.get("/v1/devices", **params)).json()["items"]]


def assert_problem(response: httpx.Response, status: int, field: str | None = None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == status
    assert problem["field"] == field, problem
    assert problem["type"].startswith("urn:waymark:problem:")
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]


class TestKeys:
    @pytest.mark.parametrize("path", sorted(OPEN))
    async def test_health_and_the_map_s_settings_are_open(
        self, shared_site: Site, path: str
    ) -> None:
        async with httpx.AsyncClient(base_url=shared_site.url, trust_env=False) as stranger:
            assert (await stranger.get(path)).status_code == 200

    async def test_a_revoked_key_is_refused(
        self, site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
        assert (await site.get("/v1/devices")).status_code == 200
        info = list_keys(database_url)[0]
        assert info.last_used_at is not None
        revoke_key(database_url, info.id)
        assert_problem(await site.get("/v1/devices"), 401)


class TestBadInput:
    @pytest.mark.parametrize(
        ("path", "params", "status", "field"),
        [
            pytest.param("/v1/devices", {"colour": "red"}, 422, "colour", id="unknown parameter"),
            pytest.param("/v1/devices", {"limit": "0"}, 422, "limit", id="no limit"),
            pytest.param("/v1/devices", {"limit": "1001"}, 422, "limit", id="huge limit"),
            pytest.param("/v1/events", {"limit": "1001"}, 422, "limit", id="huge limit of events"),
            pytest.param("/v1/positions", {"limit": "10001"}, 422, "limit", id="huge latest"),
            pytest.param(
                "/v1/devices/t1/positions", {"limit": "10001"}, 422, "limit", id="huge history"
            ),
            pytest.param("/v1/devices", {"limit": "many"}, 422, "limit", id="limit as a word"),
            pytest.param("/v1/devices", {"limit": "1" * 400}, 422, "limit", id="astronomic limit"),
            pytest.param("/v1/devices", {"motion": "flying"}, 422, "motion", id="unknown motion"),
            pytest.param("/v1/devices", {"online": "maybe"}, 422, "online", id="online maybe"),
            pytest.param("/v1/devices", {"name": "a\x00"}, 422, "name", id="NUL in a name"),
            pytest.param("/v1/devices", {"bbox": "1,2,3"}, 422, "bbox", id="three corners"),
            pytest.param("/v1/devices", {"bbox": "1,2,x,4"}, 422, "bbox", id="a corner in words"),
            pytest.param("/v1/devices", {"bbox": "1,nan,3,4"}, 422, "bbox", id="nan corner"),
            pytest.param("/v1/devices", {"bbox": "1,95,3,97"}, 422, "bbox", id="lat, lon swapped"),
            pytest.param("/v1/devices", {"bbox": "1,60,3,50"}, 422, "bbox", id="upside down"),
            pytest.param("/v1/devices", {"cursor": "!!"}, 400, "cursor", id="cursor not base64"),
            pytest.param("/v1/devices", {"cursor": "AAAA"}, 400, "cursor", id="cursor not JSON"),
            pytest.param("/v1/devices", {"cursor": ""}, 400, "cursor", id="empty cursor"),
            pytest.param("/v1/devices", {"cursor": "é"}, 400, "cursor", id="cursor not ASCII"),
            pytest.param("/v1/devices", {"cursor": "A" * 2000}, 422, "cursor", id="long cursor"),
            pytest.param(
                "/v1/devices", {"cursor": "WyJpIiw1XQ"}, 400, "cursor", id="of another list"
            ),
            pytest.param("/v1/events", {"cursor": "WyJuIiwiYSJd"}, 400, "cursor", id="of devices"),
            pytest.param("/v1/events", {"since": "-1"}, 422, "since", id="negative since"),
            pytest.param("/v1/events", {"since": "1e3"}, 422, "since", id="since as float"),
            pytest.param("/v1/events", {"since": str(2**63)}, 422, "since", id="since too large"),
            pytest.param("/v1/events", {"status": "odd"}, 422, "status", id="unknown status"),
            pytest.param("/v1/events", {"order": "up"}, 422, "order", id="unknown order"),
            pytest.param("/v1/events", {"from": "2026-03-08T00:00:00"}, 422, "from", id="no zone"),
            pytest.param("/v1/events", {"from": "yesterday"}, 422, "from", id="time in words"),
            pytest.param("/v1/events", {"to": "1772971200"}, 422, "to", id="time in seconds"),
            pytest.param(
                "/v1/events", {"from": "1969-01-01T00:00:00Z"}, 422, "from", id="too early"
            ),
            pytest.param("/v1/events", {"to": "9999-12-31T23:59:59Z"}, 422, "to", id="too late"),
            pytest.param("/v1/events/7", {}, 422, "id", id="event id that is no UUID"),
            pytest.param("/v1/dead-letters/x", {}, 422, "id", id="letter id that is no number"),
            pytest.param(f"/v1/dead-letters/{2**63}", {}, 422, "id", id="letter id too large"),
            pytest.param("/v1/devices/%00", {}, 422, "name", id="NUL in a path"),
            pytest.param(f"/v1/devices/{'x' * 300}", {}, 422, "name", id="long name in a path"),
            pytest.param(
                "/v1/devices/t1", {"limit": "1"}, 422, "limit", id="unknown on one device"
            ),
            pytest.param(
                "/v1/devices/t1/positions", {"quality": "x"}, 422, "quality", id="quality"
            ),
            pytest.param("/v1/devices/t1/positions", {"format": "xml"}, 422, "format", id="format"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, shared_site: Site, path: str, params: dict[str, str], status: int, field: str
    ) -> None:
        assert_problem(await shared_site.client.get(path, params=params), status, field)

    @pytest.mark.parametrize("path", ["/v1/events", "/v1/devices/t1/positions"])
    async def test_a_reversed_time_range_is_refused(self, shared_site: Site, path: str) -> None:
        query = {"from": "2026-03-09T00:00:00Z", "to": "2026-03-08T00:00:00Z"}
        assert_problem(await shared_site.client.get(path, params=query), 422, "from")

    async def test_several_mistakes_are_all_told(self, shared_site: Site) -> None:
        problem = (await shared_site.get("/v1/devices", limit=0, colour="red")).json()
        assert [e["field"] for e in problem["errors"]] == ["limit", "colour"]

    @pytest.mark.parametrize(
        "path", ["/v1/nothing", "/v1/devices/none", "/v1/devices/none/positions", "/v1/devices/"]
    )
    async def test_what_is_not_there_is_a_problem_too(self, shared_site: Site, path: str) -> None:
        assert_problem(await shared_site.get(path), 404)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    async def test_a_wrong_method_is_a_problem_that_tells_the_right_one(
        self, shared_site: Site, method: str
    ) -> None:
        response = await shared_site.client.request(method, "/v1/ledger")
        assert_problem(response, 405)
        assert response.headers["allow"] == "GET"

    async def test_a_large_body_is_refused_unread(self, shared_site: Site) -> None:
        response = await shared_site.client.post("/v1/devices", content=b"x" * 1_100_000)
        assert_problem(response, 413)

    async def test_a_defect_is_a_problem_with_the_request_s_id(
        self, database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("api.routers.devices.get_device", broken)
        async with api_site(database_url, valkey_url) as site:
            response = await site.client.get("/v1/devices/t1", headers={"X-Request-Id": "mine-7"})
        assert_problem(response, 500)
        assert response.json()["request_id"] == "mine-7"
        assert "ZeroDivision" not in response.text


class TestEveryAnswer:
    async def test_carries_an_id_and_security_headers(self, shared_site: Site) -> None:
        first, second = await shared_site.get("/v1/devices"), await shared_site.get("/v1/devices")
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert first.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in first.headers["content-security-policy"]
        assert "server" not in first.headers

    async def test_takes_over_only_a_harmless_request_id(self, shared_site: Site) -> None:
        kept = await shared_site.client.get("/v1/health/live", headers={"X-Request-Id": "a-1"})
        made = await shared_site.client.get("/v1/health/live", headers={"X-Request-Id": "<b>"})
        assert kept.headers["x-request-id"] == "a-1"
        assert "<" not in made.headers["x-request-id"]

    async def test_may_be_read_by_the_allowed_origins_alone(
        self, database_url: str, valkey_url: str
    ) -> None:
        friend = "https://map.example"
        async with api_site(database_url, valkey_url, cors_origins=[friend]) as site:
            for origin, allowed in [(friend, friend), ("https://evil.example", None)]:
                response = await site.client.get("/v1/devices", headers={"Origin": origin})
                assert response.headers.get("access-control-allow-origin") == allowed

    async def test_is_counted_by_route_not_by_path(self, shared_site: Site) -> None:
        await shared_site.get("/v1/devices/none")
        await shared_site.get("/v1/devices/nothing")
        metrics = (await shared_site.get("/metrics")).text
        assert 'route="/v1/devices/{name}",status="404"' in metrics
        assert "nothing" not in metrics

    async def test_is_described(self, shared_site: Site) -> None:
        document = (await shared_site.get("/v1/openapi.json")).json()
        parameters = document["paths"]["/v1/devices/{name}/positions"]["get"]["parameters"]
        names = {p["name"] if "name" in p else p["$ref"].rpartition("/")[2] for p in parameters}
        assert names >= {"from", "to", "limit", "cursor", "quality"}
        assert document["paths"]["/v1/devices"]["get"]["security"] == [{"bearer": ["devices:read"]}]


class TestDevices:
    async def test_pages_walk_over_everything_once(self, site: Site, rows: Rows) -> None:
        expected = [f"t{i:02}" for i in range(23)]
        for name in reversed(expected):
            rows.device(name)
        assert [d["name"] for d in await walk(site, "/v1/devices", 5)] == expected

    async def test_a_last_page_that_is_full_has_no_next(self, site: Site, rows: Rows) -> None:
        for name in "abcd":
            rows.device(name)
        assert [d["name"] for d in await walk(site, "/v1/devices", 2)] == list("abcd")

    async def test_filters_narrow_the_list(self, site: Site, rows: Rows) -> None:
        rows.device("van-1", 5.0, 52.0, online=True, motion=2)
        rows.device("van-2", 179.5, -17.0, online=False, motion=1)
        rows.device("ship_1", -179.5, -17.0, online=None, motion=0)
        rows.device("new", None, motion=0, online=None)
        assert await names(site) == ["new", "ship_1", "van-1", "van-2"]
        assert await names(site, name="van-") == ["van-1", "van-2"]
        assert await names(site, name="ship%") == []
        assert await names(site, online="true") == ["van-1"]
        assert await names(site, online="false") == ["van-2"]
        assert await names(site, motion="moving") == ["van-1"]
        assert await names(site, motion="unknown") == ["new", "ship_1"]
        assert await names(site, bbox="4,51,6,53") == ["van-1"]
        assert await names(site, bbox="179,-18,-179,-16") == ["ship_1", "van-2"]
        assert await names(site, name="van", motion="stopped") == ["van-2"]

    async def test_one_device_tells_its_state_place_and_account(
        self, site: Site, rows: Rows
    ) -> None:
        rows.device("t1")
        rows.reason("t1", "stale", 4)
        device = (await site.get("/v1/devices/t1")).json()
        assert device["motion"] == "moving"
        assert device["online"] is True
        assert device["odometer_m"] == 1234.6
        position = device["position"]
        assert (position["lon"], position["lat"], position["speed_mps"]) == (5.1, 52.1, 12.3)
        assert position["fix_time"] == "2026-03-08T12:00:00Z"
        assert position["h3"] == "8a1969c9949ffff"
        assert device["ledger"]["stored"] == 10
        assert device["ledger"]["reasons"] == {"stale": 4}

    async def test_a_device_without_a_fix_has_no_position(self, site: Site, rows: Rows) -> None:
        rows.device("new", None)
        assert (await site.get("/v1/devices/new")).json()["position"] is None
        assert (await site.get("/v1/positions")).json()["items"] == []

    async def test_a_name_may_be_any_text(self, site: Site, rows: Rows) -> None:
        name = "Fahrzeug ü #1?"
        rows.device(name)
        response = await site.client.get(f"/v1/devices/{httpx.QueryParams({'n': name})['n']}")
        assert response.status_code == 404
        quoted = urlencode({"": name})[1:].replace("+", "%20")
        assert (await site.client.get(f"/v1/devices/{quoted}")).json()["name"] == name


class TestPositions:
    async def test_history_pages_walk_over_every_fix_once_oldest_first(
        self, site: Site, rows: Rows
    ) -> None:
        rows.fixes(rows.device("t1"), 25)
        found = await walk(site, "/v1/devices/t1/positions", 7)
        assert [p["lon"] for p in found] == [round(5 + i * 1e-4, 7) for i in range(25)]
        assert found[0]["alt_m"] == 3.5
        assert found[0]["attrs"] == {"i": 1}

    async def test_from_is_included_and_to_is_not(self, site: Site, rows: Rows) -> None:
        rows.fixes(rows.device("t1"), 10)
        found = await site.client.get(
            "/v1/devices/t1/positions",
            params={"from": later(1).isoformat(), "to": "2026-03-08T13:00:03+01:00"},
        )
        times = [p["fix_time"][-3:] for p in found.json()["items"]]
        assert times == ["01Z", "01Z", "02Z", "02Z"]

    async def test_every_quality_is_told_unless_one_is_asked_for(
        self, site: Site, rows: Rows
    ) -> None:
        device = rows.device("t1")
        rows.fixes(device, 2)
        rows.fixes(device, 3, quality=7, start=later(60))
        path = "/v1/devices/t1/positions"
        assert len((await site.get(path)).json()["items"]) == 5
        assert len((await site.get(path, quality="ok")).json()["items"]) == 2
        jumps = (await site.get(path, quality="impossible_speed")).json()["items"]
        assert [p["quality"] for p in jumps] == ["impossible_speed"] * 3

    @pytest.mark.parametrize("path", ["/v1/positions", "/v1/devices/t1/positions"])
    async def test_geojson_comes_by_parameter_or_by_accept(
        self, site: Site, rows: Rows, path: str
    ) -> None:
        rows.fixes(rows.device("t1"), 2)
        by_parameter = await site.get(path, format="geojson")
        by_accept = await site.client.get(path, headers={"Accept": "application/geo+json"})
        assert by_parameter.json() == by_accept.json()
        assert by_parameter.headers["content-type"] == "application/geo+json"
        collection = by_parameter.json()
        assert collection["type"] == "FeatureCollection"
        assert collection["next"] is None
        feature = collection["features"][0]
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Point"
        lon, lat = feature["geometry"]["coordinates"][:2]
        assert 5 <= lon <= 5.2
        assert 52 <= lat <= 52.2
        assert feature["properties"]["device"] == "t1"
        assert not {"lon", "lat"} & set(feature["properties"])

    async def test_latest_positions_page_and_filter(self, site: Site, rows: Rows) -> None:
        for i in range(9):
            rows.device(f"t{i}", 5.0 + i, 52.0)
        found = await walk(site, "/v1/positions", 4)
        assert [p["device"] for p in found] == [f"t{i}" for i in range(9)]
        boxed = (await site.get("/v1/positions", bbox="6.5,50,8.5,54")).json()["items"]
        assert [p["device"] for p in boxed] == ["t2", "t3"]


class TestEvents:
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_pages_walk_over_everything_once(
        self, site: Site, rows: Rows, order: str
    ) -> None:
        for _ in range(17):
            rows.event("t1")
        found = await walk(site, "/v1/events", 5, order=order)
        cursors = [e["cursor"] for e in found]
        assert cursors == list(range(1, 18))[:: 1 if order == "asc" else -1]

    async def test_an_event_is_a_cloudevent(self, site: Site, rows: Rows) -> None:
        event = rows.event("t1", data={"lon": 5.1})
        response = await site.get(f"/v1/events/{event.id}")
        assert response.headers["content-type"] == "application/cloudevents+json"
        body = response.json()
        assert body["specversion"] == "1.0"
        assert body["source"] == "/waymark/default"
        assert (body["subject"], body["type"], body["data"]) == ("t1", "trip.started", {"lon": 5.1})
        assert body["time"] == "2026-03-08T12:00:00Z"
        assert (await site.get("/v1/events")).json()["items"] == [body]

    async def test_filters_narrow_the_list(self, site: Site, rows: Rows) -> None:
        rows.event("t1", "trip.started", time=NOON)
        rows.event("t1", "trip.ended", time=later(60))
        rows.event("t2", "trip.ended", time=later(120), status="retracted")

        async def cursors(**params: str | int | list[str]) -> list[int]:
            response = await site.client.get("/v1/events", params=params)
            return [event["cursor"] for event in response.json()["items"]]

        assert await cursors() == [1, 2, 3]
        assert await cursors(type="trip.ended") == [2, 3]
        assert await cursors(type=["trip.ended", "trip.started"]) == [1, 2, 3]
        assert await cursors(device="t1") == [1, 2]
        assert await cursors(status="retracted") == [3]
        assert await cursors(since=1) == [2, 3]
        assert await cursors(since=1, order="desc") == [3, 2]
        assert await cursors(**{"from": later(60).isoformat(), "to": later(120).isoformat()}) == [2]

    async def test_the_events_of_a_fence_are_its_own(self, site: Site, rows: Rows) -> None:
        rows.event("t1", "fence.entered", rule="yard", data={"fence": "yard"})
        rows.event("t1", "fence.entered", rule="depot", data={"fence": "depot"})
        rows.event("t1", "speed.exceeded", rule="yard", data={"fence": "yard"})
        rows.event("t1", "alert.opened", rule="yard", data={"fence": "yard"})
        found = (await site.get("/v1/events", fence="yard", order="desc")).json()["items"]
        assert [event["type"] for event in found] == ["speed.exceeded", "fence.entered"]

    async def test_an_amended_event_is_told_once_in_its_latest_revision(
        self, site: Site, rows: Rows
    ) -> None:
        event_id = uuid.uuid4()
        rows.event("t1", event_id=event_id)
        rows.event("t2")
        rows.event("t1", event_id=event_id, status="retracted")
        found = (await site.get("/v1/events")).json()["items"]
        assert [(e["subject"], e["revision"], e["status"]) for e in found] == [
            ("t2", 1, "active"),
            ("t1", 2, "retracted"),
        ]

    async def test_an_unknown_event_is_not_found(self, shared_site: Site) -> None:
        assert_problem(await shared_site.get(f"/v1/events/{uuid.uuid4()}"), 404)


class TestLedgerAndDeadLetters:
    async def test_the_ledger_tells_of_devices_known_by_their_rejects_alone(
        self, site: Site, rows: Rows
    ) -> None:
        rows.device("t1")
        rows.device("t2")
        rows.reason("ghost", "unknown_device", 3)
        rows.reason("t1", "stale", 2)
        rows.reason("t1", "unknown_device", 1)
        accounts = await walk(site, "/v1/ledger", 2)
        assert [a["device"] for a in accounts] == ["ghost", "t1", "t2"]
        assert accounts[0]["received"] == 0
        assert accounts[1]["reasons"] == {"stale": 2, "unknown_device": 1}
        totals = (await site.get("/v1/ledger", limit=1)).json()["totals"]
        assert totals["devices"] == 2
        assert (totals["received"], totals["stored"], totals["duplicate"]) == (24, 20, 4)
        assert totals["reasons"] == {"stale": 2, "unknown_device": 4}
        only = (await site.get("/v1/ledger", device="t1")).json()["items"]
        assert [a["device"] for a in only] == ["t1"]

    async def test_dead_letters_show_the_bytes_newest_first(self, site: Site, rows: Rows) -> None:
        rows.dead_letter(b"{oops")
        rows.dead_letter(b"\xff\x00", reason="not_utf8")
        rows.dead_letter("ü".encode() * 1_000, reason="too_large", device="t2")
        found = await walk(site, "/v1/dead-letters", 2)
        assert [letter["reason"] for letter in found] == ["too_large", "not_utf8", "not_json"]
        assert found[0]["payload_bytes"] == 2_000
        assert found[0]["payload_text"] == "ü" * 512
        assert found[1]["payload_text"] is None
        assert base64.b64decode(found[1]["payload_base64"]) == b"\xff\x00"
        whole = (await site.get(f"/v1/dead-letters/{found[0]['id']}")).json()
        assert whole["payload_text"] == "ü" * 1_000
        by_device = (await site.get("/v1/dead-letters", device="t2")).json()["items"]
        assert [letter["reason"] for letter in by_device] == ["too_large"]
        by_reason = (await site.get("/v1/dead-letters", reason="not_json")).json()["items"]
        assert [letter["payload_text"] for letter in by_reason] == ["{oops"]


class TestOutages:
    async def test_the_api_starts_without_its_servers_and_says_what_is_missing(self) -> None:
        nowhere = f"127.0.0.1:{free_port()}"
        urls = f"postgresql://{nowhere}/x", f"redis://{nowhere}/0"
        async with api_site(*urls, key="wmk_" + "k" * 43) as site:
            assert (await site.get("/v1/health/live")).status_code == 200
            ready = await site.get("/v1/health/ready")
            assert ready.status_code == 503
            assert ready.json() == {
                "status": "unavailable",
                "checks": {"database": "away", "migrations": "unknown", "redis": "away"},
            }
            refused = await site.get("/v1/devices")
            assert_problem(refused, 503)
            assert int(refused.headers["retry-after"]) > 0

    async def test_missing_migrations_are_told(
        self, empty_database_url: str, valkey_url: str
    ) -> None:
        async with api_site(empty_database_url, valkey_url, key="wmk_" + "k" * 43) as site:
            ready = await site.get("/v1/health/ready")
            assert ready.status_code == 503
            assert "waymark migrate" in ready.json()["checks"]["migrations"]
            assert_problem(await site.get("/v1/devices"), 503)

    async def test_a_restart_of_the_database_goes_unnoticed_and_an_outage_ends_by_itself(
        self, own_server: Postgres, site: Site
    ) -> None:
        assert (await site.get("/v1/devices")).status_code == 200
        own_server.restart()
        assert (await site.get("/v1/devices")).status_code == 200
        own_server.stop()
        try:
            assert_problem(await site.get("/v1/devices"), 503)
        finally:
            own_server.start()
        assert (await site.get("/v1/devices")).status_code == 200

    async def test_a_taken_port_is_one_clear_sentence(self, site: Site) -> None:
        port = int(site.url.rpartition(":")[2])
        with pytest.raises(SettingsError, match="WAYMARK_HTTP_PORT"):
            async with api_site("postgresql:///x", "redis://localhost", key="k", http_port=port):
                pass


class TestTheMap:
    async def test_its_config_tells_the_style(self, database_url: str, valkey_url: str) -> None:
        style = "http://tiles.example/style.json"
        async with api_site(database_url, valkey_url, map_style_url=style) as site:
            response = await site.get("/v1/map/config")
        assert response.json() == {"style_url": style}
        assert "http://tiles.example" in response.headers["content-security-policy"]

    async def test_built_files_are_served_and_nothing_beside_them(self, tmp_path: Path) -> None:
        dist = tmp_path / "dist"
        (dist / "assets").mkdir(parents=True)
        (dist / "index.html").write_text("<h1>map</h1>")
        (dist / "assets" / "map-1.js").write_text("1")
        (tmp_path / "secret").write_text("secret")
        transport = httpx.ASGITransport(create_app(load_settings(), map_dir=dist))
        async with httpx.AsyncClient(transport=transport, base_url="http://map") as client:
            page, asset = await client.get("/"), await client.get("/assets/map-1.js")
            outside = await client.get("/%2e%2e/secret")
        assert page.text == "<h1>map</h1>"
        assert page.headers["cache-control"] == "no-cache"
        assert "immutable" in asset.headers["cache-control"]
        assert_problem(outside, 404)

    async def test_without_them_the_page_tells_how_to_build_it(self, tmp_path: Path) -> None:
        transport = httpx.ASGITransport(create_app(load_settings(), map_dir=tmp_path / "none"))
        async with httpx.AsyncClient(transport=transport, base_url="http://map") as client:
            page, asset = await client.get("/"), await client.get("/assets/map-1.js")
        assert page.status_code == 200
        assert "make setup" in page.text
        assert_problem(asset, 404)

    def test_it_is_looked_for_in_the_checkout(self) -> None:
        assert live_map.MAP_DIR.parent == Path(__file__).parents[2] / "dashboards" / "map"
