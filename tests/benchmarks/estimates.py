"""What forecasting 10,000 active shipments costs the ingest path, in one run, in turns.

A fleet in which each vehicle carries a shipment is fed flat out while its shipments are forecast
at the default intervals, while their forecasts are put off, and beside it a fleet that carries
nothing. At a fixed rate, what it does to the feed's lag.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from tests.benchmarks.ingest import Bench, Fleet
from tests.benchmarks.processes import Program
from tests.benchmarks.result import Goal, Result, Row, spread
from tests.benchmarks.stack import Stack, counted, running_stack, running_worker
from tests.services import accepts, wait_until
from tracking.custody import FOR_EVER_US, Claim, Ref
from tracking.route.polyline import encode
from tracking.shipment_fold import derive
from tracking.shipments import LINE_DIGITS, Place, Plan, Route, Stop
from tracking.store.alerts import Tenant
from tracking.store.attachments import attach
from tracking.store.connection import Connection, connect
from tracking.store.shipments import insert_shipment
from waymark.embedded.server import free_port

_SHIPMENTS = 10_000
# Five fixes a second and device flat out: about as fast as the clock on the wall, by which a
# carrier counts as quiet, and so slow that few reach a stop meanwhile.
_STEP_US = 200_000
# 33 m/s: the first stop is 5 to 30 minutes ahead, the second 10 more; of every fourth the way there
# is planned.
_FIRST_DEG, _MORE_DEG, _THEN_DEG = 0.09, 0.45, 0.18
_ROUTE_POINTS = 50
_ALL_ESTIMATED = (
    "SELECT (SELECT count(estimate) FROM shipment_eta) = (SELECT count(*) FROM shipment)"
)
_OURS = ("worker_us", "postgres_us", "monitor_us")


class Looks:
    """The looks at a fleet's shipments: had, put off, counted."""

    def __init__(self, database_url: str, metrics_port: int) -> None:
        self._database_url = database_url
        self._metrics_port = metrics_port

    def taken(self) -> int:
        """How many there were since the monitor began."""
        return counted(self._metrics_port, "waymark_monitor_looks_total")

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Have none taken meanwhile; then let each be due as it would be long afterwards."""
        self._due("'infinity'")
        yield
        self._due("now() + random() * make_interval(secs => every_s)")

    def _due(self, at: str) -> None:
        with psycopg.connect(self._database_url) as conn:
            conn.execute(f"UPDATE shipment_eta SET next_at = {at}".encode())  # noqa: S608 -- ours


def run(*, quick: bool) -> Result:
    """Flat out and at a fixed rate, with and without forecasts."""
    seconds, repeats, shipments = (2.0, 1, 1_000) if quick else (10.0, 3, _SHIPMENTS)
    result = Result(
        "estimates",
        "the whole ingest path while shipments are forecast, one worker, one monitor",
        {"seconds": seconds, "repeats": repeats, "shipments": shipments},
    )
    flat: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    paced: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with running_stack() as stack, running_worker(stack) as worker:
        free, loaded = (
            Fleet(name, shipments, step_us=_STEP_US, tenant=name) for name in ("free", "loaded")
        )
        _make_tenants(stack.database_url, free, loaded)
        bench = Bench(stack, worker)
        _drive_off(bench, loaded)
        result.conditions["planned_s"] = asyncio.run(_plan(stack.database_url, loaded))
        with _running_monitor(stack) as (monitor, looks):
            _settle(stack.database_url)
            bench = Bench(replace(stack, pids={**stack.pids, "monitor": monitor.pid}), worker)
            for fleet in (free, loaded):
                _drive_off(bench, fleet)
            _wait_for(stack.database_url, _ALL_ESTIMATED, 120)
            for _ in range(repeats):
                with looks.put_off():
                    _measure(bench.flat_out, free, seconds, flat["none"], looks)
                    _measure(bench.flat_out, loaded, seconds, flat["put off"], looks)
                    _measure(bench.paced, loaded, seconds, paced["put off"], looks)
                _measure(bench.flat_out, loaded, seconds, flat["forecast"], looks)
                _measure(bench.paced, loaded, seconds, paced["forecast"], looks)
    _judge(
        result,
        {name: spread(figures) for name, figures in flat.items()},
        {name: spread(figures) for name, figures in paced.items()},
    )
    return result


def _measure(
    run: Callable[[Fleet, float], dict[str, float]],
    fleet: Fleet,
    seconds: float,
    into: dict[str, list[float]],
    looks: Looks,
) -> None:
    _be_now(fleet)
    before, began_s = looks.taken(), time.monotonic()
    figures = run(fleet, seconds)
    taken = looks.taken() - before
    figures |= {"looks": taken, "looks_per_s": taken / (time.monotonic() - began_s)}
    for name, value in figures.items():
        into[name].append(value)


def _drive_off(bench: Bench, fleet: Fleet) -> None:
    """Register the fleet and get it moving, after a gap too; its steps are fifths of others'."""
    _be_now(fleet)
    for _ in range(round(1e6 / fleet.step_us)):
        bench.warm(fleet)


