"""A stand-in for the api as the live map sees it: the page, the REST calls it makes, the feed.

It keeps just enough to test the page alone: what a test tells it, it serves.
"""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.browser.fake_shipments import FakeShipments
from tests.browser.fake_sites import FakeSites

Json = dict[str, Any]

DIST = Path(__file__).parents[2] / "dashboards" / "map" / "dist"
KEY = "wmk_test"
# The strictest policy the page is known to work under, docs/map.md repeats it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; "
    "connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def position(device: str, lon: float, lat: float, **more: object) -> Json:
    now = float(str(more.pop("at_s", time.time())))
    return {
        "device": device,
        "fix_time": iso(now),
        "received_at": iso(now),
        "lon": lon,
        "lat": lat,
        "alt_m": None,
        "speed_mps": 11.0,
        "course_deg": None,
        "accuracy_m": 5.0,
        "battery": 0.81,
        "quality": "ok",
        "h3": None,
        "attrs": None,
        **more,
    }


class FakeWaymark:
    """The state behind the fake api. Used from the server's event loop; tests go through `say`."""

    def __init__(self) -> None:
        self.latest: dict[str, Json] = {}
        self.trails: dict[str, list[Json]] = {}
        self.events: list[Json] = []
        self.sites = FakeSites()
        self.shipping = FakeShipments(self.events, self.latest)
        self.subscriptions: list[Json] = []
        self.style_url: str | None = None
        self.closed_for = 0
        self.sockets: set[WebSocket] = set()
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    # What a test does, from its own thread.

    def say(self, frame: Json) -> None:
        """Send a frame to every page, as it is."""
        self._run(self._broadcast(frame))

    def move(self, *positions: Json) -> None:
        self._run(self._move(positions))

    def happen(self, kind: str, subject: str, **more: object) -> Json:
        event = self.make_event(kind, subject, **more)
        self.say({"id": "fleet", "type": "event", "cursor": event["cursor"], "event": event})
        return event

    def make_event(self, kind: str, subject: str, **more: object) -> Json:
        """An event, kept for those who ask by cursor."""
        cursor = len(self.events) + 1
        event = {
            "specversion": "1.0",
            "id": more.pop("id", f"e{cursor}"),
            "source": "/waymark/default",
            "type": kind,
            "subject": subject,
            "time": iso(float(str(more.pop("at_s", time.time())))),
            "datacontenttype": "application/json",
            "data": more.pop("data", {}),
            "tenant": "default",
            "recorded_at": iso(time.time()),
            "revision": 1,
            "status": "active",
            "late": False,
            "cursor": cursor,
            **more,
        }
        self.events.append(event)
        return event

    def let_preview_on(self, lines: int) -> None:
        """Let so many more lines of a held preview go."""
        self._run(self.sites.let_on(lines))

    def hang_up(self, code: int) -> None:
        self._run(self._hang_up(code))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    # What the server does, on its own loop.

    async def _broadcast(self, frame: Json) -> None:
        for page in list(self.sockets):
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await page.send_text(json.dumps(frame))

    async def _move(self, positions: tuple[Json, ...]) -> None:
        for each in positions:
            self.latest[each["device"]] = each
            self.trails.setdefault(each["device"], []).append(each)
        await self._broadcast({"id": "fleet", "type": "positions", "updates": list(positions)})

    async def _hang_up(self, code: int) -> None:
        for page in list(self.sockets):
            await page.close(code)

    async def feed(self, page: WebSocket) -> None:
        # A page that goes away in the middle of it is nothing to report.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._serve_page(page)

    async def _serve_page(self, page: WebSocket) -> None:
        await page.accept()
        if self.closed_for:
            self.closed_for -= 1
            return await page.close(1013)
        hello = await page.receive_json()
        if hello != {"op": "auth", "token": KEY}:
            return await page.close(4401, "this API key is unknown or was revoked")
        self.subscriptions.append(await page.receive_json())
        since = self.subscriptions[-1].get("since")
        snapshot = {"type": "snapshot", "cursor": len(self.events), "more": False}
        await page.send_json({"id": "fleet", **snapshot, "positions": [*self.latest.values()]})
        for event in self.events[since:] if since is not None else []:
            frame = {"type": "event", "cursor": event["cursor"], "event": event}
            await page.send_json({"id": "fleet", **frame})
        self.sockets.add(page)
        try:
            while True:
                await page.receive_text()
                await page.send_json({"type": "pong"})
        finally:
            self.sockets.discard(page)

    def _device(self, name: str) -> Json:
        return {
            "name": name,
            "online": None,
            "online_at": None,
            "silent_since": None,
            "heard_at": self.latest[name]["received_at"],
            "motion": "unknown",
            "odometer_m": 18_450.0,
            "position": self.latest[name],
            "attrs": {},
        }

    async def devices(self, _: Request) -> Response:
        return JSONResponse({"items": [self._device(n) for n in self.latest], "next": None})

    async def device(self, request: Request) -> Response:
        return JSONResponse(self._device(request.path_params["name"]))

    async def positions(self, request: Request) -> Response:
        assert request.query_params["format"] == "geojson"
        fixes = self.trails.get(request.path_params["name"], [])
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [fix["lon"], fix["lat"]]},
                "properties": {"fix_time": fix["fix_time"], "quality": fix["quality"]},
            }
            for fix in fixes
            if fix["fix_time"] >= request.query_params["from"]
        ]
        return JSONResponse({"type": "FeatureCollection", "features": features, "next": None})

    async def event_list(self, request: Request) -> Response:
        fence = request.query_params.get("fence")
        found = [event for event in self.events if fence in {None, event["data"].get("fence")}]
        return JSONResponse({"items": found[::-1], "next": None})

    async def map_config(self, _: Request) -> Response:
        return JSONResponse({"style_url": self.style_url})

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        yield

    def app(self, dist: Path) -> ASGIApp:
        routes = [
            WebSocketRoute("/v1/feed", self.feed),
            Route("/v1/devices", self.devices),
            Route("/v1/devices/{name}", self.device),
            Route("/v1/devices/{name}/positions", self.positions),
            Route("/v1/events", self.event_list),
            Route("/v1/map/config", self.map_config),
            *self.sites.routes(),
            *self.shipping.routes(),
            Mount("/", StaticFiles(directory=dist, html=True)),
        ]
        return guarded(Starlette(routes=routes, lifespan=self._lifespan))

    @contextlib.contextmanager
    def serving(self, dist: Path = DIST, port: int = 0) -> Iterator["FakeWaymark"]:
        """Serve on loopback for the time of the context; `url` says where."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            # Whoever connects before the server's loop turns waits, and is not refused.
            listener.listen()
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            config = uvicorn.Config(self.app(dist), ws="websockets-sansio", log_level="warning")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],), name="fake-waymark")
            thread.start()
            try:
                yield self
            finally:
                server.should_exit = True
                thread.join(timeout=10)


def guarded(app: ASGIApp) -> ASGIApp:
    """The policy on every answer, and 401 for a REST call without the key in its header."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(b"content-security-policy", POLICY.encode())]
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            given = dict(scope["headers"]).get(b"authorization")
            if given != f"Bearer {KEY}".encode():
                refusal = JSONResponse({"title": "Unauthorized", "detail": "no such key"}, 401)
                return await refusal(scope, receive, send)
        return await app(scope, receive, send_with_policy)

    return call
