"""The database transaction alone: one worker's pipeline without MQTT, on the embedded server.

Beside it the bound: a binary COPY of the very rows it stored into an identical table.
"""

import asyncio
import time
from dataclasses import dataclass

import psycopg

from ingest.decode import Decoder
from ingest.fleet import Fleet
from ingest.pipeline import Pipeline
from ingest.policy import policy
from tests.benchmarks.packets import Stream
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.result import Result, Role, Row
from tests.benchmarks.samples import batches, stream
from tests.benchmarks.stack import running_stack
from tracking.settings import load_settings
from tracking.store.connection import Connection, connect

BATCHES = (500, 2_000, 5_000, 10_000)
_TURNS_TO_DEPART = 8


@dataclass(slots=True)
class Rig:
    """A pipeline, its connection, and the clock of the fleet it is fed with."""

    conn: Connection
    pipeline: Pipeline
    clock: Stream

    def take(self, rows: int) -> Stream:
        """The next messages of the fleet."""
        taken = Stream(
            self.clock.fleet,
            self.clock.devices,
            rows,
            self.clock.start_us,
            self.clock.step_us,
            self.clock.first_step,
        )
        self.clock = Stream(
            taken.fleet, taken.devices, 0, taken.start_us, taken.step_us, taken.after(rows)
        )
        return taken

    async def store(self, rows: int, size: int) -> tuple[Stream, dict[str, float]]:
        """Store rows in batches of one size; what it cost each side."""
        taken = self.take(rows)
        pieces = batches(taken, size)
        backend = self.conn.info.backend_pid
        client_s, server_s, started_s = time.process_time(), cpu_s(backend), time.monotonic()
        for piece in pieces:
            await self.pipeline.process(self.conn, piece)
        seconds = time.monotonic() - started_s
        return taken, {
            "rows_per_s": rows / seconds,
            "client_us": 1e6 * (time.process_time() - client_s) / rows,
            "server_us": 1e6 * (cpu_s(backend) - server_s) / rows,
        }


def run(*, quick: bool) -> Result:
    """Each batch size, for 100 and 10,000 devices."""
    return asyncio.run(_run(quick=quick))


async def _run(*, quick: bool) -> Result:
    rows, sizes = (10_000, (500, 5_000)) if quick else (60_000, BATCHES)
    result = Result("pipeline", "the database transaction alone, CPU per row", {"rows": rows})
    with running_stack() as stack:
        _make_bound(stack.database_url)
        conn = await connect(stack.database_url, name="bench")
        async with conn:
            for fleet, devices in (("few", 100), ("big", 10_000)):
                settings = load_settings()
                pipeline = Pipeline(
                    Decoder(formats=settings.formats), Fleet(register=True), policy(settings)
                )
                rig = Rig(conn, pipeline, stream(devices, 0, fleet=fleet))
                await rig.store(max(_TURNS_TO_DEPART * devices, 20_000), 5_000)
                for size in sizes:
                    await _measure(result, rig, rows, size, stack.database_url)
    for size in sizes:
        few = _cost(result, size, 100, "waymark")
        big = _cost(result, size, 10_000, "waymark")
        least = _cost(result, size, 10_000, "bound")
        result.ratios[f"10,000 devices over 100, batch {size:,}"] = big / few
        result.ratios[f"10,000 devices over the bound, batch {size:,}"] = big / least
    return result


async def _measure(result: Result, rig: Rig, rows: int, size: int, url: str) -> None:
    stored, ours = await rig.store(rows, size)
    case = f"{rig.clock.devices:,} devices, batch {size:,}"
    result.rows.append(Row(case, "waymark", ours))
    result.rows.append(Row(f"COPY, {case}", "bound", _copy(url, stored, rows, size)))


def _make_bound(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(
            "CREATE TABLE bound_position (LIKE position INCLUDING ALL) "
            "PARTITION BY RANGE (fix_time)"
        )
        conn.execute(
            "CREATE TABLE bound_part PARTITION OF bound_position "
            "FOR VALUES FROM ('2000-01-01') TO ('2100-01-01')"
        )


def _copy(url: str, stored: Stream, rows: int, size: int) -> dict[str, float]:
    """COPY the rows of `stored` in the same batches, a commit each, from packed bytes."""
    with psycopg.connect(url) as conn:
        pieces = [
            _exported(conn, stored, offset, size) for offset in range(0, rows - size + 1, size)
        ]
        conn.execute("TRUNCATE bound_position")
        conn.commit()
        backend = conn.info.backend_pid
        client_s, server_s, started_s = time.process_time(), cpu_s(backend), time.monotonic()
        for piece in pieces:
            with conn.cursor().copy("COPY bound_position FROM STDIN (FORMAT binary)") as copy:
                copy.write(piece)
            conn.commit()
        seconds = time.monotonic() - started_s
        return {
            "rows_per_s": rows / seconds,
            "client_us": 1e6 * (time.process_time() - client_s) / rows,
            "server_us": 1e6 * (cpu_s(backend) - server_s) / rows,
        }


def _exported(
    conn: "psycopg.Connection[tuple[object, ...]]", stored: Stream, offset: int, size: int
) -> bytes:
    with conn.cursor().copy(
        "COPY (SELECT p.* FROM position p JOIN device d ON d.id = p.device_id"
        " WHERE d.name LIKE %s AND p.seq >= %s AND p.seq < %s"
        " ORDER BY p.fix_time, d.name OFFSET %s LIMIT %s) TO STDOUT (FORMAT binary)",
        (f"{stored.fleet}-%", stored.seqs().start, stored.seqs().stop, offset, size),
    ) as copy:
        return b"".join(bytes(part) for part in copy)


def _cost(result: Result, size: int, devices: int, role: Role) -> float:
    ending = f"{devices:,} devices, batch {size:,}"
    for row in result.rows:
        if row.role == role and row.case.endswith(ending):
            return row.figures["client_us"] + row.figures["server_us"]
    raise KeyError(ending)
