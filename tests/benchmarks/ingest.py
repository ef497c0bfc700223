"""End to end: QoS 1 into Mosquitto, committed rows and a published feed out, real processes.

Beside it in the same run: the naive way (a message, a commit) and the least it can cost
(`mosquitto_sub` piped into COPY).
"""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace

import psycopg
import redis

from tests.benchmarks.generator import Load
from tests.benchmarks.load import Sent, generator
from tests.benchmarks.packets import Stream, payload_bytes
from tests.benchmarks.processes import Meter, Others
from tests.benchmarks.result import Goal, Result, Row, spread
from tests.benchmarks.rivals import bound, naive
from tests.benchmarks.stack import Stack, Worker, running_stack, running_worker, scratch_database

FLEETS = {"few": 100, "big": 10_000}
# Flat out, this many messages may wait in the broker: enough that the worker never lacks any.
_BACKLOG = 30_000
_MOST_PER_S = 90_000
_PACED_PER_S = 10_000
# Asking the worker for its counters costs it some milliseconds each time.
_LOOK_S = 0.25
# At 33 m/s a device leaves its departure radius with the fourth fix and has departed by the fifth.
_TURNS_TO_DEPART = 8
_DRAIN_S = 120.0


@dataclass(slots=True)
class Fleet:
    """One fleet's clock over the runs of a benchmark: device time only ever moves on."""

    name: str
    devices: int
    start_us: int = field(default_factory=lambda: int(time.time() * 1e6) - 12 * 3_600_000_000)
    step: int = 0
    step_us: int = 1_000_000  # between a device's fixes
    tenant: str = "default"
    wrap_microdegrees: int = 30_000_000

    def next(self, messages: int) -> Stream:
        """The next messages of the fleet."""
        return Stream(
            self.name,
            self.devices,
            messages,
            self.start_us,
            self.step_us,
            self.step,
            f"wm/{self.tenant}",
            self.wrap_microdegrees,
        )


class Bench:
    """A stack, a worker on it, and what both measure."""

    def __init__(self, stack: Stack, worker: Worker) -> None:
        self._stack = stack
        self._worker = worker

    def warm(self, fleet: Fleet) -> None:
        """Register the fleet, get it moving, fill the caches."""
        turns = max(_TURNS_TO_DEPART, 20_000 // fleet.devices)
        self._run(fleet, fleet.devices * turns, rate=20_000.0)

    def flat_out(self, fleet: Fleet, seconds: float) -> dict[str, float]:
        """As fast as the whole path holds for `seconds`; the broker's queue stays bounded."""
        most = int(seconds * _MOST_PER_S) // fleet.devices * fleet.devices
        figures, _, _ = self._run(fleet, most, seconds=seconds)
        return figures

    def paced(self, fleet: Fleet, seconds: float) -> dict[str, float]:
        """At a fixed rate; the lag of every message from its due time to its commit."""
        stream = fleet.next(
            messages := int(_PACED_PER_S * seconds) // fleet.devices * fleet.devices
        )
        figures, sent, _ = self._run(fleet, messages, rate=_PACED_PER_S)
        return figures | self._lags(stream, sent)

    def _run(
        self, fleet: Fleet, messages: int, *, rate: float = 0.0, seconds: float = 0.0
    ) -> tuple[dict[str, float], Sent, Stream]:
        stack, worker, stream = self._stack, self._worker, fleet.next(messages)
        load = Load(
            stack.mqtt_host, stack.mqtt_port, stream, rate=rate, seconds=seconds,
            allowance=0 if rate else _BACKLOG,
        )  # fmt: skip
        with generator(load) as source:
            before, told = worker.settled(), _published(stack)
            meter, others = Meter({**stack.pids, "worker": worker.pid}), Others()
            seen = [(0.0, 0)]  # seconds since the start, messages settled
            source.go()
            started_s = time.monotonic()
            while not source.finished:
                time.sleep(_LOOK_S)
                seen.append((time.monotonic() - started_s, worker.settled() - before))
                source.allow(seen[-1][1] + _BACKLOG)
            sent = source.report()
            self._drain(before + sent.published)
            drained_s = time.monotonic() - started_s
        looked_s, settled = max(look for look in seen if look[0] <= sent.seconds)
        cpu = meter.read() | {"generator": sent.cpu_s}
        rest = others.read(sum(cpu.values()))
        fleet.step = stream.after(sent.published)
        figures = {
            "msgs_per_s": settled / looked_s,
            "msgs": float(sent.published),
            "lost": float(sent.published - self._stored(stream)),
            "backlog": float(sent.published - settled),
            "drain_s": drained_s - sent.seconds,
            "feed_messages": float(_published(stack) - told),
            **{f"{name}_us": 1e6 * spent / sent.published for name, spent in cpu.items()},
            "total_us": 1e6 * sum(cpu.values()) / sent.published,
            **rest,
        }
        return figures, sent, stream

    def _drain(self, wanted: int) -> None:
        deadline_s = time.monotonic() + _DRAIN_S
        while (settled := self._worker.settled()) < wanted:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{settled} of {wanted} messages settled in {_DRAIN_S:.0f} s")
            time.sleep(0.02)

    def _stored(self, stream: Stream) -> int:
        with psycopg.connect(self._stack.database_url) as conn:
            row = conn.execute(
                "SELECT count(*) FROM position p JOIN device d ON d.id = p.device_id "
                "WHERE d.name LIKE %s AND p.seq >= %s AND p.seq < %s",
                (f"{stream.fleet}-%", stream.seqs().start, stream.seqs().stop),
            ).fetchone()
        return int(row[0]) if row else 0

    def _lags(self, stream: Stream, sent: Sent) -> dict[str, float]:
        """Percentiles of commit time minus due time, both of this machine's clock."""
        with psycopg.connect(self._stack.database_url) as conn:
            row = conn.execute(
                "WITH batch AS MATERIALIZED ("
                "  SELECT p.xmin::text::xid AS xid, (p.seq - %(seq)s) * %(devices)s"
                "         + right(d.name, 5)::int AS turn"
                "  FROM position p JOIN device d ON d.id = p.device_id"
                "  WHERE d.name LIKE %(names)s AND p.seq >= %(seq)s AND p.seq < %(stop)s), "
                "commits AS MATERIALIZED (SELECT xid, extract(epoch FROM"
                "  pg_xact_commit_timestamp(xid)) AS at FROM (SELECT DISTINCT xid FROM batch) x) "
                "SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY"
                "  1000 * (at - %(start)s - turn / %(rate)s::float)) "
                "FROM batch JOIN commits USING (xid)",
                {
                    "seq": stream.seqs().start,
                    "stop": stream.seqs().stop,
                    "devices": stream.devices,
                    "names": f"{stream.fleet}-%",
                    "start": sent.started_s,
                    "rate": _PACED_PER_S,
                },
            ).fetchone()
        assert row is not None
        return dict(zip(("lag_p50_ms", "lag_p99_ms", "lag_max_ms"), row[0], strict=True))


def _published(stack: Stack) -> int:
    """How many messages Valkey was given to fan out."""
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        statistics = client.info("commandstats")
    return int(statistics.get("cmdstat_publish", {"calls": 0})["calls"])


def run(*, quick: bool) -> Result:
    """The whole path, its rivals and its bound."""
    seconds, repeats = (2.0, 1) if quick else (6.0, 3)
    fleets = {name: Fleet(name, devices) for name, devices in FLEETS.items()}
    flat: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in FLEETS}
    result = Result(
        "ingest",
        "Mosquitto QoS 1 to committed rows and published feed, one worker",
        {
            "seconds": seconds,
            "repeats": repeats,
            "payload_bytes": payload_bytes(),
            "backlog_limit": _BACKLOG,
            "paced_per_s": _PACED_PER_S,
        },
    )
    with running_stack() as stack:
        with running_worker(stack) as worker:
            bench = Bench(stack, worker)
            for fleet in fleets.values():
                bench.warm(fleet)
            # Taking turns, so that a busy minute of the machine falls on both.
            for _ in range(repeats):
                for name, fleet in fleets.items():
                    for figure, value in bench.flat_out(fleet, seconds).items():
                        flat[name][figure].append(value)
            for name, figures in flat.items():
                case = f"flat out, {FLEETS[name]:,} devices"
                result.rows.append(Row(case, "waymark", spread(figures)))
            paced = {name: bench.paced(fleet, seconds) for name, fleet in fleets.items()}
            for name, numbers in paced.items():
                case = f"{_PACED_PER_S:,}/s, {FLEETS[name]:,} devices"
                result.rows.append(Row(case, "waymark", numbers))
        _timescale(result, stack, seconds)
        result.rows.append(naive(stack, 1_000 if quick else 6_000))
        result.rows.append(bound(stack, 60_000 if quick else 300_000))
    _judge(result, spread(flat["few"]), spread(flat["big"]), paced["big"])
    return result


