"""Fences and alerts on the live map, in a real browser, against a stand-in server."""

import time
from typing import Any

import h3
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_S, Watched
from tests.browser.fake_sites import problem
from tests.browser.fake_waymark import KEY, FakeWaymark, iso, position
from tests.browser.test_map import open_map

pytestmark = pytest.mark.long

LON, LAT = 4.90, 52.37
DEPOT = {"type": "Circle", "center": [LON, LAT], "radius_m": 300}


def square(lon: float, lat: float, half: float = 0.004) -> dict[str, Any]:
    west, south, east, north = lon - half, lat - half, lon + half, lat + half
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.fixture
def site(watched: Watched, fake: FakeWaymark) -> Page:
    """The map, with one van in its middle."""
    expect.set_options(timeout=PATIENCE_S * 1000)
    fake.latest["van-1"] = position("van-1", LON, LAT)
    return watched.page


def at(watched: Watched, lon: float, lat: float) -> tuple[float, float]:
    """Where on the page a place is."""
    point = watched.page.evaluate("([lon, lat]) => waymark.project(lon, lat)", [lon, lat])
    return point["x"], point["y"]


def click(watched: Watched, lon: float, lat: float) -> None:
    watched.page.mouse.click(*at(watched, lon, lat))


def still(watched: Watched) -> None:
    """Wait until the fleet is framed, so that places keep still."""
    watched.until(
        f"waymark.deviceCount > 0 && Math.abs(waymark.project({LON}, {LAT}).y - 400) < 2"
        " && document.querySelector('#map canvas') !== null && waymark.frames > 3"
    )


