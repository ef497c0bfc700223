"""How much faster than life a preview is: 1,000 devices, a fix each 10 s, over a day.

Beside it the pure fold of a few of the same devices among the same fences, read as repairs read.
"""

import asyncio
import json
import time
from collections.abc import Sequence

import psycopg

from tests.benchmarks.processes import cpu_s
from tests.benchmarks.result import Goal, Result, Row
from tests.benchmarks.stack import running_stack
from tracking.fence_input import read_fence
from tracking.fences import FenceDraft
from tracking.fold import DeviceState, Rules
from tracking.fold.refold import Refold
from tracking.fold.terrain import Who
from tracking.preview import Preview, Question, Summary
from tracking.store.connection import Connection, connect
from tracking.store.preview_reads import FIRST_SEQ
from tracking.store.readings import history

_DEVICES, _EVERY_S = 1_000, 10
_DAY_US = 1_772_323_200_000_000  # 2026-03-01
_PEERS = 10
# A device drives 14 km to the east and back at 11 m/s, with 2 m of scatter; a hundred roads.
_FILL = """
INSERT INTO position (device_id, fix_time, seq, tenant_id, received_at, lon, lat, speed_mps,
    accuracy_m, quality, h3, content)
SELECT d.id, '2026-03-01Z'::timestamptz + make_interval(secs => s * %(every)s + d.id %% 10), -1,
    1, now(), 4.9 + 0.2 * abs(((s + d.id * 37) %% 250) / 125.0 - 1) + 0.00004 * random(),
    52.3 + (d.id %% 100) * 0.002 + 0.00004 * random(), 11, 5, 0, 0, 0
FROM generate_series(0, %(fixes)s - 1) s, device d
"""


def run(*, quick: bool) -> Result:
    """One depot, a hundred stops, and a zone in which every device spends much of its day."""
    # Not repeated: a day is long enough to be its own average.
    hours = 3 if quick else 24
    result = Result(
        "preview",
        "fences over past history, one process and its PostgreSQL",
        {"devices": _DEVICES, "every_s": _EVERY_S, "hours": hours},
    )
    with running_stack() as stack:
        _fill(stack.database_url, hours)
        for case, drafts in _cases().items():
            figures = asyncio.run(_measure(stack.database_url, drafts, hours))
            peer = asyncio.run(_pure(stack.database_url, drafts, hours))
            result.rows.append(Row(case, "waymark", figures))
            result.rows.append(Row(f"pure fold: {case}", "peer", peer))
            result.ratios[f"over the pure fold, {case}"] = (
                figures["scanned_per_s"] / peer["scanned_per_s"]
            )
            result.goals.append(Goal(f"times real time, {case}", figures["times_real"], 50))
    return result


def _cases() -> dict[str, list[FenceDraft]]:
    ring = [[4.95, 52.3], [5.05, 52.3], [5.05, 52.5], [4.95, 52.5], [4.95, 52.3]]
    stops = [_draft(f"stop-{i}", _circle(5.0, 52.3 + i * 0.002, 80)) for i in range(100)]
    return {
        "one depot": [_draft("depot", _circle(5.0, 52.4, 300))],
        "100 stops": stops,
        "a zone, dwelling": [
            _draft("zone", {"type": "Polygon", "coordinates": [ring]}, dwell_s=600)
        ],
    }


def _circle(lon: float, lat: float, radius_m: float) -> dict[str, object]:
    return {"type": "Circle", "center": [lon, lat], "radius_m": radius_m}


def _draft(id_: str, shape: dict[str, object], **members: object) -> FenceDraft:
    return read_fence(json.dumps({"id": id_, "shape": shape, **members}).encode())


def _fill(database_url: str, hours: int) -> None:
    """History as the pipeline leaves it, except for checkpoints: all of it must be folded."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT series_attach_day('position', '2026-03-01')")
        conn.execute(
            "INSERT INTO device (tenant_id, name) SELECT 1, 'v' || i FROM generate_series(1, %s) i",
            (_DEVICES,),
        )
        conn.execute(_FILL, {"every": _EVERY_S, "fixes": hours * 3_600 // _EVERY_S})
        conn.execute(
            "INSERT INTO device_state (device_id, tenant_id, fix_time) "
            "SELECT id, 1, '2026-03-01Z'::timestamptz + make_interval(hours => %s) FROM device",
            (hours,),
        )
        conn.execute("VACUUM ANALYZE position")


async def _measure(database_url: str, drafts: Sequence[FenceDraft], hours: int) -> dict[str, float]:
    conn = await connect(database_url, name="bench-preview")
    window_s = hours * 3_600
    question = Question("default", 1, drafts, _DAY_US, _DAY_US + window_s * 1_000_000)
    backend = conn.info.backend_pid
    client_s, server_s, started_s = time.process_time(), cpu_s(backend), time.monotonic()
    summary: Summary | None = None
    async for item in (await Preview.prepare(conn, question, Rules())).run():
        if isinstance(item, Summary):
            summary = item
    assert summary is not None
    seconds = time.monotonic() - started_s
    scanned = _DEVICES * window_s / _EVERY_S
    figures = {
        "times_real": window_s / seconds,
        "scanned_per_s": scanned / seconds,
        "folded_per_s": summary.fixes / seconds,
        "folded": summary.fixes,
        "client_us": 1e6 * (time.process_time() - client_s) / scanned,
        "server_us": 1e6 * (cpu_s(backend) - server_s) / scanned,
        "events": sum(summary.events.values()),
    }
    await conn.close()
    return figures


async def _pure(database_url: str, drafts: Sequence[FenceDraft], hours: int) -> dict[str, float]:
    """Fix by fix: the definition."""
    conn = await connect(database_url, name="bench-preview")
    question = Question("default", 1, drafts, _DAY_US, _DAY_US + hours * 3_600_000_000)
    terrain = (await Preview.prepare(conn, question, Rules())).hypothesis.terrain
    folded, started_s = 0, time.monotonic()
    client_s = time.process_time()
    for device_id in await _devices(conn):
        refold = Refold(DeviceState(), Rules(), terrain, Who(f"v{device_id}"))
        async for page in history(conn, device_id, 0, FIRST_SEQ):
            folded += sum(1 for _ in refold.add(page))
    seconds = time.monotonic() - started_s
    await conn.close()
    return {
        "times_real": folded / seconds * _EVERY_S / _DEVICES,
        "scanned_per_s": folded / seconds,
        "folded_per_s": folded / seconds,
        "folded": folded,
        "client_us": 1e6 * (time.process_time() - client_s) / folded,
    }


async def _devices(conn: Connection) -> list[int]:
    cursor = await conn.execute("SELECT id FROM device ORDER BY md5(name) LIMIT %s", (_PEERS,))
    return [row[0] for row in await cursor.fetchall()]
