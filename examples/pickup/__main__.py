"""Take requests and webhooks, and do what follows of them: `python -m examples.pickup`."""

import asyncio
import secrets
from datetime import datetime
from typing import Any

from aiohttp import web

from examples.pickup.counter import Counter, Errand
from examples.program import arguments, client, required, run, show
from waymark.client import (
    AsyncWaymark,
    Conflict,
    NotFound,
    Refused,
    webhooks,
)


class Service:
    """Answers at once, and works in a task of its own."""

    def __init__(self, waymark: AsyncWaymark, counter: Counter, secret: str) -> None:
        self._waymark = waymark
        self._counter = counter
        self._secret = secret
        self._news = asyncio.Event()

    async def ask(self, request: web.Request) -> web.Response:
        """POST /pickups: a body as that of Waymark's; the same `id` again is the same pickup."""
        try:
            body = await request.json()
            id_ = str(body.get("id") or secrets.token_hex(8))
        except (ValueError, AttributeError):
            return web.Response(status=400, text="send a pickup as a JSON object")
        self._counter.ask(id_, body)
        self._news.set()
        return web.json_response({"id": id_}, status=202)

    async def hear(self, request: web.Request) -> web.Response:
        """POST /waymark: an event. Answered when it is written down, and not before."""
        try:
            event = webhooks.verify(request.headers, await request.read(), self._secret)
        except webhooks.NotVerified as exc:
            return web.Response(status=401, text=str(exc))
        self._counter.hear(event)
        self._news.set()
        return web.Response(status=204)

    async def tell(self, _: web.Request) -> web.Response:
        """GET /pickups: what the service knows."""
        return web.json_response(self._counter.truth())

    async def work(self) -> None:
        """Do what is to be done, for ever."""
        while True:
            self._news.clear()
            await self._round()
            await self._news.wait()

    async def _round(self) -> None:
        for id_, body in self._counter.asked():
            self._counter.made(id_, await self._make(id_, body))
        for errand in self._counter.due():
            self._counter.ran(errand, await self._run(errand))
        for id_, hint in self._counter.unread():
            self._counter.read(await self._waymark.pickups.get(id_), hint)

    async def _make(self, id_: str, body: dict[str, Any]) -> str:
        """Make a pickup, and say what came of it: `made`, or why it was refused."""
        try:
            await self._waymark.pickups.create(body, idempotency_key=f"pickup-{id_}")
        except Refused as exc:
            return exc.detail
        except Conflict as exc:
            # Perhaps it is ours, made before an answer was lost: what is there tells.
            try:
                await self._waymark.pickups.get(id_)
            except NotFound:
                return exc.detail
        return "made"

    async def _run(self, errand: Errand) -> str:
        """Plan a pickup anew, and say what came of it: `done`, or why it could not be."""
        window = {"from": errand.planned, "to": errand.until}
        try:
            await self._waymark.pickups.reschedule(
                errand.pickup, window, idempotency_key=errand.attempt
            )
        except Conflict as exc:
            # It was picked up or called off after all; or, again, an answer was lost.
            told = await self._waymark.pickups.get(errand.pickup)
            if told.planned_from != datetime.fromisoformat(errand.planned):
                return exc.detail
        return "done"


async def serve(service: Service, port: int) -> None:
    """Listen and work, for ever."""
    app = web.Application()
    app.add_routes(
        [
            web.post("/pickups", service.ask),
            web.get("/pickups", service.tell),
            web.post("/waymark", service.hear),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await service.work()
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the service, or show what it knows."""
    parser = arguments("pickup", "Asks for pickups, and plans those anew that were tried in vain.")
    parser.add_argument("--port", type=int, default=8090, help="where it listens (8090)")
    given = parser.parse_args()
    with Counter(given.db) as counter:
        if given.show:
            show(counter.truth())
            return
        secret = required("WEBHOOK_SECRET")

        async def listen() -> None:
            async with client(given.url) as waymark:
                await serve(Service(waymark, counter, secret), given.port)

        run(listen)


if __name__ == "__main__":
    main()