def test_fences_of_every_kind_appear_and_a_click_tells_of_one(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    sites = fake.sites
    sites.add_fence("depot", DEPOT, name="Depot North", dwell_s=600, speed_limit_mps=8.333)
    sites.add_fence("yard", square(LON + 0.012, LAT), name="Yard", notes=["one ring was turned"])
    line = [[LON - 0.012, LAT + 0.0035], [LON, LAT + 0.0045], [LON + 0.006, LAT + 0.0035]]
    sites.add_fence("road", {"type": "Corridor", "coordinates": line, "width_m": 60})
    cells = [h3.latlng_to_cell(LAT - 0.004, LON + west, 10) for west in (0.0, -0.002)]
    cells.append(h3.latlng_to_cell(LAT - 0.004, LON - 0.009, 9))
    sites.add_fence("cells", {"type": "Cells", "cells": cells})
    sites.add_fence("elsewhere", square(40.0, 10.0))
    sites.visits = [
        {"fence": "yard", "device": "van-9", "entered_at": iso(time.time() - 3700)}
        | {"entered_event": "e0"}
    ]
    open_map(watched, fake)
    still(watched)
    watched.until("waymark.fences === 4")

    watched.until("waymark.fenceAt(waymark.project(4.912, 52.37)) === 'yard'")
    click(watched, LON + 0.012, LAT)
    panel = site.get_by_role("region", name="Selected fence")
    expect(panel).to_contain_text("Yard")
    expect(panel).to_contain_text("yard · version 1")
    expect(panel).to_contain_text("one ring was turned")
    expect(panel).to_contain_text("Inside now: 1")
    expect(panel).to_contain_text("van-9for 1 h 1 min")

    fake.happen("fence.entered", "van-1", data={"fence": "yard", "fence_name": "Yard"})
    expect(panel).to_contain_text("Inside now: 2")
    expect(panel).to_contain_text("van-1 entered Yard")
    left = {"fence": "yard", "fence_name": "Yard", "inside_s": 95}
    fake.happen("fence.exited", "van-1", at_s=time.time() + 1, data=left)
    expect(panel).to_contain_text("Inside now: 1")
    expect(panel).to_contain_text("van-1 left Yard after 1 min")

    # The corridor is drawn as wide as it is: 25 m beside its middle is in it, 40 m is not.
    between = [LON - 0.006, LAT + 0.004]
    for metres, expected in ((0, "road"), (25, "road"), (40, None)):
        place = [between[0], between[1] + metres / 111_000]
        here = site.evaluate("([lon, lat]) => waymark.fenceAt(waymark.project(lon, lat))", place)
        assert here == expected
    for west in (0.0, -0.002, -0.009):
        place = [LON + west, LAT - 0.004]
        here = site.evaluate("([lon, lat]) => waymark.fenceAt(waymark.project(lon, lat))", place)
        assert here == "cells"
    assert watched.complaints == []

    site.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    site.get_by_role("button", name="Fences", exact=True).click()
    watched.until("waymark.fenceAt(waymark.project(4.912, 52.37)) === null")


def test_fences_come_in_pages_and_one_the_page_does_not_know_when_it_is_entered(
    watched: Watched, fake: FakeWaymark
) -> None:
    fake.latest["van-1"] = position("van-1", LON, LAT)
    for i in range(1_200):
        place = square(LON + (i % 40) / 4_000, LAT + (i // 40) / 4_000, 0.0001)
        fake.sites.add_fence(f"f{i}", place)
    open_map(watched, fake)
    watched.until("waymark.fences === 1200")
    assert len(fake.sites.fence_queries) == 3
    fake.sites.add_fence("far", square(LON + 5, LAT))
    fake.happen("fence.entered", "van-1", data={"fence": "far", "fence_version": 1})
    watched.until("waymark.fences === 1201")
    assert len(fake.sites.fence_queries) == 3


def test_a_fence_changed_or_deleted_elsewhere_follows_the_news(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    fake.sites.add_fence("depot", DEPOT, name="Old name")
    open_map(watched, fake)
    still(watched)
    watched.until("waymark.fences === 1")
    watched.until("waymark.fenceAt(waymark.project(4.902, 52.37)) === 'depot'")
    click(watched, LON + 0.002, LAT)
    expect(site.get_by_role("heading", name="Old name")).to_be_visible()
    fake.sites.add_fence("depot", DEPOT, name="New name", version=2)
    fake.happen("fence.entered", "van-1", data={"fence": "depot", "fence_version": 2})
    expect(site.get_by_role("heading", name="New name")).to_be_visible()
    del fake.sites.fences["depot"]
    fake.happen("fence.exited", "van-1", data={"fence": "depot", "reason": "deleted"})
    watched.until("waymark.fences === 0")
    expect(site.get_by_role("region", name="Selected fence")).to_be_hidden()


def test_a_circle_is_drawn_and_saved(watched: Watched, fake: FakeWaymark, site: Page) -> None:
    open_map(watched, fake)
    still(watched)
    site.get_by_role("button", name="New fence").click()
    form = site.get_by_role("region", name="Draw a fence")
    form.get_by_role("button", name="Circle").click()
    expect(form).to_contain_text("Press at the centre and drag to the rim.")
    x, y = at(watched, LON, LAT)
    site.mouse.move(x, y)
    site.mouse.down()
    site.mouse.move(x + 50, y)
    site.mouse.move(x + 100, y)
    site.mouse.up()
    expect(form).to_contain_text("Drag the centre or the rim.")
    # The metres are shown, and may be typed.
    assert float(form.get_by_label("Radius").input_value()) > 0
    form.get_by_label("Radius").fill("250")
    form.get_by_label("Name").fill("Depot West")
    form.get_by_role("textbox", name="Id").fill("depot-west")
    form.get_by_label("Dwell").fill("10")
    form.get_by_label("Speed limit").fill("30")
    form.get_by_label("Devices should be").select_option("inside")
    form.get_by_role("button", name="Save").click()
    expect(site.get_by_role("region", name="Selected fence")).to_contain_text("Depot West")

    ((method, path, body, only_over),) = fake.sites.writes
    assert (method, path, only_over) == ("POST", "/fences", None)
    center = body["shape"].pop("center")
    assert center == pytest.approx([LON, LAT], abs=1e-4)
    assert body == {
        "id": "depot-west",
        "name": "Depot West",
        "shape": {"type": "Circle", "radius_m": 250},
        "normal": "inside",
        "dwell_s": 600,
        "speed_limit_mps": 8.333,
    }
    assert watched.complaints == []


def test_a_polygon_is_drawn_by_clicks_and_a_corner_dragged(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    open_map(watched, fake)
    still(watched)
    site.keyboard.press("n")
    form = site.get_by_role("region", name="Draw a fence")
    corners = [(-80, -60), (90, -60), (80, 70)]
    x, y = at(watched, LON, LAT)
    for dx, dy in corners:
        site.mouse.click(x + dx, y + dy)
    site.mouse.dblclick(x - 70, y + 60)
    expect(form).to_contain_text("Drag a corner to move it")
    site.mouse.move(x + 80, y + 70)
    site.mouse.down()
    site.mouse.move(x + 120, y + 90)
    site.mouse.move(x + 130, y + 100)
    site.mouse.up()
    form.get_by_label("Name").fill("Yard")
    form.get_by_label("Name").press("Enter")
    watched.until("waymark.fences === 1")
    (ring,) = fake.sites.writes[0][2]["shape"]["coordinates"]
    assert ring[0] == ring[-1]
    drawn = [at(watched, *corner) for corner in ring[:-1]]
    moved = [(-80, -60), (90, -60), (130, 100), (-70, 60)]
    assert drawn == [pytest.approx((x + dx, y + dy), abs=1.5) for dx, dy in moved]


def test_a_corridor_is_drawn_without_a_pointer(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    open_map(watched, fake)
    still(watched)
    site.keyboard.press("n")
    form = site.get_by_role("region", name="Draw a fence")
    form.get_by_role("button", name="Corridor").press("Enter")
    expect(form.get_by_label("Width")).to_be_visible()
    point = form.get_by_role("button", name="Point at cross")
    point.press("Enter")
    before = at(watched, LON, LAT)
    site.locator("#map canvas").focus()
    site.keyboard.press("ArrowRight")
    watched.until(f"Math.abs(waymark.project({LON}, {LAT}).x - {before[0] - 100}) < 2")
    point.press("Enter")
    form.get_by_role("button", name="Done").press("Enter")
    form.get_by_label("Width").fill("80")
    form.get_by_label("Name").fill("Road")
    form.get_by_role("button", name="Save").press("Enter")
    watched.until("waymark.fences === 1")
    shape = fake.sites.writes[0][2]["shape"]
    assert (shape["type"], shape["width_m"], len(shape["coordinates"])) == ("Corridor", 80, 2)
    assert shape["coordinates"][0] == pytest.approx([LON, LAT], abs=2e-4)
    assert shape["coordinates"][1][0] > LON


def test_escape_gives_up_drawing(watched: Watched, fake: FakeWaymark, site: Page) -> None:
    open_map(watched, fake)
    still(watched)
    site.keyboard.press("n")
    click(watched, LON, LAT)
    site.keyboard.press("Escape")
    expect(site.get_by_role("region", name="Draw a fence")).to_be_hidden()
    # Clicks select again.
    click(watched, LON, LAT)
    expect(site.get_by_role("region", name="Selected device")).to_be_visible()
    assert fake.sites.writes == []


def draw_circle(watched: Watched, fake: FakeWaymark, name: str) -> Any:  # noqa: ANN401 -- a locator
    open_map(watched, fake)
    still(watched)
    watched.page.keyboard.press("n")
    form = watched.page.get_by_role("region", name="Draw a fence")
    form.get_by_role("button", name="Circle").click()
    expect(form.get_by_label("Radius")).to_be_visible()
    form.get_by_role("button", name="Point at cross").click()
    form.get_by_label("Radius").fill("250")
    form.get_by_label("Name").fill(name)
    return form


def found(kind: str, device: str, **data: object) -> dict[str, Any]:
    told = {"fence": "new", "fence_name": "Depot", "lon": LON, "lat": LAT, **data}
    return {
        "event": {
            "id": f"{kind} {device}",
            "type": kind,
            "subject": device,
            "time": iso(time.time()),
            "data": told,
            "revision": 1,
            "status": "active",
            "late": False,
        }
    }


@pytest.mark.usefixtures("site")
def test_a_preview_shows_its_progress_and_the_events_before_anything_is_saved(
    watched: Watched, fake: FakeWaymark
) -> None:
    fake.sites.preview = [
        {"progress": {"devices_done": 1, "devices": 4, "fixes": 9_000}},
        found("fence.entered", "van-3"),
        found("fence.exited", "van-3", inside_s=3_700),
        {
            "summary": {
                "events": {"fence.entered": 1, "fence.exited": 1},
                "devices": 4,
                "fixes": 36_000,
                "seconds": 0.4,
            }
        },
    ]
    fake.sites.hold_preview(after=1)
    form = draw_circle(watched, fake, "Depot")
    form.get_by_role("button", name="Preview").click()
    expect(form).to_contain_text("1 of 4 devices, 9,000 fixes")
    fake.let_preview_on(3)
    expect(form).to_contain_text("It would have raised: entered 1, exited 1.")
    expect(form).to_contain_text("4 devices, 36,000 fixes, in under a second")
    rows = form.locator(".preview li")
    assert rows.all_inner_texts()[1].startswith("van-3 left Depot after 1 h 1 min")
    (method, path, sent, _) = fake.sites.writes[0]
    assert (method, path) == ("POST", "/fences/preview")
    assert sent["fence"]["shape"]["type"] == "Circle"
    assert len(fake.sites.writes) == 1
    form.get_by_role("button", name="Save").click()
    watched.until("waymark.fences === 1")


def test_a_refused_save_names_the_field(watched: Watched, fake: FakeWaymark, site: Page) -> None:
    form = draw_circle(watched, fake, "")
    save = form.get_by_role("button", name="Save")
    save.click()
    expect(form).to_contain_text("A fence needs a name.")
    assert fake.sites.writes == []
    form.get_by_label("Name").fill("Depot")
    fake.sites.refusal = problem(422, "layer: 'x' overlaps 'y'", "layer")
    save.click()
    expect(form.locator("#fence-layer-fault")).to_have_text("layer: 'x' overlaps 'y'")
    expect(form.get_by_label("Layer")).to_be_focused()
    errors = [{"field": "shape.radius_m", "detail": "too large"}, {"field": "attrs", "detail": "?"}]
    fake.sites.refusal = problem(422, "two faults", None, errors=errors)
    save.click()
    expect(form.locator("#fence-shape-fault")).to_have_text("too large")
    expect(form.locator("#fence-layer-fault")).to_have_text("")
    assert site.evaluate("waymark.fences") == 0


def test_a_key_that_only_reads_is_told_so(watched: Watched, fake: FakeWaymark, site: Page) -> None:
    said = "role viewer may not do this: use one of admin, dispatcher, service"
    fake.sites.add_fence("depot", DEPOT)
    fake.sites.refusal = problem(403, said)
    open_map(watched, fake)
    still(watched)
    watched.until("waymark.fenceAt(waymark.project(4.902, 52.37)) === 'depot'")
    click(watched, LON + 0.002, LAT)
    panel = site.get_by_role("region", name="Selected fence")
    panel.get_by_role("button", name="Delete").click()
    panel.get_by_role("button", name="Delete for good?").click()
    expect(panel).to_contain_text(said)
    expect(panel.get_by_role("button", name="Change")).to_be_hidden()
    assert "depot" in fake.sites.fences


def test_a_fence_is_changed_over_the_version_that_was_read_and_deleted_when_asked_twice(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    fake.sites.add_fence("depot", DEPOT, name="Depot", version=3, buffers={"enter_m": 30})
    open_map(watched, fake)
    still(watched)
    watched.until("waymark.fenceAt(waymark.project(4.902, 52.37)) === 'depot'")
    click(watched, LON + 0.002, LAT)
    panel = site.get_by_role("region", name="Selected fence")
    panel.get_by_role("button", name="Change").click()
    form = site.get_by_role("region", name="Draw a fence")
    expect(form.get_by_label("Radius")).to_have_value("300")
    form.get_by_label("Radius").fill("400")
    form.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("version 4")
    method, path, body, only_over = fake.sites.writes[0]
    assert (method, path, only_over) == ("PUT", "/fences/depot", '"3"')
    assert body["shape"]["radius_m"] == 400
    assert body["buffers"] == {"enter_m": 30}
    assert "version" not in body

    panel.get_by_role("button", name="Delete").click()
    assert len(fake.sites.writes) == 1
    panel.get_by_role("button", name="Delete for good?").click()
    watched.until("waymark.fences === 0")
    expect(panel).to_be_hidden()


def test_alerts_are_counted_and_taken_up(watched: Watched, fake: FakeWaymark, site: Page) -> None:
    cause = {"id": "e1", "type": "fence.entered", "time": iso(time.time() - 100)}
    cause_data = cause | {"data": {"fence_name": "Depot"}}
    fake.sites.add_alert("a1", "van-1", fence="depot", event=cause_data)
    fake.sites.add_alert("a2", "van-2", severity="critical")
    open_map(watched, fake)
    alerts = site.get_by_role("region", name="Alerts")
    expect(alerts.get_by_role("listitem")).to_have_count(2)
    # The most severe comes first.
    assert alerts.locator(".text").all_inner_texts() == ["van-2 set off", "van-1 entered Depot"]
    expect(site).to_have_title("(2) Waymark")

    alerts.get_by_role("button", name="Acknowledge: van-1 entered Depot").click()
    expect(alerts.get_by_role("listitem")).to_have_count(1)
    expect(site).to_have_title("(1) Waymark")
    assert fake.sites.writes[0][:2] == ("POST", "/alerts/a1/acknowledge")
    alerts.get_by_role("button", name="Snooze 1 h: van-2").click()
    expect(site).to_have_title("Waymark")
    assert set(fake.sites.writes[1][2]) == {"until"}

    told = {"alert": "a3", "rule": "r", "severity": "warning", "state": "open", "event": cause}
    fake.happen("alert.opened", "van-1", data=told | {"fence": "depot", "fence_name": "Depot"})
    expect(site).to_have_title("(1) Waymark")
    expect(site.locator("#event-list")).to_contain_text("van-1 raised an alert: entered Depot")
    fake.happen("alert.resolved", "van-1", data=told | {"state": "resolved"})
    expect(site).to_have_title("Waymark")

    alerts.get_by_role("button", name="Taken up").click()
    expect(alerts.get_by_role("listitem")).to_have_count(1)
    fake.sites.refusal = problem(409, "this alert is resolved: reopen it to acknowledge it")
    alerts.get_by_role("button", name="Resolve: van-1").click()
    expect(alerts).to_contain_text("this alert is resolved")
    assert watched.complaints == [
        "Failed to load resource: the server responded with a status of 409 (Conflict)"
    ]


def test_fences_and_alerts_work_on_a_phone(chromium: Browser, fake: FakeWaymark) -> None:
    fake.latest["van-1"] = position("van-1", LON, LAT)
    fake.sites.add_alert("a1", "van-1")
    context = chromium.new_context(viewport={"width": 390, "height": 780}, has_touch=True)
    watched = Watched(context.new_page())
    page = watched.page
    open_map(watched, fake)
    watched.until("waymark.frames > 3")
    page.get_by_role("button", name="Alerts 1").tap()
    expect(page.get_by_role("region", name="Alerts")).to_be_visible()
    page.get_by_role("button", name="Map", exact=True).tap()
    expect(page.get_by_role("region", name="Alerts")).to_be_hidden()
    page.get_by_role("button", name="New fence").tap()
    form = page.get_by_role("region", name="Draw a fence")
    form.get_by_role("button", name="Circle").tap()
    expect(form.get_by_label("Radius")).to_be_visible()
    form.get_by_role("button", name="Point at cross").tap()
    form.get_by_label("Radius").fill("120")
    form.get_by_label("Name").fill("Gate")
    form.get_by_role("button", name="Save").tap()
    watched.until("waymark.fences === 1")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert fake.sites.writes[0][2]["shape"]["radius_m"] == 120
    assert KEY not in page.url
    context.close()


def test_thousands_of_fences_leave_the_page_responsive(
    watched: Watched, fake: FakeWaymark, site: Page
) -> None:
    for i in range(5_000):
        center = [LON + (i % 70 - 35) / 2_500, LAT + (i // 70 - 35) / 4_000]
        fake.sites.add_fence(f"c{i}", {"type": "Circle", "center": center, "radius_m": 20})
    open_map(watched, fake)
    watched.until("waymark.fences === 5000")
    busy_ms = site.evaluate(
        """() => new Promise(done => {
            let longest = 0, last = performance.now(), left = 60;
            const tick = () => {
                const now = performance.now();
                longest = Math.max(longest, now - last);
                last = now;
                if (--left) setTimeout(tick, 0); else done(longest);
            };
            setTimeout(tick, 0);
        })"""
    )
    assert busy_ms < 1000
