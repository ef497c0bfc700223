"""Shipments on the live map, against a stand-in server."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE_S, Watched
from tests.browser.fake_shipments import eta, stop, times
from tests.browser.fake_waymark import KEY, FakeWaymark, iso, position
from tests.browser.shipment_town import furnish
from tests.browser.test_map import colours, open_map, seed
from tests.browser.town import Town

pytestmark = pytest.mark.long

# The colours of a planned way, as in style.css.
REST, DRIVEN = {(11, 114, 133)}, {(124, 136, 148)}


@pytest.fixture
def town(fake: FakeWaymark) -> FakeWaymark:
    """The stand-in with the town of the picture behind it."""
    seed(fake, *Town(16).step(0))
    furnish(fake, time.time())
    return fake


@pytest.fixture
def abroad(chromium: Browser) -> Iterator[Watched]:
    """A page whose reader is not where the stops are."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800}, timezone_id="Europe/London", locale="en-GB"
    )
    yield Watched(context.new_page())
    context.close()


def rows_of(page: Page) -> list[str]:
    names = page.locator("#shipment-list .name b").all_inner_texts()
    return [name.strip() for name in names]


def show_list(watched: Watched, fake: FakeWaymark) -> None:
    open_map(watched, fake)
    watched.page.keyboard.press("s")
    watched.until("document.querySelectorAll('#shipment-list li').length > 0")


def until_drawn(watched: Watched, wanted: set[tuple[int, int, int]], *, there: bool) -> None:
    """Wait for colours to be on the map, or not."""
    deadline = time.monotonic() + PATIENCE_S
    while (wanted <= colours(watched, {"x": 310, "y": 60, "width": 630, "height": 600})) != there:
        assert time.monotonic() < deadline, wanted


def test_those_in_trouble_come_first_and_shelves_and_search_find_the_others(
    watched: Watched, town: FakeWaymark
) -> None:
    town.shipping.add("x-1", [stop("Far", 5, 52)], status="delivered", order_ref="o-5200")
    show_list(watched, town)
    page = watched.page
    assert rows_of(page)[:4] == ["s-2211", "s-2207", "s-2198", "s-2214"]
    assert page.locator("#lists .trouble-count").inner_text() == "4"
    page.get_by_role("button", name="In trouble").click()
    watched.until("document.querySelectorAll('#shipment-list li').length === 4")
    page.get_by_label("Search shipments by id or order").fill("o-5200")
    watched.until("document.querySelector('#shipment-list')?.innerText.includes('x-1')")
    assert rows_of(page) == ["x-1"]
    assert "Delivered" in page.locator("#shipment-list").inner_text()
    assert watched.complaints == []


def test_a_selected_shipment_tells_when_where_and_why(abroad: Watched, town: FakeWaymark) -> None:
    show_list(abroad, town)
    page = abroad.page
    page.locator("#shipment-search").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="Selected shipment")
    panel.get_by_text("it has left its route").first.wait_for()
    text = panel.inner_text()
    for expected in (
        "s-2211", "Order o-5117", "Off route", "At risk", "To Market Hall", "8 of 10 come within",
        "9 min later: it has left its route", "5.6 km of 10.4 km", "410 m beside it",
        "by truck-121", "Depot South", "will probably be late", "Planned", "Chicago",
        "Times are those of America/Chicago, where it is ",
    ):  # fmt: skip
        assert expected in text, expected
    until_drawn(abroad, REST | DRIVEN, there=True)
    # Its flag stands on the map, and the click on where it was seen leads to the device.
    flag = page.locator("#labels [data-flag=bad]")
    assert "s-2211 off route" in flag.inner_text()
    panel.get_by_role("button", name="by truck-121").click()
    device = page.get_by_role("region", name="Selected device")
    assert not panel.is_visible()
    device.get_by_role("button", name="s-2211").click()
    panel.get_by_text("Market Hall").first.wait_for()
    assert not device.is_visible()
    page.keyboard.press("Escape")
    assert not panel.is_visible()
    until_drawn(abroad, REST, there=False)
    assert abroad.complaints == []


