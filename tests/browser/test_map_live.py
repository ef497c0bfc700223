"""The live map on the real thing: simulated devices, broker, worker, database, api, browser."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import PATIENCE_S, Watched

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