def _be_now(fleet: Fleet) -> None:
    """Let the fleet's next fixes be of now, unless its clock is ahead."""
    now_us = int(time.time() * 1e6)
    fleet.start_us = max(fleet.start_us, now_us - fleet.step * fleet.step_us)


def _make_tenants(database_url: str, *fleets: Fleet) -> None:
    with psycopg.connect(database_url) as conn:
        for fleet in fleets:
            conn.execute("INSERT INTO tenant (name) VALUES (%s)", (fleet.tenant,))


async def _plan(database_url: str, fleet: Fleet) -> float:
    """A shipment on each device, to be derived by the monitor; how long that took."""
    began_s = time.monotonic()
    conn = await connect(database_url, name="bench-estimates")
    try:
        # The tables grow and nobody has analysed them yet: plans of the first minute do not hold.
        await conn.execute("SET plan_cache_mode = force_custom_plan")
        await conn.execute("SET synchronous_commit = off")
        found = await conn.execute("SELECT id FROM tenant WHERE name = %s", (fleet.tenant,))
        tenant = Tenant(fleet.tenant, (await found.fetchone() or (0,))[0])
        places = await _places(conn, tenant)
        now_us = int(time.time() * 1e6)
        for i, (device, place) in enumerate(sorted(places.items())):
            plan = _shipment(i, *place)
            record = derive(plan, now_us, [], [], overrides=[], now_us=now_us).record
            await insert_shipment(conn, tenant.id, plan, record, author="bench")
            claim = Claim(Ref("shipment", plan.id), Ref("device", device), now_us, FOR_EVER_US)
            await attach(conn, tenant.id, claim, author="bench")
    finally:
        await conn.close()
    return time.monotonic() - began_s


async def _places(conn: Connection, tenant: Tenant) -> dict[str, tuple[float, float]]:
    found = await conn.execute(
        "SELECT d.name, s.lon, s.lat FROM device d JOIN device_state s ON s.device_id = d.id "
        "WHERE d.tenant_id = %s",
        (tenant.id,),
    )
    return {name: (lon, lat) for name, lon, lat in await found.fetchall()}


def _shipment(number: int, lon: float, lat: float) -> Plan:
    """Two deliveries on the way east."""
    first = lon + _FIRST_DEG + _MORE_DEG * (number % 97) / 97
    stops = tuple(
        Stop("delivery", f"Shop {number}.{i}", Place(round(at, 6), lat))
        for i, at in enumerate((first, first + _THEN_DEG))
    )
    way = first + _THEN_DEG - lon
    line = [(lon + way * i / _ROUTE_POINTS, lat) for i in range(_ROUTE_POINTS + 1)]
    route = None if number % 4 else Route(encode(line, LINE_DIGITS))
    return Plan(f"s{number:05d}", stops, route=route)


@contextlib.contextmanager
def _running_monitor(stack: Stack) -> Iterator[tuple[Program, Looks]]:
    port = free_port()
    env = {**stack.environment(), "WAYMARK_METRICS_PORT": str(port)}
    with Program("waymark", "monitor", env=env) as program:
        wait_until(lambda: accepts(port), "the monitor serves its metrics", 60)
        yield program, Looks(stack.database_url, port)


def _settle(database_url: str) -> None:
    """Wait until every shipment is derived, and what its fences change of the past is told."""
    for left in ("SELECT FROM shipment WHERE dirty", "SELECT FROM repair"):
        _wait_for(database_url, f"SELECT NOT EXISTS ({left})", 300)


def _wait_for(database_url: str, condition: str, timeout_s: float) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        wait_until(
            lambda: conn.execute(condition.encode()).fetchone() == (True,), condition, timeout_s
        )


def _judge(
    result: Result, flat: dict[str, dict[str, float]], paced: dict[str, dict[str, float]]
) -> None:
    cases = {"none": "no shipments", "put off": "shipments", "forecast": "shipments, forecast"}
    for name, figures in flat.items():
        result.rows.append(Row(f"flat out, {cases[name]}", "waymark", figures))
    for name, figures in paced.items():
        result.rows.append(Row(f"10,000/s, {cases[name]}", "waymark", figures))
    forecast, put_off, none = flat["forecast"], flat["put off"], flat["none"]
    for name in ("msgs_per_s", *_OURS, "total_us"):
        result.ratios[f"{name}, forecast over put off"] = forecast[name] / put_off[name]
    result.ratios["msgs_per_s, shipments and forecasts over none"] = (
        forecast["msgs_per_s"] / none["msgs_per_s"]
    )
    lost = sum(figures["lost"] for figures in (*flat.values(), *paced.values()))
    result.goals = [
        Goal("throughput kept", forecast["msgs_per_s"] / put_off["msgs_per_s"], 0.8),
        Goal("messages lost", lost, 0, at_most=True),
    ]
