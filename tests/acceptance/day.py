"""A day of two lorries, a pallet between them and a parcel on it: what is planned, driven and said.

Lorry A comes from its yard, takes the pallet in Utrecht, meets a jam, a wrong turn and a tunnel,
and hands the pallet on in Barneveld. Lorry B, whose tracker breaks and is swapped on the way,
brings it to Zwolle. `firmware-sim journey` drives, and `firmware-sim truth` says when what was so.
"""

import json
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.office import truth_of
from tracking.times import iso, to_us

LonLat = tuple[float, float]

START = datetime(2026, 3, 9, 5, tzinfo=UTC)
INTERVAL_S, NOISE_M = 12, 6
YARD_A, YARD_B = (4.98, 52.02), (5.42, 52.18)
PICKUP, DOCK, REST, SHOP = (5.10, 52.06), (5.55, 52.26), (5.84, 52.39), (6.08, 52.52)
RADIUS_M = 150
# It stays a little longer in Utrecht, much longer in Barneveld, and shorter in Zwolle.
FREE_S = 1_600
# What people and RFID readers say, in seconds since the start.
LOADED_S, HANDED_ON_S = 2_700, 10_800
LEFT_PICKUP_S, B_LEFT_DOCK_S = 3_600, 12_600


def bent(start: LonLat, end: LonLat, bow: float) -> list[LonLat]:
    """A road: a bow to one side, with a bend of a few degrees each 500 m or so."""
    (x0, y0), (x1, y1) = start, end
    x, y = (x0 + x1) / 2 - (y1 - y0) * bow, (y0 + y1) / 2 + (x1 - x0) * bow
    n = 80
    places = []
    for k in range(n + 1):
        u = k / n
        a, b, c = (1 - u) ** 2, 2 * u * (1 - u), u * u
        places.append((round(a * x0 + b * x + c * x1, 6), round(a * y0 + b * y + c * y1, 6)))
    return places


TO_DOCK, TO_REST, TO_SHOP = bent(PICKUP, DOCK, 0.1), bent(DOCK, REST, -0.08), bent(REST, SHOP, 0.08)
# From the dock to the shop, and all the way.
ROAD = [*TO_REST, *TO_SHOP[1:]]
LINE = [*TO_DOCK, *ROAD[1:]]
WRONG_WAY = (5.285, 52.152)

LORRY_A = {
    "vehicle": "truck-a", "device": "gps-a", "at": YARD_A,
    "acts": [
        {"stay_s": 1_200},
        {"drive": bent(YARD_A, PICKUP, 0.1), "kmh": 50},
        {"until_s": LEFT_PICKUP_S},
        {
            "drive": TO_DOCK, "kmh": 80,
            "jams": [{"from_m": 4_000, "to_m": 7_000, "kmh": 9}],
            "wrong_turns": [{"at_m": 16_000, "by": [WRONG_WAY], "back_m": 16_200}],
            "tunnels": [{"from_m": 22_000, "to_m": 29_000}],
        },
        {"until_s": 11_700},
        {"drive": bent(DOCK, YARD_B, 0.1), "kmh": 70},
        {"stay_s": 1_800},
    ],
}  # fmt: skip
LORRY_B = {
    "vehicle": "truck-b", "device": "gps-b", "at": YARD_B,
    "acts": [
        {"until_s": 9_000},
        {"drive": bent(YARD_B, DOCK, -0.1), "kmh": 70},
        {"until_s": B_LEFT_DOCK_S},
        {"drive": TO_REST, "kmh": 80, "breaks_at_m": 17_000},
        {"stay_s": 240},
        {"device": "gps-c"},
        {"stay_s": 360},
        {"drive": TO_SHOP, "kmh": 80},
        {"stay_s": 1_500},
        {"drive": bent(SHOP, (6.20, 52.56), 0.1), "kmh": 60},
    ],
}  # fmt: skip


class Span(NamedTuple):
    """When something was truly so."""

    start: datetime
    end: datetime


