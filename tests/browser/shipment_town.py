"""An invented town with shipments under way in it, and a picture of it.

`python -m tests.browser.shipment_town docs/images/shipments.png` takes that of `docs/map.md`.
"""

import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.fake_shipments import eta, stop, times
from tests.browser.fake_waymark import KEY, FakeWaymark, iso, position
from tests.browser.fence_town import place
from tests.browser.town import Town

Json = dict[str, Any]

# Along the streets of the town, metres of its own grid.
_WAY = (
    *((-2_000, -1_200), (-2_000, 400), (-800, 400), (-800, 1_600)),
    *((400, 1_600), (400, 0), (1_600, 0), (1_600, 1_200), (2_800, 1_200)),
)
_LENGTH_M, _PROGRESS_M = 10_400.0, 5_600.0
# It should have turned right.
_STRAYED, _ASTRAY = "truck-121", (-260, 1_990)
# Those that carry the first of the others, and how fast they drive.
_IN_TROUBLE = (
    ("van-204", (300, -1_500), 0.0),
    ("truck-118", (-800, -1_700), 0.0),
    ("van-231", (100, 2_700), 9.0),
)
_ZONE = "America/Chicago"
_OTHERS: list[tuple[str, str, str, list[str], int]] = [
    ("s-2207", "o-5112", "in_transit", ["stalled"], 52),
    ("s-2198", "o-5098", "at_stop", ["not_departed"], 18),
    ("s-2214", "o-5121", "in_transit", ["at_risk"], 34),
    ("s-2201", "o-5104", "arriving", [], 6),
    ("s-2219", "o-5127", "in_transit", [], 21),
    ("s-2220", "o-5127", "in_transit", [], 27),
    ("s-2196", "o-5093", "at_stop", [], 4),
    ("s-2223", "o-5133", "in_transit", [], 46),
    ("s-2224", "o-5135", "picked_up", [], 63),
    ("s-2230", "o-5140", "in_transit", [], 88),
]
_SHOPS = ("Barton Springs", "Zilker", "Mueller", "Hyde Park", "Clarksville", "East Cesar Chavez")


def _window(at_s: float, minutes: int = 30) -> Json:
    start = at_s - at_s % 900
    until = iso(start + 60 * minutes)
    return {"arrive": times(iso(start)), "planned_until": until, "time_zone": _ZONE}


def _called(at: tuple[int, int], name: str, **more: object) -> Json:
    lon, lat = place(*at)
    return stop(name, lon, lat, **more)


def _strayed(fake: FakeWaymark, now: float, carrier: str) -> None:
    window = _window(now - 5_400)
    reached = window["arrive"] | {"actual": iso(now - 4_980)}
    left = times(None, None, iso(now - 4_260))
    half = _window(now - 2_700)
    depot = _called(
        _WAY[0],
        "Depot South",
        kind="pickup",
        done=True,
        **window | {"arrive": reached},
        depart=left,
    )
    bakery = _called(
        _WAY[3], "Bakery", done=True,
        **half | {"arrive": half["arrive"] | {"actual": iso(now - 1_500)}},
        depart=times(None, None, iso(now - 980)),
    )  # fmt: skip
    hall = _called(_WAY[6], "Market Hall", **_window(now + 600, 15))
    school = _called(_WAY[8], "School Kitchen", **_window(now + 3_600))
    told = eta(2, iso(now + 1_260), iso(now + 1_620), iso(now + 2_160), at_risk=[2])
    told["stops"].append(
        {"stop": 3, "early": iso(now + 2_700), "arrive": iso(now + 3_240), "late": iso(now + 4_020)}
    )
    told |= {"told_at": iso(now - 70), "because": "9 min later: it has left its route"}
    fake.shipping.add(
        "s-2211", [depot, bakery, hall, school], carrier=carrier, order_ref="o-5117",
        next_stop=2, exceptions=["off_route", "at_risk"], eta=told,
        route={
            "length_m": _LENGTH_M, "progress_m": _PROGRESS_M, "offset_m": 410.0, "off_route": True,
            "line": {"type": "LineString", "coordinates": [place(*at) for at in _WAY]},
        },
    )  # fmt: skip


def furnish(fake: FakeWaymark, now: float) -> None:
    """Give the town its shipments, on vehicles that are there."""
    devices = sorted(fake.latest)
    for carrier, at, speed in (*_IN_TROUBLE, (_STRAYED, _ASTRAY, 8.2)):
        lon, lat = place(*at)
        fake.latest[carrier] = position(carrier, lon, lat, course_deg=72.0, speed_mps=speed)
    in_trouble = [carrier for carrier, _, _ in _IN_TROUBLE]
    for n, (id_, order, status, troubles, minutes) in enumerate(_OTHERS):
        due = now + minutes * 60
        shop = _called((400 * n - 2_000, 800), _SHOPS[n % len(_SHOPS)], **_window(due))
        shop["depart"] = times(None, iso(due))
        told = eta(0, iso(due - 300), iso(due), iso(due + 480 + 20 * minutes))
        fake.shipping.add(
            id_, [shop], carrier=in_trouble[n] if troubles else devices[n], order_ref=order,
            status=status, exceptions=troubles, eta=told,
            at_stop=0 if status == "at_stop" else None,
        )  # fmt: skip
    _strayed(fake, now, _STRAYED)
    bakery, hall = {"stop_name": "Bakery"}, {"stop_name": "Market Hall"}
    for kind, ago_s, data in (
        ("stop.arrived", 1_500, bakery),
        ("stop.departed", 980, bakery),
        ("route.deviated", 95, {}),
        ("shipment.eta_changed", 70, hall | {"because": "it has left its route"}),
        ("shipment.at_risk", 70, hall),
    ):
        fake.make_event(kind, "shipment/s-2211", at_s=now - ago_s, data=data)


def open_town(page: Page, fake: FakeWaymark) -> None:
    """Open the page on a furnished town, and select the shipment that has strayed."""
    page.goto(f"{fake.url}#key={KEY}")
    page.get_by_role("button", name="Shipments").first.click()
    page.locator("#shipment-list").get_by_role("button", name="s-2211").click()
    page.get_by_role("region", name="Selected shipment").get_by_text("Market Hall").first.wait_for()


def main() -> None:
    """Take the picture."""
    fake, town = FakeWaymark(), Town(60)
    for each in town.step(0):
        fake.latest[each["device"]] = each
    furnish(fake, time.time())
    with fake.serving(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        page = browser.new_page(
            viewport={"width": 1280, "height": 800}, timezone_id=_ZONE, locale="en-GB"
        )
        open_town(page, fake)
        for _ in range(12):
            fake.move(*town.step(1))
            page.wait_for_timeout(400)
        page.screenshot(path=Path(sys.argv[1]))
        browser.close()


if __name__ == "__main__":
    main()
