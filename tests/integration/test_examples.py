"""The services of `examples/` at their edges: what they lack in one line, and who may tell them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest

from examples.pickup.__main__ import Service, serve
from examples.pickup.counter import Counter
from tests.integration.api_site import Site, api_site
from tests.services import TIMEOUT_FACTOR, accepts, free_port, wait_until
from tests.unit.examples.test_counter import FAILED
from tracking.signing import new_secret, signed_headers
from waymark.client import AsyncWaymark

ROOT = Path(__file__).parents[2]
SECRET = new_secret()


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    async with api_site(database_url, valkey_url) as site:
        yield site


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[str]:
    """The pickup service's address; its Waymark is away."""
    port = free_port()
    async with AsyncWaymark(f"http://127.0.0.1:{free_port()}", key="wmk_none") as waymark:
        with Counter(str(tmp_path / "pickup.db")) as counter:
            serving = asyncio.create_task(serve(Service(waymark, counter, SECRET), port))
            await asyncio.to_thread(wait_until, lambda: accepts(port), "the service listens")
            yield f"http://127.0.0.1:{port}"
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


def complaint(folder: Path, name: str, *arguments: str, **env: str) -> list[str]:
    """What a service says that cannot go on."""
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}", "--db", str(folder / "its.db"), *arguments],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True,
        timeout=30 * TIMEOUT_FACTOR, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return [line for line in done.stderr.splitlines() if "connecting" not in line]


def test_what_a_service_lacks_it_says_in_one_line(tmp_path: Path) -> None:
    assert complaint(tmp_path, "orders") == ["set API_KEY"]
    assert complaint(tmp_path, "pickup") == ["set WEBHOOK_SECRET"]
    [said] = complaint(tmp_path, "shipping", API_KEY="wmk_x", API_URL="localhost")
    assert "is no address" in said
    [said] = complaint(tmp_path / "nowhere", "orders")
    assert said.endswith("unable to open database file")


async def test_a_key_that_is_no_good_ends_a_service_in_one_line(site: Site, tmp_path: Path) -> None:
    [said] = await asyncio.to_thread(
        complaint, tmp_path, "shipping", API_KEY="wmk_wrong", API_URL=site.url
    )
    assert "credential" in said


async def test_the_pickup_service_hears_what_is_signed_and_nothing_else(door: str) -> None:
    body = msgspec.json.encode(FAILED)
    async with httpx.AsyncClient(base_url=door, trust_env=False) as client:
        asked = await client.post("/pickups", json={"id": "p1", "fence": "yard"})
        assert (asked.status_code, asked.json()) == (202, {"id": "p1"})
        assert (await client.post("/pickups", content=b"p1")).status_code == 400
        forged = signed_headers([new_secret()], "e1_1", round(time.time()), body)
        for headers in ({}, forged):
            refused = await client.post("/waymark", content=body, headers=headers)
            assert refused.status_code == 401
        good = signed_headers([SECRET], "e1_1", round(time.time()), body)
        for _ in range(2):
            assert (await client.post("/waymark", content=body, headers=good)).status_code == 204
        told = (await client.get("/pickups")).json()
    assert [errand["attempt"] for errand in told["errands"]] == ["e1"]
    assert [pickup["state"] for pickup in told["pickups"]] == ["asked"]