class Day:
    """The day as a file, what truly happens in it, and what is said of it through the api."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "day.json"
        self.file.write_text(json.dumps({"vehicles": [LORRY_A, LORRY_B]}))
        self.options = [
            str(self.file), "--start", START.isoformat(), "--interval", str(INTERVAL_S),
            "--jitter", str(NOISE_M),
        ]  # fmt: skip

    @cached_property
    def _truth(self) -> list[dict[str, Any]]:
        return truth_of(self.options)

    def truly(self, vehicle: str, act: str) -> list[Span]:
        """When a vehicle truly did something, in order."""
        return [
            Span(datetime.fromisoformat(one["from"]), datetime.fromisoformat(one["to"]))
            for one in self._truth
            if (one["vehicle"], one["act"]) == (vehicle, act)
        ]

    @property
    def swapped_at(self) -> datetime:
        """When lorry B got another tracker."""
        [swap] = self.truly("truck-b", "swap")
        return swap.start

    @property
    def end(self) -> datetime:
        """When nothing moves any more."""
        return max(span.end for span in self.truly("truck-b", "drive"))

    def stood(self) -> list[Span]:
        """When the lorry that had the parcel stood at each of its stops."""
        a, b = self.truly("truck-a", "stay"), self.truly("truck-b", "stay")
        return [a[1], Span(a[2].start, b[1].end), b[-1]]

    def plan(self) -> dict[str, Any]:
        """The shipment as ordered: the jam will make it late."""
        stops = [
            {"kind": kind, "name": name, "place": place(where), "service_s": service_s,
             "free_time_s": FREE_S}
            for kind, name, where, service_s in (
                ("pickup", "Utrecht", PICKUP, 1_800),
                ("via", "Barneveld", DOCK, 3_600),
                ("delivery", "Zwolle", SHOP, 1_200),
            )
        ]  # fmt: skip
        due = self.stood()[-1].start - timedelta(minutes=10)
        stops[-1]["window"] = {"from": iso_of(START), "to": iso_of(due)}
        route = {"line": {"type": "LineString", "coordinates": LINE}}
        return {"id": "parcel-1", "order_ref": "order-1", "stops": stops, "route": route}

    def said(self) -> list[tuple[datetime, str, dict[str, Any]]]:
        """Who was on what from when until when, and which device's fix first makes it past."""
        loaded, handed_on = at(LOADED_S), at(HANDED_ON_S)
        return [
            (START, "gps-a", attachment("device/gps-a", "asset/truck-a", START)),
            (START, "gps-b", attachment("device/gps-b", "asset/truck-b", START, self.swapped_at)),
            (START, "gps-a", attachment("shipment/parcel-1", "asset/truck-a", START, loaded)),
            (loaded, "gps-a", attachment("shipment/parcel-1", "asset/pallet-1", loaded)),
            (loaded, "gps-a", attachment("asset/pallet-1", "asset/truck-a", loaded, handed_on)),
            (handed_on, "gps-b", attachment("asset/pallet-1", "asset/truck-b", handed_on)),
            (self.swapped_at, "gps-c",
             attachment("device/gps-c", "asset/truck-b", self.swapped_at)),
        ]  # fmt: skip


def at(second: float) -> datetime:
    """So long after the day's start."""
    return START + timedelta(seconds=second)


def place(where: LonLat) -> dict[str, float]:
    return {"lon": where[0], "lat": where[1], "radius_m": RADIUS_M}


def iso_of(moment: datetime) -> str:
    return iso(to_us(moment))


def attachment(
    load: str, carrier: str, start: datetime, end: datetime | None = None
) -> dict[str, Any]:
    """What the api is told: a load and a carrier as kind/id."""
    ends = {}
    for name, end_ in (("load", load), ("carrier", carrier)):
        kind, _, id_ = end_.partition("/")
        ends[name] = {"kind": kind, "id": id_}
    times = {"from": iso_of(start)} | ({} if end is None else {"to": iso_of(end)})
    return ends | times
