"""An invented town with fences and alerts, and a picture of it.

`python -m tests.browser.fence_town docs/images/fences.png` takes the picture of `docs/map.md`.
"""

import math
import sys
import time
from pathlib import Path
from typing import Any

import h3
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.fake_waymark import KEY, FakeWaymark, iso
from tests.browser.town import Town

Json = dict[str, Any]
LON, LAT = -97.743, 30.268
_TURN = 0.32  # as the town's streets


def place(x_m: float, y_m: float) -> list[float]:
    """A place of the town's own grid."""
    east = x_m * math.cos(_TURN) - y_m * math.sin(_TURN)
    north = x_m * math.sin(_TURN) + y_m * math.cos(_TURN)
    return [LON + east / (111_320 * math.cos(math.radians(LAT))), LAT + north / 110_540]


def block(x_m: float, y_m: float, wide_m: float, tall_m: float) -> Json:
    corners = [(0, 0), (wide_m, 0), (wide_m, tall_m), (0, tall_m), (0, 0)]
    return {"type": "Polygon", "coordinates": [[place(x_m + x, y_m + y) for x, y in corners]]}


def furnish(fake: FakeWaymark) -> None:
    """Give the town its fences, visits and alerts."""
    sites = fake.sites
    sites.add_fence(
        "depot-north",
        {"type": "Circle", "center": place(-1_650, 1_900), "radius_m": 520},
        name="Depot North",
        version=4,
        dwell_s=1_200,
        speed_limit_mps=8.333,
    )
    sites.add_fence("market", block(250, -300, 900, 650), name="Market Hall")
    sites.add_fence("old-town", block(-900, -1_650, 950, 1_050), name="Old Town")
    line = [place(x, y) for x, y in ((-3_400, 650), (-800, 620), (500, 1_150), (3_300, 1_250))]
    corridor = {"type": "Corridor", "coordinates": line, "width_m": 220}
    sites.add_fence("route-7", corridor, name="Route 7")
    lon, lat = place(1_900, -1_600)
    cells = h3.grid_disk(h3.latlng_to_cell(lat, lon, 9), 2)
    sites.add_fence("zone-low", {"type": "Cells", "cells": cells}, name="Low Emission Zone")
    now = time.time()
    for n, device in enumerate(("van-017", "truck-042", "van-088")):
        entered = {"entered_at": iso(now - 900 - 2_700 * n), "entered_event": f"v{n}"}
        sites.visits.append({"fence": "depot-north", "device": device, **entered})
    told = {"fence": "depot-north", "fence_name": "Depot North"}
    fake.make_event("fence.entered", "truck-042", data=told, at_s=now - 3_600)
    fake.make_event("fence.entered", "van-017", data=told, at_s=now - 900)
    left = told | {"inside_s": 2_520}
    fake.make_event("fence.exited", "bus-003", data=left, at_s=now - 240)
    fast = told | {"speed_mps": 13.1, "limit_mps": 8.333}
    fake.make_event("speed.exceeded", "van-065", data=fast, at_s=now - 95)
    cause = {"id": "x", "type": "speed.exceeded", "time": iso(now - 95), "data": fast}
    alert = {"rule": "depot-speed", "opened_at": iso(now - 95), "event": cause}
    sites.add_alert("a1", "van-065", severity="critical", fence="depot-north", **alert)
    gone = {"id": "y", "type": "device.silent", "time": iso(now - 700), "data": {"silent_s": 1800}}
    sites.add_alert("a2", "bus-011", rule="silent", opened_at=iso(now - 700), event=gone)


def main() -> None:
    """Take the picture."""
    fake, town = FakeWaymark(), Town(120)
    for each in town.step(0):
        fake.latest[each["device"]] = each
    furnish(fake)
    with fake.serving(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{fake.url}#key={KEY}")
        deadline = time.monotonic() + 30
        while page.evaluate("window.waymark?.fences ?? 0") < len(fake.sites.fences):
            assert time.monotonic() < deadline
            fake.move(*town.step(1))
            page.wait_for_timeout(500)
        for _ in range(20):
            fake.move(*town.step(1))
            page.wait_for_timeout(300)
        point = page.evaluate("([lon, lat]) => waymark.project(lon, lat)", place(-1_650, 1_900))
        page.mouse.click(point["x"] + 6, point["y"] + 14)
        page.get_by_text("Inside now").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=Path(sys.argv[1]))
        browser.close()


if __name__ == "__main__":
    main()