def test_an_event_is_a_hint_to_read_that_shipment_again_once(
    watched: Watched, town: FakeWaymark
) -> None:
    show_list(watched, town)
    page = watched.page
    page.locator("#shipment-list").get_by_role("button", name="s-2219").click()
    panel = page.get_by_role("region", name="Selected shipment")
    panel.get_by_text("In transit").wait_for()
    lists, reads = len(town.shipping.lists), town.shipping.reads.count("s-2219")
    town.shipping.change("s-2219", status="arriving", exceptions=["overdue"])
    for _ in range(20):
        town.happen("shipment.overdue", "shipment/s-2219", data={"stop_name": "Clarksville"})
    panel.get_by_text("Overdue", exact=True).wait_for()
    # It is the worst now, and on top.
    watched.until(
        "document.querySelector('#shipment-list .name b').textContent.trim() === 's-2219'"
    )
    panel.get_by_text("is overdue at Clarksville").first.wait_for()
    assert town.shipping.reads.count("s-2219") - reads <= 2
    assert len(town.shipping.lists) == lists
    # What nobody looks at and is not in the list is not read for another time of arrival.
    town.happen("shipment.eta_changed", "shipment/s-9")
    town.shipping.add("s-8", [stop("New", 5, 52)], exceptions=["stalled"])
    town.happen("shipment.stalled", "shipment/s-8")
    watched.until("document.querySelector('#shipment-list').innerText.includes('s-8')")
    assert "s-9" not in town.shipping.reads


def test_it_moves_with_what_carries_it_and_stays_itself_after_a_loss(
    watched: Watched, town: FakeWaymark
) -> None:
    town.latest["truck-121"] |= {"fix_time": iso(time.time() - 300)}
    show_list(watched, town)
    page = watched.page
    page.locator("#shipment-list").get_by_role("button", name="s-2211").click()
    page.get_by_role("button", name="Last seen 5 min ago by truck-121").wait_for()
    town.closed_for = 1
    town.hang_up(1013)
    town.shipping.change("s-2211", exceptions=[])
    town.make_event("route.rejoined", "shipment/s-2211")
    watched.until("window.waymark.status === 'reconnecting'")
    watched.until("window.waymark.status === 'live'")
    page.get_by_role("region", name="Selected shipment").get_by_text("is back on").wait_for()
    watched.until("document.querySelector('#shipment .badges').textContent === ''")
    watched.until("document.querySelectorAll('#labels [data-flag=bad]').length === 0")
    reads = len(town.shipping.reads)
    at = town.latest["truck-121"]
    town.move(position("truck-121", at["lon"] + 0.001, at["lat"]))
    watched.until("/now|s ago/.test(document.querySelector('#shipment .seen').textContent)")
    assert len(town.shipping.reads) == reads


def test_of_ten_thousand_shipments_a_few_pages_are_read(
    watched: Watched, fake: FakeWaymark
) -> None:
    seed(fake, position("van-1", 4.90, 52.37))
    soon, late = iso(time.time() + 600), iso(time.time() + 1500)
    for n in range(10_000):
        shop = stop(f"Shop {n}", 4.9, 52.3, arrive=times(None, soon))
        troubles = ["stalled"] if n % 50 == 0 else []
        fake.shipping.add(
            f"s-{n:05}", [shop], carrier="van-1", exceptions=troubles, eta=eta(0, soon, soon, late)
        )
    show_list(watched, fake)
    page = watched.page
    assert page.locator("#lists .trouble-count").inner_text() == "100+"
    assert page.locator("#shipment-list li").count() == 100
    assert "and more" in page.locator("#shipments-note").inner_text()
    began = time.monotonic()
    for n in range(100):
        fake.happen("shipment.moving", f"shipment/s-{n:05}")
    watched.until("window.waymark.events === 100")
    page.wait_for_timeout(1_500)
    # Four each second since the list was there, and no list for each event.
    assert len(fake.shipping.lists) <= 4
    assert 4 <= len(fake.shipping.reads) <= 4 * (time.monotonic() - began + 4)
    page.get_by_label("Search shipments by id or order").fill("s-09999")
    watched.until("document.querySelectorAll('#shipment-list li').length === 1")
    assert watched.complaints == []


def test_on_a_phone_it_is_a_tab_and_a_pick_leads_to_the_map(
    chromium: Browser, town: FakeWaymark
) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 780}, color_scheme="dark", has_touch=True
    )
    watched = Watched(context.new_page())
    watched.page.goto(f"{town.url}#key={KEY}")
    watched.until("window.waymark?.status === 'live'")
    page = watched.page
    assert not page.locator("#shipments").is_visible()
    page.locator("#tabs").get_by_role("button", name="Shipments").click()
    assert not page.locator("#fleet").is_visible()
    page.locator("#shipment-list").get_by_role("button", name="s-2211").click()
    page.get_by_role("region", name="Selected shipment").wait_for()
    assert not page.locator("#shipments").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert watched.complaints == []
    context.close()
