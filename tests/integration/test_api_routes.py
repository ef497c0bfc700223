"""Planned routes and limits over the api."""

from typing import Any

import pytest

from tests.integration.api_site import NOON, Site
from tests.integration.test_api_shipments import STOPS, ids, plan, site
from tracking.route.polyline import encode

__all__ = ["site"]

LINE: list[tuple[float, float]] = [(5.0, 52.0), (5.05, 52.01), (5.1, 52.0)]
GEOJSON = {"type": "LineString", "coordinates": LINE}


async def test_a_route_is_taken_as_geojson_or_polyline_and_told_as_geojson(site: Site) -> None:
    made = await plan(
        site, route={"line": GEOJSON, "detect_m": 200}, limits={"stalled_after_s": 60}
    )
    assert made["route"] | {"length_m": 0} == {
        "line": {"type": "LineString", "coordinates": [list(place) for place in LINE]},
        "detect_m": 200.0, "clear_m": 75.0, "n": 3, "of_m": 5, "length_m": 0,
        "progress_m": None, "offset_m": None, "off_route": False, "as_of": None,
    }  # fmt: skip
    assert made["route"]["length_m"] == pytest.approx(7_219, abs=1)
    assert made["limits"] == {
        "stalled_after_s": 60.0, "overdue_after_s": 3_600.0, "departure_grace_s": 900.0,
    }  # fmt: skip
    [listed] = (await site.get("/v1/shipments")).json()["items"]
    assert listed["route"] == {k: v for k, v in made["route"].items() if k != "line"}
    for precision in (5, 6):
        line = {"polyline": encode(LINE, precision), "precision": precision}
        patched = await site.client.patch("/v1/shipments/s1", json={"route": {"line": line}})
        assert patched.json()["route"]["line"] == made["route"]["line"], patched.text
    # It is followed once it is on its way, and not without a route any more.
    left = {"act": "departed", "stop": 0, "at": NOON.isoformat()}
    said = await site.client.post("/v1/shipments/s1/overrides", json=left)
    assert said.json()["route"]["line"] == made["route"]["line"], said.text
    removed = await site.client.patch("/v1/shipments/s1", json={"route": None})
    assert removed.json()["route"] is None


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("route.line.coordinates", {"line": GEOJSON | {"coordinates": [LINE[0]]}}),
    ("route.line.coordinates", {"line": GEOJSON | {"coordinates": LINE * 7_000}}),
    ("route.line.coordinates[1]", {"line": GEOJSON | {"coordinates": [LINE[0], (5.0, 91.0)]}}),
    ("route.line.type", {"line": {"coordinates": LINE}}),
    ("route.line.type", {"line": GEOJSON | {"type": "Polygon"}}),
    ("route.line", {"line": GEOJSON | {"coordinates": [LINE[0], LINE[0]]}}),
    ("route.line", {"line": GEOJSON | {"polyline": "??"}}),
    ("route.line.polyline", {"line": {"polyline": "?"}}),
    ("route.line.polyline", {"line": {"polyline": encode([LINE[0]])}}),
    ("route.line.polyline", {"line": {"polyline": encode(LINE * 7_000)}}),
    ("route.line.polyline[0]", {"line": {"polyline": encode(LINE, 6)}}),
    ("route.line.precision", {"line": {"polyline": encode(LINE), "precision": 7}}),
    ("route.clear_m", {"line": GEOJSON, "detect_m": 50, "clear_m": 60}),
    ("route.n", {"line": GEOJSON, "n": 4, "of_m": 3}),
    ("route.line", {"detect_m": 50}),
]


async def test_a_route_that_means_nothing_is_refused_and_the_member_named(site: Site) -> None:
    await plan(site)
    for field, route in FAULTS:
        refused = await site.client.patch("/v1/shipments/s1", json={"route": route})
        assert (refused.status_code, refused.json().get("field")) == (422, field), refused.text
        assert "Traceback" not in refused.text
    limits = {"limits": {"departure_grace_s": -1}}
    refused = await site.client.patch("/v1/shipments/s1", json=limits)
    assert (refused.status_code, refused.json()["field"]) == (422, "limits.departure_grace_s")


async def test_shipments_are_found_by_what_is_wrong_with_them(site: Site) -> None:
    past = {"to": "2026-03-08T06:00:00Z"}
    late = [{"kind": "pickup", "place": {"lon": 5, "lat": 52}, "window": past}, STOPS[1]]
    for id_, stops in (("s1", late), ("s2", STOPS)):
        made = await site.client.post("/v1/shipments", json={"id": id_, "stops": stops})
        assert made.status_code == 201, made.text
    assert await ids(site, exception="overdue") == ["s1"]
    assert await ids(site, exception="stalled") == []
    found = await site.client.get("/v1/shipments?exception=stalled&exception=delayed")
    assert [one["exceptions"] for one in found.json()["items"]] == [["delayed", "overdue"]]
    refused = await site.get("/v1/shipments", exception="none")
    assert (refused.status_code, refused.json()["field"]) == (422, "exception")
