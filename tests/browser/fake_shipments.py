"""The part of the stand-in server that shipments are asked of.

It tells what a test puts here, filtered as the api does it, and remembers what it was asked.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.browser.fake_sites import problem

Json = dict[str, Any]


def times(
    planned: str | None = None, estimated: str | None = None, actual: str | None = None
) -> Json:
    return {"planned": planned, "estimated": estimated, "actual": actual}


def stop(name: str, lon: float, lat: float, **more: object) -> Json:
    return {
        "kind": "delivery",
        "name": name,
        "place": {"lon": lon, "lat": lat, "radius_m": 150.0, "address": None},
        "fence": None,
        "time_zone": "UTC",
        "arrive": times(),
        "depart": times(),
        "planned_until": None,
        "done": False,
        "delayed": False,
        **more,
    }


def eta(stop: int, early: str, arrive: str, late: str, **more: object) -> Json:
    """What is expected of one stop."""
    told = {"stop": stop, "early": early, "arrive": arrive, "late": late}
    return {"state": "expected", "as_of": early, "stops": [told], "at_risk": [], **_SILENT, **more}


_SILENT: Json = {"told_at": None, "because": None, "remaining_m": None}
_UNKNOWN: Json = {"state": "unknown", "as_of": None, "stops": [], "at_risk": [], **_SILENT}


class FakeShipments:
    """Shipments and how often each was read."""

    def __init__(self, events: list[Json], latest: dict[str, Json]) -> None:
        self.shipments: dict[str, Json] = {}
        self.carriers: dict[str, str] = {}
        self.lists: list[dict[str, list[str]]] = []
        self.reads: list[str] = []
        self._events, self._latest = events, latest

    def add(
        self, id_: str, stops: list[Json], *, carrier: str | None = None, **more: object
    ) -> Json:
        made = {
            "id": id_,
            "order_ref": None,
            "status": "in_transit",
            "since": "2026-11-28T08:00:00Z",
            "exceptions": [],
            "at_stop": None,
            "next_stop": len(stops) - 1,
            "stops": stops,
            "version": 1,
            "route": None,
            "eta": _UNKNOWN,
            **more,
        }
        self.shipments[id_] = made
        if carrier is not None:
            self.carriers[id_] = carrier
        return made

    def change(self, id_: str, **more: object) -> None:
        self.shipments[id_] |= more

    def _seen(self, id_: str) -> Json:
        device = self.carriers.get(id_)
        by: Json | None = (
            None if device is None else {"device": device, "via": [], "from": "", "to": None}
        )
        position = None if device is None else self._latest.get(device)
        return {"position": position, "age_s": 1.0, "stale": position is None, "carried_by": by}

    async def list_shipments(self, request: Request) -> Response:
        asked = request.query_params
        self.lists.append({name: asked.getlist(name) for name in asked if name != "fields"})
        found = [
            one
            for one in reversed(self.shipments.values())
            if one["status"] in (asked.getlist("status") or [one["status"]])
            and one["id"].startswith(asked.get("id", ""))
            and asked.get("order") in {None, one["order_ref"]}
            and asked.get("device") in {None, self.carriers.get(one["id"])}
            and ("exception" not in asked or {*asked.getlist("exception")} & {*one["exceptions"]})
        ]
        limit = int(asked["limit"])
        more = "more" if len(found) > limit else None
        return JSONResponse({"items": found[:limit], "next": more})

    async def get_shipment(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        if id_ not in self.shipments:
            return problem(404, "there is no such shipment")
        self.reads.append(id_)
        return JSONResponse(self.shipments[id_] | {"last_seen": self._seen(id_)})

    async def list_events(self, request: Request) -> Response:
        assert request.query_params["order"] == "desc"
        subject = f"shipment/{request.path_params['id']}"
        found = [event for event in self._events if event["subject"] == subject]
        return JSONResponse({"items": found[::-1], "next": None})

    def routes(self) -> list[Route]:
        return [
            Route("/v1/shipments", self.list_shipments),
            Route("/v1/shipments/{id}", self.get_shipment),
            Route("/v1/shipments/{id}/events", self.list_events),
        ]
