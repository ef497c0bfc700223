"""Whole histories as files: rows and bytes by the second, and the memory it takes, by format.

One `waymark api` alone on its core; the database and a client that throws everything away on the
other. Beside it COPY of the same rows as CSV by the server itself, past the api.
"""

import os
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.benchmarks.archive import Archive, device_name
from tests.benchmarks.processes import Meter, Others
from tests.benchmarks.rest import Api, running_api
from tests.benchmarks.result import Goal, Result, Row
from tests.benchmarks.stack import Stack, running_stack

_FORMATS = ("ndjson", "csv", "parquet", "geojson", "gpx", "kml")
_COPY = (
    "COPY (SELECT d.name, p.fix_time, p.received_at, p.lon, p.lat, p.alt_m, p.speed_mps, "
    "p.course_deg, p.accuracy_m, p.battery, p.quality, p.h3, p.attrs FROM position p "
    "JOIN device d ON d.id = p.device_id ORDER BY p.device_id, p.fix_time, p.seq) "
    "TO STDOUT (FORMAT csv, HEADER)"
)
_PIECE_BYTES = 1_048_576
# What one export may hold beyond what the process has anyway.
_MEMORY_MB = 100


class Taken(NamedTuple):
    """A file that was read and thrown away."""

    seconds: float
    size_bytes: int
    peak_mb: float


def run(*, quick: bool) -> Result:
    """Each format once: a whole history is long enough to be its own average."""
    archive = Archive(200, 116, 1 if quick else 10)
    result = Result(
        "exports",
        "a whole history as a file, one api process on one core",
        {"fixes": archive.fixes, "devices": archive.vehicles},
    )
    with running_stack() as stack:
        archive.fill(stack.database_url)
        os.sched_setaffinity(stack.pids["postgres"], {max(os.sched_getaffinity(0))})
        with running_api(stack) as api:
            # The first one loads what the others find there.
            for name in _FORMATS:
                _take(api, f"/v1/exports/positions?format={name}&device={device_name(1)}")
            for name in _FORMATS:
                result.rows.append(Row(name, "waymark", _measure(stack, api, name, archive.fixes)))
        result.rows.append(Row("COPY, csv", "bound", _copy(stack.database_url, archive.fixes)))
    _judge(result)
    return result


def _measure(stack: Stack, api: Api, name: str, fixes: int) -> dict[str, float]:
    before_mb = _resident_mb(api.pid)
    meter, others = Meter({"api": api.pid, "postgres": stack.pids["postgres"]}), Others()
    taken = _take(api, f"/v1/exports/positions?format={name}")
    cpu = meter.read()
    rest = others.read(sum(cpu.values()))
    return {
        "rows_per_s": fixes / taken.seconds,
        "mb_per_s": taken.size_bytes / 1e6 / taken.seconds,
        "size_mb": taken.size_bytes / 1e6,
        "api_us": 1e6 * cpu["api"] / fixes,
        "postgres_us": 1e6 * cpu["postgres"] / fixes,
        "rss_before_mb": before_mb,
        "rss_peak_mb": taken.peak_mb,
        **rest,
    }


def _take(api: Api, path: str) -> Taken:
    request = urllib.request.Request(  # noqa: S310 -- http
        api.url + path, headers={"Authorization": f"Bearer {api.key}"}
    )
    started_s, size_bytes, peak_mb, looked_s = time.monotonic(), 0, 0.0, 0.0
    with urllib.request.urlopen(request) as answer:  # noqa: S310 -- http
        while piece := answer.read(_PIECE_BYTES):
            size_bytes += len(piece)
            if time.monotonic() - looked_s > 0.1:
                looked_s = time.monotonic()
                peak_mb = max(peak_mb, _resident_mb(api.pid))
    return Taken(time.monotonic() - started_s, size_bytes, max(peak_mb, _resident_mb(api.pid)))


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    raise RuntimeError(f"process {pid} does not say what it holds")


def _copy(database_url: str, fixes: int) -> dict[str, float]:
    size_bytes, started_s = 0, time.monotonic()
    with psycopg.connect(database_url) as conn, conn.cursor().copy(_COPY) as copy:
        for piece in copy:
            size_bytes += len(piece)
    seconds = time.monotonic() - started_s
    return {
        "rows_per_s": fixes / seconds,
        "mb_per_s": size_bytes / 1e6 / seconds,
        "size_mb": size_bytes / 1e6,
    }


def _judge(result: Result) -> None:
    figures = {row.case: row.figures for row in result.rows}
    result.ratios["csv over COPY, rows/s"] = (
        figures["csv"]["rows_per_s"] / figures["COPY, csv"]["rows_per_s"]
    )
    for name in _FORMATS:
        held = figures[name]["rss_peak_mb"] - figures[name]["rss_before_mb"]
        result.goals.append(Goal(f"{name}, MB held meanwhile", held, _MEMORY_MB, at_most=True))
