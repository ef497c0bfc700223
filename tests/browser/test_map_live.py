"""The live map on the real thing: simulated devices, broker, worker, database, api, browser."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.browser.conftest import PATIENCE_S, Watched
from waymark.client import Waymark

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PYTHON = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'firmware-sim'}"}
VEHICLES = 40


@pytest.fixture(scope="module")
def entrances(
    built_map: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """`waymark up` in a folder of its own, and a fleet that drives until the end."""
    assert built_map.is_dir()
    folder = tmp_path_factory.mktemp("live-map")
    log = (folder / "up.log").open("wb")
    up = subprocess.Popen(
        [sys.executable, "-m", "waymark", "up", "--json", "--data-dir", str(folder / "data")],
        cwd=ROOT,
        env=PYTHON,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    fleet = None
    try:
        assert up.stdout is not None
        line = up.stdout.readline()
        assert line, (folder / "up.log").read_text()
        ready = json.loads(line)
        fleet = subprocess.Popen(
            [
                *(sys.executable, "-m", "firmware_sim", "run", "--mqtt", ready["mqtt"]),
                *("--devices", str(VEHICLES), "--for", "0"),
            ],
            env=PYTHON,
            stdout=log,
            stderr=log,
        )
        yield ready
    finally:
        for process in (fleet, up):
            if process is not None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=PATIENCE_S)
        if up.stdout is not None:
            up.stdout.close()
        log.close()


@pytest.mark.timeout(300)
def test_a_fleet_moves_on_the_map_from_mqtt_to_the_screen(
    watched: Watched, entrances: dict[str, str], tmp_path: Path
) -> None:
    page = watched.page
    page.goto(f"{entrances['http'].rstrip('/')}/#key={entrances['api_key']}")
    watched.until("window.waymark?.status === 'live'")
    watched.until(f"window.waymark.positions().length >= {VEHICLES}")
    page.evaluate("() => { window.first = new Map(waymark.positions().map(p => [p.device, p])); }")
    # Movement as drawn, in metres or so; most of a fleet is on the road.
    moved = """window.waymark.positions().filter(p => {
        const was = window.first.get(p.device);
        return was && Math.hypot(p.lon - was.lon, p.lat - was.lat) > 0.0002;
    }).length"""
    watched.until(f"{moved} >= {VEHICLES // 4}")
    watched.until("window.waymark.positions().some(p => p.state === 'moving')")

    page.locator("#devices button", has_text="km/h").first.click()
    watched.until("/\\d fix/.test(document.querySelector('.trail-note').textContent)")
    picture = Path(os.environ.get("WAYMARK_TEST_SCREENSHOT", tmp_path / "map.png"))
    page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
    assert watched.hosts == {entrances["http"].split("/")[2]}
    assert watched.complaints == []


@pytest.mark.timeout(300)
def test_a_fence_drawn_on_the_map_is_previewed_saved_and_entered(
    watched: Watched, entrances: dict[str, str]
) -> None:
    page = watched.page
    page.goto(f"{entrances['http'].rstrip('/')}/#key={entrances['api_key']}")
    watched.until(f"window.waymark?.positions().length >= {VEHICLES}")
    page.get_by_role("button", name="New fence").click()
    form = page.get_by_role("region", name="Draw a fence")
    form.get_by_role("button", name="Circle").click()
    page.get_by_label("Radius").wait_for()
    form.get_by_role("button", name="Point at cross").click()
    form.get_by_label("Radius").fill("3000")
    form.get_by_label("Name").fill("The town")
    form.get_by_role("button", name="Preview").click()
    watched.until(
        "/would have raised: .*entered \\d/.test(document.querySelector('#draw').innerText)"
    )
    form.get_by_role("button", name="Save").click()
    panel = page.get_by_role("region", name="Selected fence")
    panel.get_by_text("version 1").wait_for()
    # Those that drive inside are found there by their next fixes, and told by the feed.
    watched.until("/Inside now: \\d/.test(document.querySelector('#fence').innerText)")
    watched.until("/ in The town/.test(document.querySelector('#event-list').innerText)")
    panel.get_by_role("button", name="Change").click()
    form.get_by_label("Dwell").fill("1")
    form.get_by_role("button", name="Save").click()
    panel.get_by_text("version 2").wait_for()
    panel.get_by_role("button", name="Delete").click()
    panel.get_by_role("button", name="Delete for good?").click()
    watched.until("waymark.fences === 0")
    assert watched.complaints == []


@pytest.mark.timeout(300)
def test_a_shipment_on_a_vehicle_is_told_with_when_it_will_be_where(
    watched: Watched, entrances: dict[str, str]
) -> None:
    page = watched.page
    page.goto(f"{entrances['http'].rstrip('/')}/#key={entrances['api_key']}")
    watched.until("window.waymark?.positions().some(p => p.state === 'moving')")
    vehicle = page.evaluate("waymark.positions().find(p => p.state === 'moving')")
    send(entrances, vehicle["device"], vehicle["lon"], vehicle["lat"])
    page.keyboard.press("s")
    # Made, put on the vehicle, and gone from its first stop: each is an event that the page hears.
    watched.until("/In transit to The mill/.test(document.getElementById('shipments').innerText)")
    page.locator("#shipment-list").get_by_role("button", name="flour-1").click()
    panel = page.get_by_role("region", name="Selected shipment")
    panel.get_by_role("button", name=f"by {vehicle['device']}").wait_for()
    watched.until(
        "/Most likely .* along its route/s.test(document.querySelector('#shipment').innerText)"
    )
    assert "Order o-77" in panel.inner_text()
    panel.get_by_role("button", name=f"by {vehicle['device']}").click()
    device = page.get_by_role("region", name="Selected device")
    device.get_by_role("button", name="flour-1").wait_for()
    assert watched.complaints == []


def send(entrances: dict[str, str], vehicle: str, lon: float, lat: float) -> None:
    """Plan a shipment a way to the north, put it on a vehicle, and say that it has left."""
    line = {"type": "LineString", "coordinates": [[lon, lat], [lon, lat + 0.2]]}
    # Not where the vehicle is: it would come to it, and be at that stop.
    field, mill = {"lon": lon, "lat": lat - 0.1}, {"lon": lon, "lat": lat + 0.2}
    now = datetime.now(UTC)
    plan = {
        "id": "flour-1",
        "order_ref": "o-77",
        "stops": [
            {"kind": "pickup", "name": "The field", "place": field},
            {"kind": "delivery", "name": "The mill", "place": mill},
        ],
        "route": {"line": line, "detect_m": 20_000, "clear_m": 20_000},
    }
    with Waymark(entrances["http"], key=entrances["api_key"]) as waymark:
        waymark.shipments.create(plan)
        waymark.attachments.attach(("shipment", "flour-1"), ("device", vehicle), start=now)
        waymark.shipments.override("flour-1", {"act": "departed", "stop": 0})
