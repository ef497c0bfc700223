"""The part of the stand-in server that fences and alerts are asked of.

It checks little: it refuses what a test tells it to, and remembers what it was sent.
"""

import json
from asyncio import Semaphore
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

_PROBLEM = "application/problem+json"


def problem(status: int, detail: str, field: str | None = None, **more: object) -> Response:
    body = {"title": "No", "status": status, "detail": detail, "field": field, **more}
    return JSONResponse(body, status, media_type=_PROBLEM)


def bounds(shape: Json) -> tuple[float, float, float, float]:
    """West, south, east, north, roughly; cells are everywhere."""
    if shape["type"] == "Circle":
        lon, lat = shape["center"]
        reach = shape["radius_m"] / 50_000
        return lon - reach, lat - reach, lon + reach, lat + reach
    if shape["type"] == "Cells":
        return -180.0, -90.0, 180.0, 90.0
    places = shape["coordinates"]
    while isinstance(places[0][0], list):
        places = [place for part in places for place in part]
    lons, lats = [place[0] for place in places], [place[1] for place in places]
    return min(lons), min(lats), max(lons), max(lats)


class FakeSites:
    """Fences, visits, previews and alerts, as a test puts them here."""

    def __init__(self) -> None:
        self.fences: dict[str, Json] = {}
        self.visits: list[Json] = []
        self.alerts: dict[str, Json] = {}
        self.preview: list[Json] = []
        self._preview_gate: Semaphore | None = None
        # What every write is answered instead of being done.
        self.refusal: Response | None = None
        # What was sent, in order: method, path, body, If-Match.
        self.writes: list[tuple[str, str, Any, str | None]] = []
        self.fence_queries: list[tuple[float, ...]] = []

    def add_fence(self, id_: str, shape: Json, **more: object) -> Json:
        fence = {
            "name": id_.title(),
            "version": 1,
            "shape": shape,
            "layer": None,
            "buffers": {},
            "dwell_s": None,
            "speed_limit_mps": None,
            "schedule": None,
            "applies_to": {},
            "normal": "outside",
            "crossed": True,
            "attrs": {},
            "deleted_at": None,
            "notes": [],
            **more,
            "id": id_,
        }
        self.fences[id_] = fence
        return fence

    def add_alert(self, id_: str, device: str, **more: object) -> Json:
        alert = {
            "id": id_,
            "rule": "night-moves",
            "severity": "warning",
            "state": "open",
            "device": device,
            "fence": None,
            "opened_at": "2026-11-24T12:00:00Z",
            "event": {"id": "e1", "type": "motion.started", "time": "2026-11-24T12:00:00Z"},
            **more,
        }
        self.alerts[id_] = alert
        return alert

    def hold_preview(self, after: int) -> None:
        """Make the lines of a preview wait after the first ones."""
        self._preview_gate = Semaphore(after)

    async def let_on(self, lines: int) -> None:
        assert self._preview_gate is not None
        for _ in range(lines):
            self._preview_gate.release()

    async def _note(self, request: Request) -> Json:
        raw = await request.body()
        body = json.loads(raw) if raw else None
        path = request.url.path.removeprefix("/v1")
        self.writes.append((request.method, path, body, request.headers.get("if-match")))
        return body or {}

    async def list_fences(self, request: Request) -> Response:
        west, south, east, north = map(float, request.query_params["bbox"].split(","))
        self.fence_queries.append((west, south, east, north))
        found = []
        for fence in self.fences.values():
            w, s, e, n = bounds(fence["shape"])
            if w <= east and e >= west and s <= north and n >= south:
                found.append(fence)
        first = int(request.query_params.get("cursor", 0))
        limit = int(request.query_params["limit"])
        more = str(first + limit) if len(found) > first + limit else None
        return JSONResponse({"items": found[first : first + limit], "next": more})

    async def get_fence(self, request: Request) -> Response:
        found = self.fences.get(request.path_params["id"])
        return problem(404, "there is no such fence") if found is None else JSONResponse(found)

    async def create_fence(self, request: Request) -> Response:
        body = await self._note(request)
        if self.refusal is not None:
            return self.refusal
        made = {"id_": body.get("id", f"made-{len(self.writes)}"), **body}
        return JSONResponse(self.add_fence(**made), 201)

    async def change_fence(self, request: Request) -> Response:
        body = await self._note(request)
        if self.refusal is not None:
            return self.refusal
        id_ = request.path_params["id"]
        version = self.fences[id_]["version"] + 1
        return JSONResponse(self.add_fence(id_, version=version, **body))

    async def delete_fence(self, request: Request) -> Response:
        await self._note(request)
        if self.refusal is not None:
            return self.refusal
        del self.fences[request.path_params["id"]]
        return Response(status_code=204)

    async def preview_fence(self, request: Request) -> Response:
        await self._note(request)
        if self.refusal is not None:
            return self.refusal

        async def lines() -> AsyncIterator[str]:
            for line in self.preview:
                if self._preview_gate is not None:
                    await self._preview_gate.acquire()
                yield json.dumps(line) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def list_visits(self, request: Request) -> Response:
        fence = request.query_params["fence"]
        assert request.query_params["open"] == "true"
        items = [visit for visit in self.visits if visit["fence"] == fence]
        return JSONResponse({"items": items, "next": None})

    async def list_alerts(self, request: Request) -> Response:
        states = request.query_params.getlist("state")
        items = [alert for alert in self.alerts.values() if alert["state"] in states]
        limit = int(request.query_params["limit"])
        return JSONResponse({"items": items[:limit], "next": None})

    async def act_on_alert(self, request: Request) -> Response:
        await self._note(request)
        if self.refusal is not None:
            return self.refusal
        states = {"acknowledge": "acknowledged", "snooze": "snoozed", "resolve": "resolved"}
        alert = self.alerts[request.path_params["id"]]
        alert["state"] = states[request.path_params["verb"]]
        return JSONResponse(alert)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/fences", self.list_fences),
            Route("/v1/fences", self.create_fence, methods=["POST"]),
            Route("/v1/fences/preview", self.preview_fence, methods=["POST"]),
            Route("/v1/fences/{id}", self.get_fence),
            Route("/v1/fences/{id}", self.change_fence, methods=["PUT"]),
            Route("/v1/fences/{id}", self.delete_fence, methods=["DELETE"]),
            Route("/v1/visits", self.list_visits),
            Route("/v1/alerts", self.list_alerts),
            Route("/v1/alerts/{id}/{verb}", self.act_on_alert, methods=["POST"]),
        ]
