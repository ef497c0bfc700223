"""Whole processes on real servers, and what the simulator's manifest says they must hold."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.services import Mosquitto, Postgres, Valkey, wait_until
from tracking.store.migrate import migrate

ROOT = Path(__file__).parents[2]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a child process that finds our packages and these settings."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "firmware-sim")])
    return {**os.environ, "PYTHONPATH": path, **settings}


@dataclass
class Worker:
    """An ingest process that can be killed and comes back as itself."""

    index: int
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waymark", "ingest", "--index", str(self.index)],
                env=self.env,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        """Let it drain."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(60) == 0
            self.process = None

    @property
    def subscribed(self) -> bool:
        """Whether it has ever subscribed: from then on the broker queues for it."""
        return self.log.exists() and b"subscribed at" in self.log.read_bytes()


@dataclass
class World:
    """Servers, a migrated database, and workers. A context manager."""

    folder: Path
    workers: int
    postgres: Postgres = field(default_factory=Postgres)
    valkey: Valkey = field(default_factory=Valkey)
    broker: Mosquitto = field(default_factory=Mosquitto)
    ingest: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.folder.mkdir()
        for server in (self.postgres, self.valkey, self.broker):
            server.start()
        migrate(self.postgres.url())
        env = environment(
            WAYMARK_DATABASE_URL=self.postgres.url(),
            WAYMARK_REDIS_URL=self.valkey.url,
            WAYMARK_MQTT_URL=self.broker.url,
            WAYMARK_WORKERS=str(self.workers),
        )
        for index in range(self.workers):
            worker = Worker(index, env, self.folder / f"ingest-{index}.log")
            worker.start()
            self.ingest.append(worker)
        for worker in self.ingest:
            wait_until(lambda w=worker: w.subscribed, f"worker {worker.index} subscribes", 30)  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.ingest:
            if worker.process is not None:
                worker.kill()
        for server in (self.broker, self.valkey, self.postgres):
            server.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers; nothing while it is away."""
        try:
            with psycopg.connect(self.postgres.url(), connect_timeout=2) as conn:
                return conn.execute(query).fetchall()
        except psycopg.OperationalError:
            return []

    def execute(self, statement: str) -> None:
        """Change something behind the processes' backs."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as conn:
            conn.execute(statement)

    def simulate(self, manifest: Path, *options: str) -> subprocess.Popen[bytes]:
        """Start the simulator on this world's broker."""
        command = [sys.executable, "-m", "firmware_sim", "run", "--mqtt", self.broker.url]
        with (self.folder / "sim.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--manifest", str(manifest), "--json", *options],
                env=environment(),
                stdout=log,
                stderr=log,
            )

    def settle(self, manifest: "Manifest", timeout_s: float) -> None:
        """Wait until everything the manifest promises is stored and repaired."""
        expected = (
            len(manifest.positions),
            len(manifest.measurements),
            len(manifest.tags),
            len(manifest.refused),
            0,
        )
        wait_until(
            lambda: (
                self.rows(
                    "SELECT (SELECT count(*) FROM position), (SELECT count(*) FROM measurement), "
                    "(SELECT count(*) FROM tag_read), "
                    "(SELECT count(DISTINCT sha256(payload)) FROM dead_letter), "
                    "(SELECT count(*) FROM repair)"
                )
                == [expected]
            ),
            f"{expected} positions, measurements, tags, refused messages and repairs",
            timeout_s,
        )


@dataclass
class Manifest:
    """What the simulator says it published."""

    positions: dict[tuple[str, int, int], tuple[float, float]] = field(default_factory=dict)
    measurements: dict[tuple[str, int, str], float] = field(default_factory=dict)
    tags: set[tuple[str, int, str]] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Parse a manifest; readings never published are left out."""
        manifest = cls()
        for line in _lines(file):
            if "summary" in line:
                manifest.summary = line["summary"]
            elif line["published"]:
                assert line["acked"], f"the broker never acknowledged {line}"
                manifest._add(line)
        assert manifest.summary, "the manifest is complete"
        return manifest

    def _add(self, line: dict[str, Any]) -> None:
        # What claims to be of 1970 is refused like what is no reading at all.
        if line["malformed"] or line["t"] < 1_104_537_600_000:
            self.refused.add(line["payload_sha256"])
        elif line["channel"] == "pos":
            self.positions[line["device"], line["t"], line["seq"]] = (line["lon"], line["lat"])
        elif line["channel"] == "sensor":
            for metric, value in line["values"].items():
                self.measurements[line["device"], line["t"], metric] = value
        elif line["channel"] == "tag":
            self.tags.add((line["device"], line["t"], line["epc"].upper()))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


MS = "(extract(epoch FROM {0}.fix_time) * 1000)::bigint"


def stored(world: World) -> Manifest:
    """The database in the manifest's terms."""
    found = Manifest()
    found.positions = {
        (device, t, seq): (lon, lat)
        for device, t, seq, lon, lat in world.rows(
            f"SELECT d.name, {MS.format('p')}, seq, p.lon, p.lat "  # noqa: S608 -- our own text
            "FROM position p JOIN device d ON d.id = p.device_id"
        )
    }
    found.measurements = {
        (device, t, metric): value
        for device, t, metric, value in world.rows(
            f"SELECT d.name, {MS.format('m')}, metric, value "  # noqa: S608 -- our own text
            "FROM measurement m JOIN device d ON d.id = m.device_id"
        )
    }
    found.tags = {
        (device, t, epc)
        for device, t, epc in world.rows(
            f"SELECT d.name, {MS.format('r')}, epc "  # noqa: S608 -- our own text
            "FROM tag_read r JOIN device d ON d.id = r.device_id"
        )
    }
    found.refused = {
        digest for (digest,) in world.rows("SELECT encode(sha256(payload), 'hex') FROM dead_letter")
    }
    return found


def truth(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that may not depend on how the readings arrived."""
    return {
        "events": world.rows(
            "SELECT id, type, subject, time, confirmed_at, confirmed_seq, data FROM event "
            "WHERE status = 'active' AND confirmed_at IS NOT NULL ORDER BY id"
        ),
        "qualities": world.rows(
            "SELECT d.name, quality, count(*) FROM position p JOIN device d ON d.id = p.device_id "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        "states": world.rows(
            "SELECT d.name, s.fix_time, s.seq, s.lon, s.lat, s.motion, s.odometer_m, "
            "s.missing_seq, s.stored FROM device_state s JOIN device d ON d.id = s.device_id "
            "ORDER BY 1"
        ),
    }
