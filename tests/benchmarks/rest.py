"""What the api answers: one process on one core, its database and the load on the other.

Beside it FastAPI answering a constant, and the same queries asked of the database directly.
"""

import contextlib
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg

from tests.benchmarks.archive import Archive, device_name
from tests.benchmarks.processes import Meter, Others, Program
from tests.benchmarks.result import Goal, Result, Row
from tests.benchmarks.stack import Stack, running_stack
from tests.benchmarks.wrk import Load, load
from tracking.store.keys import create_key
from waymark.embedded.server import free_port

# Enough that neither side waits for the other.
_CONNECTIONS = 32
_POSITION = (
    "SELECT seq, fix_time, received_at, lon, lat, alt_m, speed_mps, course_deg, accuracy_m, "
    "battery, quality, h3, attrs::text FROM position WHERE device_id = %s AND tenant_id = 1 "
    "AND fix_time >= %s::date AND fix_time < %s::date + 1 ORDER BY fix_time, seq LIMIT 10001"
)
_STATE = (
    "SELECT d.name, s.fix_time, s.received_at, s.lon, s.lat, s.alt_m, s.speed_mps, s.course_deg, "
    "s.accuracy_m, s.battery, s.h3, s.attrs::text FROM device d JOIN device_state s "
    "ON s.device_id = d.id WHERE d.tenant_id = 1 AND s.lon BETWEEN %s AND %s "
    "AND s.lat BETWEEN %s AND %s ORDER BY d.name LIMIT 1001"
)


class Api(NamedTuple):
    """A running api, alone on its core."""

    url: str
    key: str
    pid: int


def run(*, quick: bool) -> Result:
    """Latest positions, a vehicle's day, and a box."""
    archive = Archive(100_000, 116, 1 if quick else 10)
    seconds = 3.0 if quick else 10.0
    result = Result(
        "rest",
        "one api process on one core; database and load on the other",
        {"devices": archive.devices, "fixes": archive.fixes, "seconds": seconds},
    )
    with running_stack() as stack:
        archive.fill(stack.database_url)
        # Every backend is the postmaster's child.
        os.sched_setaffinity(stack.pids["postgres"], {_cores()[-1]})
        with _plain() as plain:
            figures = _measure(stack, plain, ["/constant"], seconds, _CONNECTIONS)
            result.rows.append(Row("FastAPI, a constant", "peer", figures))
        with running_api(stack) as api:
            for case, paths, connections in _cases(archive):
                figures = _measure(stack, api, paths, seconds, connections)
                result.rows.append(Row(case, "waymark", figures))
        for case, query, values in _queries(archive):
            figures = _direct(stack.database_url, query, values, seconds / 2)
            result.rows.append(Row(f"psycopg: {case}", "bound", figures))
    _judge(result)
    return result


def _cases(archive: Archive) -> list[tuple[str, list[str], int]]:
    chosen = random.Random(7)
    names = [device_name(chosen.randint(1, archive.devices)) for _ in range(10_000)]
    days = [
        f"/v1/devices/{device_name(vehicle)}/positions?from={day}T00:00:00Z&to={day}T23:59:59Z"
        "&limit=10000"
        for vehicle, day in _some_days(archive)
    ]
    boxes = [
        "/v1/positions?bbox=" + ",".join(f"{degrees:.3f}" for degrees in (west, south, east, north))
        for west, east, south, north in _some_boxes()
    ]
    places = [f"/v1/devices/{name}/position" for name in names]
    return [
        ("latest position", places, _CONNECTIONS),
        ("latest position, one asks", places, 1),
        ("a vehicle's day", days, 1),
        ("1,000 in a box", boxes, 1),
    ]


def _queries(archive: Archive) -> list[tuple[str, str, list[tuple[object, ...]]]]:
    return [
        (
            "a vehicle's day",
            _POSITION,
            [(vehicle, day, day) for vehicle, day in _some_days(archive)],
        ),
        ("1,000 in a box", _STATE, list(_some_boxes())),
    ]


def _some_days(archive: Archive) -> list[tuple[int, str]]:
    chosen = random.Random(8)
    dates = archive.dates()
    return [(chosen.randint(1, archive.vehicles), chosen.choice(dates)) for _ in range(500)]


