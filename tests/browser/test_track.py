"""The public page of share links, on a phone: the real page, the real api."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser

from ingest.forecasts import Forecaster
from ingest.shipments import turn
from tests.browser.conftest import Watched
from tests.integration.api_site import Rows, ThreadedSite
from tracking.store.connection import connect
from tracking.store.keys import create_key


def stops(now: datetime) -> list[dict[str, object]]:
    """A depot, and a shop that expects the shipment in an hour."""
    return [
        {"kind": "pickup", "name": "Secret depot", "place": {"lon": 5.0, "lat": 52.0}},
        {
            "kind": "delivery",
            "name": "Shop <b>North</b>",
            "place": {"lon": 5.1, "lat": 52.0, "address": "Long Street 4"},
            "window": {
                "from": (now + timedelta(hours=1)).isoformat(),
                "to": (now + timedelta(hours=2)).isoformat(),
                "time_zone": "Europe/Amsterdam",
            },
        },
    ]


class Shop:
    """A dispatcher by REST; plain calls, as the browser is driven by plain calls."""

    def __init__(self, url: str, key: str, rows: Rows, database_url: str) -> None:
        self.url = url
        self._rows, self._database_url = rows, database_url
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60
        )

    def post(self, path: str, body: object) -> dict[str, object]:
        answer = self.client.post(path, json=body)
        assert answer.is_success, answer.text
        found: dict[str, object] = answer.json()
        return found

    def delete(self, path: str) -> None:
        assert self.client.delete(path).is_success

    def seen(self, lon: float, at: datetime) -> None:
        """The carrier is seen somewhere, and a monitor looks at the shipment then."""
        self._rows.move("gps", lon, 52.0, at)

        async def look() -> None:
            async with await connect(self._database_url, name="monitor") as conn:
                while await turn(conn):
                    pass
                await Forecaster(900.0).turn(conn, at)

        # This thread has the loop of the browser.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, look()).result()


@pytest.fixture
def shop(database_url: str, valkey_url: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop whose shipment was seen a moment ago, or as long ago as a parameter says."""
    now = datetime.now(UTC)
    seen_ago: timedelta = getattr(request, "param", timedelta(seconds=20))
    with Rows(database_url) as rows, ThreadedSite(database_url, valkey_url) as (url, _):
        rows.fixes(rows.device("gps"), 4, start=now - seen_ago)
        shop = Shop(
            url, create_key(database_url, "default", "dispatch", "dispatcher"), rows, database_url
        )
        with shop.client:
            shop.post("/v1/shipments", {"id": "s1", "order_ref": "o-77", "stops": stops(now)})
            shop.post(
                "/v1/attachments",
                {
                    "load": {"kind": "shipment", "id": "s1"},
                    "carrier": {"kind": "device", "id": "gps"},
                    "from": (now - timedelta(hours=1)).isoformat(),
                },
            )
            yield shop


@pytest.fixture
def phone(chromium: Browser) -> Iterator[Watched]:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=3, has_touch=True,
        is_mobile=True, locale="en-GB",
    )  # fmt: skip
    yield Watched(context.new_page())
    context.close()


def headline(text: str) -> str:
    return f"document.querySelector('h1').textContent === {text!r}"


def say(shop: Shop, act: str, stop: int) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    shop.post("/v1/shipments/s1/overrides", {"act": act, "stop": stop, "at": at})


# What the page does when somebody looks at it again.
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"