def _timescale(result: Result, stack: Stack, seconds: float) -> None:
    """The same on TimescaleDB, where WAYMARK_TEST_TIMESCALE_URL names a server of this machine."""
    url = os.environ.get("WAYMARK_TEST_TIMESCALE_URL")
    if not url:
        return
    with scratch_database(url) as (database_url, postmaster):
        there = replace(
            stack, database_url=database_url, pids={**stack.pids, "postgres": postmaster}
        )
        fleet = Fleet("tsc", 10_000)
        with running_worker(there) as worker:
            bench = Bench(there, worker)
            bench.warm(fleet)
            figures = bench.flat_out(fleet, seconds)
        result.rows.append(Row("flat out, 10,000 devices, TimescaleDB", "waymark", figures))


def _judge(
    result: Result, few: dict[str, float], big: dict[str, float], paced: dict[str, float]
) -> None:
    peer, least = (
        next(row.figures for row in result.rows if row.role == role) for role in ("peer", "bound")
    )
    ours = ("broker_us", "worker_us", "postgres_us", "valkey_us")
    growth = sum(big[name] for name in ours) / sum(few[name] for name in ours)
    result.ratios = {
        "CPU per message, 10,000 devices over 100": growth,
        **{f"the same, {name.removesuffix('_us')}": big[name] / few[name] for name in ours[:3]},
        "messages/s over naive": big["msgs_per_s"] / peer["msgs_per_s"],
        "messages/s over the bound": big["msgs_per_s"] / least["msgs_per_s"],
        "CPU per message over naive": big["total_us"] / peer["total_us"],
        "CPU per message over the bound": big["total_us"] / least["total_us"],
    }
    result.goals = [
        Goal("messages/s, 10,000 devices", big["msgs_per_s"], 10_000),
        Goal("messages/s aimed at, 10,000 devices", big["msgs_per_s"], 30_000),
        Goal("messages lost", big["lost"] + few["lost"] + paced["lost"], 0, at_most=True),
        Goal("lag p99 at 10,000/s, ms", paced["lag_p99_ms"], 1_000, at_most=True),
        Goal("CPU growth 100 to 10,000 devices", growth, 1.20, at_most=True),
    ]
