"""What fences cost the whole ingest path, in one run, tenant by tenant.

Three fleets drive the same roads: one without any fence, one inside a region and past 23,000
circles that it never touches, one through 23,000 circles so that every single fix enters or
leaves one. Tile38's users report a fifth of the throughput for 23,000 circles.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator

import psycopg
import shapely

from geofence.shapes import Kind, Shape
from tests.benchmarks.ingest import Bench, Fleet
from tests.benchmarks.result import Goal, Result, Row, spread
from tests.benchmarks.stack import running_stack, running_worker
from tracking.fences import FenceDraft
from tracking.store.connection import connect
from tracking.store.fence_edits import save_fences

_DEVICES = 10_000
# A fix each 33 s and 0.01 degrees of longitude, 36 m/s at the equator, there and back again; see
# `packets`. The devices start 0.4 degrees from each other.
_STEP_US, _STEP_DEG = 33_333_334, 0.01
_PLACES, _APART_DEG = 100, 0.4
_CIRCLES = 23_000
_RADIUS_M = 400.0
TENANTS = ("open", "calm", "busy")


def run(*, quick: bool) -> Result:
    """The three fleets in turn, flat out."""
    seconds, repeats = (2.0, 1) if quick else (5.0, 3)
    result = Result(
        "fences",
        "the whole ingest path among fences, one worker",
        {"seconds": seconds, "repeats": repeats, "devices": _DEVICES, "circles": _CIRCLES},
    )
    figures: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in TENANTS}
    with running_stack() as stack:
        with psycopg.connect(stack.database_url) as conn:
            for tenant in TENANTS:
                conn.execute("INSERT INTO tenant (name) VALUES (%s)", (tenant,))
        asyncio.run(_draw(stack.database_url))
        with running_worker(stack) as worker:
            bench = Bench(stack, worker)
            fleets = {
                name: Fleet(
                    f"f{name}",
                    _DEVICES,
                    step_us=_STEP_US,
                    tenant=name,
                    wrap_microdegrees=round(2e6 * _STEP_DEG),
                )
                for name in TENANTS
            }
            for fleet in fleets.values():
                bench.warm(fleet)
            for _ in range(repeats):
                for name, fleet in fleets.items():
                    before = _events(stack.database_url, name)
                    for figure, value in bench.flat_out(fleet, seconds).items():
                        figures[name][figure].append(value)
                    told = _events(stack.database_url, name) - before
                    figures[name]["events_per_msg"].append(told / figures[name]["msgs"][-1])
    cases = {
        "open": "no fences",
        "calm": "23,001 fences, no fix changes anything",
        "busy": "23,000 fences, every fix enters or leaves",
    }
    for name in TENANTS:
        result.rows.append(Row(cases[name], "waymark", spread(figures[name])))
    free, calm, busy = (spread(figures[name]) for name in TENANTS)
    for name, among in (("calm", calm), ("busy", busy)):
        result.ratios[f"messages/s, {name} over none"] = among["msgs_per_s"] / free["msgs_per_s"]
        result.ratios[f"CPU per message, {name} over none"] = among["total_us"] / free["total_us"]
    result.goals = [
        Goal("throughput kept, nothing changes", calm["msgs_per_s"] / free["msgs_per_s"], 0.9),
        Goal("throughput kept, everything changes", busy["msgs_per_s"] / free["msgs_per_s"], 0.6),
        Goal("messages lost", free["lost"] + calm["lost"] + busy["lost"], 0, at_most=True),
    ]
    return result


async def _draw(database_url: str) -> None:
    conn = await connect(database_url, name="bench-fences")
    for tenant, circles in (("calm", _circles(beside_deg=0.01)), ("busy", _circles())):
        cursor = await conn.execute("SELECT id FROM tenant WHERE name = %s", (tenant,))
        row = await cursor.fetchone()
        assert row is not None
        drafts = [*circles, _region()] if tenant == "calm" else [*circles]
        # The fleets' clocks start half a day ago.
        day_ago_us = int(time.time() * 1e6) - 86_400_000_000
        await save_fences(conn, row[0], drafts, author="bench", effective_from_us=day_ago_us)
    await conn.close()


def _circles(*, beside_deg: float = 0.0) -> Iterator[FenceDraft]:
    """A circle where each device of the fleet is with every second fix, or beside that; and as
    many more where nobody comes.
    """  # noqa: D205 -- one contract
    for i in range(_CIRCLES):
        column, row = i % _PLACES, i // _PLACES % _PLACES
        nowhere_deg = _APART_DEG / 3 * (i // _DEVICES)
        lon = round(10.0 + _APART_DEG * column + _STEP_DEG, 6)
        lat = round(10.0 + _APART_DEG * row + beside_deg + nowhere_deg, 6)
        document = {"type": "Circle", "center": [lon, lat], "radius_m": _RADIUS_M}
        yield FenceDraft(
            id=f"c{i:05d}",
            name=f"Circle {i}",
            shape=Shape(Kind.CIRCLE, shapely.Point(lon, lat), _RADIUS_M),
            document=json.dumps(document).encode(),
        )


def _region() -> FenceDraft:
    box = shapely.box(5.0, 5.0, 75.0, 75.0)
    document = shapely.to_geojson(box).encode()
    return FenceDraft("region", "Region", Shape(Kind.POLYGON, box), document)


def _events(database_url: str, tenant: str) -> int:
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM event e JOIN tenant t ON t.id = e.tenant_id "
            "WHERE t.name = %s AND e.type LIKE 'fence.%%'",
            (tenant,),
        ).fetchone()
    return int(row[0]) if row else 0
