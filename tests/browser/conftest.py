"""Chromium on the built map: the real page, against a stand-in server or the real stack."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.browser.fake_waymark import DIST, FakeWaymark

MAP = DIST.parent
# A browser that draws without a graphics card, on a machine that others use too, is slow.
PATIENCE_S = 30.0 * float(os.environ.get("WAYMARK_TEST_TIMEOUT_FACTOR", "1"))
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WebGL by SwiftShader; --disable-gpu would take WebGL away altogether.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


class Watched:
    """A page, what it complained of, and where it asked for things."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        page.on("request", self._note)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])

    def until(self, condition: str) -> None:
        """Wait for a JavaScript expression to be true.

        Not `wait_for_function`: that evaluates inside the page, which its policy forbids.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"still not: {condition}; {self.complaints}"
            self.page.wait_for_timeout(50)


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def built_map() -> Path:
    """The map's dist/, built when it is missing or older than its sources."""
    index = DIST / "index.html"
    sources = max(_newest(MAP / "src"), (MAP / "index.html").stat().st_mtime)
    if not index.exists() or index.stat().st_mtime < sources:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("the map is not built and there is no npm to build it")
        if not (MAP / "node_modules").exists():
            subprocess.run([npm, "ci"], cwd=MAP, check=True, capture_output=True)
        subprocess.run([npm, "run", "build"], cwd=MAP, check=True, capture_output=True)
    return DIST


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Debian's chromium; playwright downloads none."""
    path = os.environ.get("WAYMARK_TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on the PATH; set WAYMARK_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    """A new page, with nothing remembered, in a window the size of the README's picture."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield Watched(context.new_page())
    context.close()


@pytest.fixture
def fake(built_map: Path) -> Iterator[FakeWaymark]:
    with FakeWaymark().serving(built_map) as fake:
        yield fake