def _some_boxes() -> list[tuple[float, float, float, float]]:
    """West, east, south, north of boxes with 31 times 32 devices."""
    chosen = random.Random(9)
    starts = [(chosen.randint(0, 288), chosen.randint(0, 280)) for _ in range(100)]
    return [
        (4.995 + x * 0.01, 5.305 + x * 0.01, 49.995 + y * 0.01, 50.315 + y * 0.01)
        for x, y in starts
    ]


def _measure(
    stack: Stack, api: Api, paths: Sequence[str], seconds: float, connections: int
) -> dict[str, float]:
    def run(seconds: float) -> Load:
        core = _cores()[-1]
        return load(
            api.url, paths, seconds=seconds, connections=connections, core=core, key=api.key
        )

    run(1)
    meter, others = Meter({"api": api.pid, "postgres": stack.pids["postgres"]}), Others()
    done = run(seconds)
    cpu = meter.read()
    rest = others.read(sum(cpu.values()))
    return {
        **done.figures,
        "api_us": 1e6 * cpu["api"] / done.requests,
        "postgres_us": 1e6 * cpu["postgres"] / done.requests,
        **rest,
    }


def _direct(
    database_url: str, query: str, values: Sequence[tuple[object, ...]], seconds: float
) -> dict[str, float]:
    """The rows into Python and no further."""
    took_s: list[float] = []
    with psycopg.connect(database_url, autocommit=True) as conn:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            started_s = time.monotonic()
            conn.execute(query, values[len(took_s) % len(values)], binary=True).fetchall()
            took_s.append(time.monotonic() - started_s)
    ranked = sorted(took_s)
    return {
        f"p{percent}_ms": 1e3 * ranked[len(ranked) * percent // 100] for percent in (50, 95, 99)
    }


def _judge(result: Result) -> None:
    figures = {row.case: row.figures for row in result.rows}
    latest = figures["latest position"]
    result.ratios["latest position over FastAPI's constant, requests/s"] = (
        latest["per_s"] / figures["FastAPI, a constant"]["per_s"]
    )
    for case in ("a vehicle's day", "1,000 in a box"):
        ratio = figures[case]["p50_ms"] / figures[f"psycopg: {case}"]["p50_ms"]
        result.ratios[f"{case}, over its query alone"] = ratio
    result.goals += [
        Goal("latest position, requests/s on one core", latest["per_s"], 2_000),
        Goal("latest position, p95 ms", latest["p95_ms"], 25, at_most=True),
        Goal("a vehicle's day, p95 ms", figures["a vehicle's day"]["p95_ms"], 50, at_most=True),
        Goal("1,000 in a box, p95 ms", figures["1,000 in a box"]["p95_ms"], 50, at_most=True),
    ]


@contextlib.contextmanager
def running_api(stack: Stack) -> Iterator[Api]:
    """Run `waymark api` as a user would, alone on the first core; enter once it answers."""
    port = free_port()
    # Counted as ever, and never reached.
    rates = dict.fromkeys(
        ("WAYMARK_RATE_CREDENTIAL_PER_MIN", "WAYMARK_RATE_ADDRESS_PER_MIN"), "1000000000"
    )
    env = {**stack.environment(), **rates, "WAYMARK_HTTP_PORT": str(port)}
    key = create_key(stack.database_url, "default", f"bench {port}", "admin")
    with Program("waymark", "api", env=env) as program:
        yield _pinned(program, port, "/v1/health/live", key)


@contextlib.contextmanager
def _plain() -> Iterator[Api]:
    port = free_port()
    with Program("tests.benchmarks.plain_api", str(port)) as program:
        yield _pinned(program, port, "/constant", "")


def _pinned(program: Program, port: int, path: str, key: str) -> Api:
    os.sched_setaffinity(program.pid, {_cores()[0]})
    url = f"http://127.0.0.1:{port}"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url + path):  # noqa: S310 -- http
            return Api(url, key, program.pid)
        if program.process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the api does not answer: {program.last_words()}")


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))
