"""The live map in a real browser, against a stand-in server."""

import time
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Watched
from tests.browser.fake_waymark import KEY, FakeWaymark, iso, position
from tests.browser.town import Town

pytestmark = pytest.mark.long


def open_map(watched: Watched, fake: FakeWaymark) -> None:
    watched.page.goto(f"{fake.url}#key={KEY}")
    watched.until("window.waymark?.status === 'live'")


def place_of(watched: Watched, device: str) -> tuple[float, float]:
    found = watched.page.evaluate(
        "name => window.waymark.positions().find(each => each.device === name)", device
    )
    return found["lon"], found["lat"]


def seed(fake: FakeWaymark, *positions: dict[str, Any]) -> None:
    for each in positions:
        fake.latest[each["device"]] = each
        fake.trails[each["device"]] = [each]


def test_the_fleet_appears_moves_and_is_counted(watched: Watched, fake: FakeWaymark) -> None:
    seed(fake, position("van-1", 4.90, 52.37), position("van-2", 4.91, 52.38, speed_mps=0.0))
    open_map(watched, fake)
    watched.until("window.waymark.deviceCount === 2")
    assert place_of(watched, "van-1") == pytest.approx((4.90, 52.37))

    fake.move(position("van-1", 4.905, 52.37))
    watched.until("window.waymark.positions()[0].lon > 4.9001")
    watched.until("Math.abs(window.waymark.positions()[0].lon - 4.905) < 1e-6")
    counts = watched.page.locator("#counts").inner_text().split()
    assert counts == ["1", "Moving", "1", "Stopped", "0", "Stale", "0", "Offline"]
    assert watched.page.title() == "Waymark"


def test_markers_are_really_drawn_where_the_devices_are(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37), position("van-2", 4.92, 52.38, speed_mps=0.0))
    open_map(watched, fake)
    watched.until("window.waymark.frames > 3")
    # The colours of moving and stopped are found in the picture, and gone when filtered out.
    blue, amber = (0, 119, 200), (217, 130, 0)
    map_box = {"x": 310, "y": 0, "width": 630, "height": 690}
    assert colours(watched, map_box) >= {blue, amber}
    watched.page.get_by_role("button", name="Moving").click()
    watched.until("document.querySelectorAll('#devices li').length === 1")
    watched.page.wait_for_timeout(100)
    deadline = time.monotonic() + 10
    while amber in (seen := colours(watched, map_box)):
        assert time.monotonic() < deadline
    assert blue in seen


def colours(watched: Watched, clip: dict[str, int]) -> set[tuple[int, int, int]]:
    """The colours of a part of the page, read back by the browser itself on a blank page."""
    picture = watched.page.screenshot(clip=clip)  # type: ignore[arg-type]
    reader = watched.page.context.new_page()
    reader.set_content("<canvas></canvas>")
    found = reader.evaluate(
        """async bytes => {
            const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
            const context = canvas.getContext('2d');
            context.drawImage(bitmap, 0, 0);
            const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) {
                seen.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
            }
            return [...seen];
        }""",
        list(picture),
    )
    reader.close()
    return {(n >> 16, (n >> 8) & 255, n & 255) for n in found}


