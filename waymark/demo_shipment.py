"""The demonstration's shipment: planned on what the simulator says its first vehicle will do.

Everything else about it is found out by the system, as with any other.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from waymark.client import Conflict, Waymark

VEHICLE = "vehicle-00001"
# As far as the simulator is asked; a vehicle stops every five minutes or so.
PLANNED_S = 1_800
# One pickup, and so many deliveries at most.
_STOPS = 4
_SAMPLED_S = 5
_EARLY, _LATE = timedelta(minutes=1), timedelta(minutes=3)


class Fix(NamedTuple):
    """Where the vehicle will be, and whether it will be parked there."""

    at_s: float
    lon: float
    lat: float
    parked: bool


class Sent(NamedTuple):
    """A shipment that is under way, and the page that shows it to who waits for it."""

    id: str
    order_ref: str
    page: str


def read_fixes(lines: Iterable[str]) -> Iterator[Fix]:
    """What `firmware-sim plan` tells of one vehicle."""
    for line in lines:
        planned = json.loads(line)
        said = json.loads(planned["payload"])
        parked = not said["attrs"]["ignition"]
        yield Fix(planned["at_ms"] / 1_000, said["lon"], said["lat"], parked)


def planned(fixes: Sequence[Fix], start: datetime) -> dict[str, Any] | None:
    """A shipment from the vehicle's first stay by way of the next ones; None where it has no two.

    `start` is when the simulation begins.
    """
    stays = [list(stay) for parked, stay in groupby(fixes, lambda fix: fix.parked) if parked]
    stays = stays[:_STOPS]
    if len(stays) < 2:
        return None
    left_s, end_s = stays[0][-1].at_s, stays[-1][0].at_s
    way = [fix for fix in fixes if left_s <= fix.at_s <= end_s][::_SAMPLED_S]
    coordinates = [[fix.lon, fix.lat] for fix in (*way, stays[-1][0])]
    id_ = f"demo-{start:%Y%m%d-%H%M%S}"
    return {
        "id": id_,
        "order_ref": f"order-{id_}",
        "arriving_m": 300,
        "stops": [
            {
                "kind": "delivery" if number else "pickup",
                "place": {"lon": stay[0].lon, "lat": stay[0].lat, "radius_m": 60},
                "service_s": round(stay[-1].at_s - stay[0].at_s),
                "window": _window(start + timedelta(seconds=stay[0].at_s)),
            }
            for number, stay in enumerate(stays)
        ],
        "route": {"line": {"type": "LineString", "coordinates": coordinates}},
    }


def _window(arrival: datetime) -> dict[str, str]:
    return {
        "from": (arrival - _EARLY).isoformat(),
        "to": (arrival + _LATE).isoformat(),
        "time_zone": "Europe/Berlin",
    }


def send(url: str, key: str, plan: dict[str, Any], start: datetime) -> Sent:
    """Plan a shipment, put it on the vehicle for as long as it can take, and share it.

    Raises:
        WaymarkError: of the client; the api does not take it.
    """
    with Waymark(url, key=key) as waymark:
        # It is there from earlier demonstrations, if any.
        with suppress(Conflict):
            waymark.devices.register({"name": VEHICLE})
        waymark.shipments.create(plan)
        waymark.attachments.attach(
            ("shipment", plan["id"]),
            ("device", VEHICLE),
            start=start,
            end=start + timedelta(seconds=2 * PLANNED_S),
        )
        link = waymark.shipments.share(plan["id"], stops_away=_STOPS)
    return Sent(plan["id"], plan["order_ref"], url + link.path)