def test_a_customer_follows_a_shipment_on_a_phone(shop: Shop, phone: Watched) -> None:
    link = shop.post("/v1/shipments/s1/share", {})
    page = phone.page
    page.goto(f"{shop.url}{link['path']}")
    phone.until(headline("Being prepared"))
    assert page.locator("#reference").inner_text() == "Order o-77, shipment s1"
    assert page.locator("li strong").all_inner_texts() == ["Pickup", "Shop <b>North</b>"]
    assert "Long Street 4" in page.locator("li").nth(1).inner_text()
    assert "Planned" in page.locator("li").nth(1).inner_text()
    assert page.locator("#map").is_hidden()

    say(shop, "departed", 0)
    page.evaluate(LOOK_AGAIN)
    phone.until(headline("On its way"))
    assert page.locator("#map").is_visible()
    assert page.locator("#seen").inner_text() == "Here just now"
    painted = page.evaluate(
        "(() => { const c = document.querySelector('canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return d.some((value) => value !== 0); })()"
    )
    assert painted
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("li.done").count() == 1

    say(shop, "delivered", 1)
    page.evaluate(LOOK_AGAIN)
    phone.until(headline("Delivered"))
    assert page.locator("#map").is_hidden()
    assert phone.complaints == []
    assert phone.hosts == {shop.url.removeprefix("http://")}


@pytest.mark.parametrize("shop", [timedelta(minutes=20)], indirect=True)
def test_who_waits_sees_when_to_expect_it_and_nothing_false_while_it_is_silent(
    shop: Shop, phone: Watched
) -> None:
    link = shop.post("/v1/shipments/s1/share", {})
    say(shop, "departed", 0)
    page = phone.page
    page.goto(f"{shop.url}{link['path']}")
    phone.until(headline("On its way"))
    assert page.locator("#eta").is_hidden()

    now = datetime.now(UTC)
    shop.seen(4.8, now - timedelta(minutes=20))
    page.evaluate(LOOK_AGAIN)
    phone.until("document.querySelector('#eta').className === 'quiet'")
    assert page.locator("#arriving").inner_text() == "Last seen 20 min ago"
    assert "Expected" not in page.locator("main").inner_text()

    shop.seen(4.8, now)
    page.evaluate(LOOK_AGAIN)
    phone.until("document.querySelector('#eta').className === ''")
    told = httpx.get(f"{shop.url}/v1/share/{link['token']}", trust_env=False).json()["stops"][1]
    local = [
        datetime.fromisoformat(told[name]).astimezone(ZoneInfo("Europe/Amsterdam"))
        for name in ("estimated_from", "estimated_until")
    ]
    shown = page.locator("#arriving").inner_text()
    assert "Arriving" in shown
    assert all(f"{one:%H:%M}" in shown for one in local), shown
    assert local[0] < local[1]
    assert "Most likely around" in page.locator("#likely").inner_text()
    assert "Expected" in page.locator("li").nth(1).inner_text()
    assert "Expected" not in page.locator("li").nth(0).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    big_px, text_px = (
        page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('{where}')).fontSize)")
        for where in ("#arriving .time", "#detail")
    )
    assert big_px > 2 * text_px, "what the page is for is what is read first"

    say(shop, "delivered", 1)
    page.evaluate(LOOK_AGAIN)
    phone.until(headline("Delivered"))
    assert page.locator("#eta").is_hidden()
    assert phone.complaints == []


def test_a_link_that_ended_shows_nothing_any_more(shop: Shop, phone: Watched) -> None:
    link = shop.post("/v1/shipments/s1/share", {})
    page = phone.page
    page.goto(f"{shop.url}{link['path']}")
    phone.until(headline("Being prepared"))
    shop.delete(f"/v1/shipments/s1/share/{link['id']}")
    page.evaluate(LOOK_AGAIN)
    phone.until(headline("This link has ended"))
    assert page.locator("li").count() == 0
    assert "s1" not in page.locator("main").inner_text()


def test_a_page_goes_on_when_the_api_was_away_for_a_moment(shop: Shop, phone: Watched) -> None:
    link = shop.post("/v1/shipments/s1/share", {})
    page = phone.page
    page.goto(f"{shop.url}{link['path']}")
    phone.until(headline("Being prepared"))
    page.context.set_offline(True)
    page.evaluate(LOOK_AGAIN)
    phone.until("document.querySelector('#note').textContent !== ''")
    assert page.locator("h1").inner_text() == "Being prepared"
    page.context.set_offline(False)
    page.evaluate(LOOK_AGAIN)
    phone.until("document.querySelector('#note').textContent === ''")
