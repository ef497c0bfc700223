"""Real receivers, deliverers in this process or in ones of their own, and webhooks to them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from aiohttp import web

from deliver.process import deliver
from deliver.sender import Sender
from tests.integration.api_site import Site, api_site
from tests.services import TIMEOUT_FACTOR
from tracking.settings import Settings, load_settings
from tracking.store.keys import create_key

ROOT = Path(__file__).parents[2]
# Loopback is where the receivers of tests are.
OPEN = {
    "secret_key": "a secret key for tests, 32 characters",
    "webhook_allow_nets": ["127.0.0.0/8"],
    "webhook_ports": [],
    "webhook_http": True,
}


class Received(NamedTuple):
    """One request a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[Received], Awaitable[web.StreamResponse]]


async def fine(_: Received) -> web.StreamResponse:
    return web.Response(status=204)


def status(code: int, **headers: str) -> Answer:
    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(
            status=code, text="no", headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


class Receiver:
    """An HTTP server that keeps what it gets; `answer` may be changed at any time."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        # Of those, what was answered with 2xx.
        self.accepted: list[Received] = []
        self.answer: Answer = fine
        self.url = ""
        self.in_flight_max = 0
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, headers, await request.read())
        self._in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        try:
            response = await self.answer(received)
        finally:
            self._in_flight -= 1
        self.received.append(received)
        if response.status < 300:
            self.accepted.append(received)
        return response

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]

    def subjects(self, type_: str | None = None) -> list[str]:
        return [
            one.event["subject"]
            for one in self.received
            if type_ is None or one.event["type"] == type_
        ]

    async def until(self, n: int, timeout_s: float = 20) -> None:
        await until(lambda: len(self.received) >= n, f"{n} requests", timeout_s)


async def until(condition: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    """Wait for a condition of this process."""
    deadline = time.monotonic() + timeout_s * TIMEOUT_FACTOR
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain: {what}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on loopback, for the time of the context."""
    made = Receiver()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, bound = runner.addresses[0][:2]
    made.url = f"http://{host}:{bound}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


def hook_settings(database_url: str, redis_url: str, **overrides: object) -> Settings:
    return load_settings(
        **{"database_url": database_url, "redis_url": redis_url, **OPEN, **overrides}
    )


@asynccontextmanager
async def deliverer(settings: Settings, sender: Sender | None = None) -> AsyncIterator[None]:
    """A deliverer in this process, for the time of the context; its defects are the test's."""
    stopping = asyncio.Event()
    task = asyncio.create_task(deliver(settings, stopping, sender=sender))
    try:
        yield
    finally:
        stopping.set()
        await task


@contextmanager
def deliver_process(
    tmp_path: Path, database_url: str, redis_url: str, **overrides: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`waymark deliver` as a process of its own; killed at the end."""
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": str(OPEN["secret_key"]),
        "WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
        "WEBHOOK_PORTS": "",
        "WEBHOOK_HTTP": "true",
        **overrides,
    }
    environment = {f"WAYMARK_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "waymark", "deliver"],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def admin_site(database_url: str, redis_url: str, **overrides: object) -> AsyncIterator[Site]:
    """An api with an admin's key, where webhooks may lead to loopback."""
    key = create_key(database_url, "default", "admin", "admin")
    async with api_site(database_url, redis_url, key=key, **{**OPEN, **overrides}) as site:
        yield site


async def hook(client: httpx.AsyncClient, url: str, **members: object) -> dict[str, Any]:
    """A webhook to this URL, as it was made."""
    answer = await client.post("/v1/webhooks", json={"url": url, **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def hook_of(client: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    """A webhook as it is told."""
    answer = await client.get(f"/v1/webhooks/{id_}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def deliveries(
    client: httpx.AsyncClient, id_: str, **params: str | int
) -> list[dict[str, Any]]:
    """The deliveries of a webhook, the newest first."""
    answer = await client.get(f"/v1/webhooks/{id_}/deliveries", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def eventually(
    ask: Callable[[], Awaitable[Any]], fits: Callable[[Any], object], what: str
) -> Any:  # noqa: ANN401 -- whatever is asked for
    """Ask again and again until the answer fits."""
    deadline = time.monotonic() + 20 * TIMEOUT_FACTOR
    while True:
        found = await ask()
        if fits(found):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain: {what}; last: {found}")
        await asyncio.sleep(0.05)