def test_it_needs_nothing_but_its_own_server_and_breaks_no_policy(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    open_map(watched, fake)
    watched.until("window.waymark.frames > 3")
    watched.page.get_by_role("button", name="van-1").click()
    watched.until("document.querySelector('.trail-note').textContent === '1 fix'")
    assert watched.hosts == {fake.url.split("/")[2]}
    assert watched.complaints == []


def test_the_key_leaves_the_address_bar_and_survives_a_reload(
    watched: Watched, fake: FakeWaymark
) -> None:
    open_map(watched, fake)
    assert watched.page.url == fake.url
    watched.page.reload()
    watched.until("window.waymark?.status === 'live'")


def test_without_a_key_it_asks_and_a_wrong_one_is_explained(
    watched: Watched, fake: FakeWaymark
) -> None:
    watched.page.goto(fake.url)
    watched.page.get_by_role("button", name="Use an API key instead").click()
    watched.page.get_by_label("API key").fill("wmk_wrong")
    watched.page.keyboard.press("Enter")
    watched.until("document.getElementById('signin-error').textContent !== ''")
    watched.page.get_by_label("API key").fill(KEY)
    with watched.page.expect_navigation():
        watched.page.keyboard.press("Enter")
    watched.until("window.waymark?.status === 'live'")


def test_after_a_loss_it_resumes_from_its_cursor_and_shows_each_event_once(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    open_map(watched, fake)
    fake.happen("fence.entered", "van-1", data={"fence_name": "Depot"})
    watched.until("window.waymark.events === 1")
    fake.closed_for = 2
    fake.hang_up(1013)
    fake.make_event("fence.exited", "van-1", data={"fence_name": "Depot"})
    watched.until("window.waymark.status === 'reconnecting'")
    watched.until("window.waymark.status === 'live'")
    watched.until("window.waymark.events === 2")
    assert fake.subscriptions[-1]["since"] == 1
    texts = watched.page.locator("#event-list .text").all_inner_texts()
    assert texts == ["van-1 left Depot", "van-1 entered Depot"]


def test_an_event_is_corrected_withdrawn_and_late_in_its_place(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    open_map(watched, fake)
    now = time.time()
    fake.happen("motion.stopped", "van-1", id="a", at_s=now)
    fake.happen("motion.started", "van-1", id="b", at_s=now - 60, late=True)
    fake.happen("motion.stopped", "van-1", id="a", at_s=now, revision=2, status="retracted")
    watched.until("window.waymark.events === 3")
    rows = watched.page.locator("#event-list li")
    assert rows.count() == 2
    assert "withdrawn" in rows.nth(0).inner_text()
    assert "retracted" in (rows.nth(0).get_attribute("class") or "")
    assert "reported late" in rows.nth(1).inner_text()


def test_selecting_a_device_tells_what_is_known_of_it_and_escape_closes(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37, course_deg=90.0, speed_mps=12.5))
    fake.trails["van-1"] = [
        position("van-1", 4.90 + i / 1000, 52.37, at_s=time.time() - 600 + i) for i in range(50)
    ]
    open_map(watched, fake)
    watched.page.keyboard.press("/")
    watched.page.keyboard.type("van")
    watched.page.keyboard.press("Enter")
    panel = watched.page.get_by_role("region", name="Selected device")
    watched.until("document.querySelector('.trail-note')?.textContent === '50 fixes'")
    text = panel.inner_text()
    for expected in ("van-1", "Moving", "45 km/h", "90° E", "81 %", "18.4 km", "ok, ±5 m"):
        assert expected in text
    watched.page.keyboard.press("Escape")
    assert not panel.is_visible()


def test_a_click_on_a_marker_selects_it(watched: Watched, fake: FakeWaymark) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    open_map(watched, fake)
    watched.until("window.waymark.frames > 3")
    # One device is framed in the middle of what the panels leave free.
    watched.page.mouse.click((300 + 956) / 2, 400)
    watched.until("!document.getElementById('device').hidden")


def test_names_are_text_never_markup(watched: Watched, fake: FakeWaymark) -> None:
    name = "<img src=x onerror=alert(1)>"
    seed(fake, position(name, 4.90, 52.37))
    open_map(watched, fake)
    fake.happen("fence.entered", name, data={"fence_name": "<b>Depot</b>"})
    watched.until("window.waymark.events === 1")
    assert watched.page.locator("#event-list .text").inner_text() == f"{name} entered <b>Depot</b>"
    assert watched.page.locator("img").count() == 0


def test_a_style_that_cannot_be_had_leaves_the_built_in_one(
    watched: Watched, fake: FakeWaymark
) -> None:
    fake.style_url = "/missing-style.json"
    seed(fake, position("van-1", 4.90, 52.37))
    open_map(watched, fake)
    deadline = time.monotonic() + 10
    while not any("the built-in one stays" in said for said in watched.complaints):
        assert time.monotonic() < deadline
        watched.page.wait_for_timeout(50)
    watched.until("window.waymark.frames > 3")


def test_ten_thousand_devices_leave_the_page_responsive(
    watched: Watched, fake: FakeWaymark
) -> None:
    town = Town(10_000)
    seed(fake, *town.step(0))
    open_map(watched, fake)
    watched.until("window.waymark.deviceCount === 10000")
    fake.move(*town.step(1))
    moved = iso(time.time() - 1)
    watched.until(f"window.waymark.positions()[9999].fix_time >= '{moved[:17]}'")
    # Work on the page's own thread, which is ours; drawing is the graphics card's.
    busy_ms = watched.page.evaluate(
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
    watched.page.get_by_label("Search devices").fill("van-0042")
    watched.until("document.querySelectorAll('#devices li').length <= 2")


def test_it_works_on_a_phone_and_in_the_dark(chromium: Browser, fake: FakeWaymark) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    context = chromium.new_context(
        viewport={"width": 390, "height": 780}, color_scheme="dark", has_touch=True
    )
    watched = Watched(context.new_page())
    open_map(watched, fake)
    assert not watched.page.locator("#fleet").is_visible()
    watched.page.get_by_role("button", name="Fleet", exact=True).click()
    watched.page.locator("#devices button").click()
    # The device's panel is on the map, which is in front again.
    assert watched.page.locator("#device").is_visible()
    assert not watched.page.locator("#fleet").is_visible()
    width = watched.page.evaluate("document.documentElement.scrollWidth")
    assert width == 390
    ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(14, 20, 27)"
    context.close()
