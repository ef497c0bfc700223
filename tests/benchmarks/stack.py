"""The servers a benchmark runs against: the embedded stack as users get it, fsync on."""

import contextlib
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.benchmarks.processes import Program, when_ready
from tracking.store.migrate import migrate
from waymark.embedded import EmbeddedStack
from waymark.embedded.server import free_port


@dataclass(frozen=True, slots=True)
class Stack:
    """Running servers; `database_url` has the schema and partitions around today."""

    database_url: str
    redis_url: str
    mqtt_url: str
    pids: dict[str, int]  # broker, postgres, valkey

    @property
    def mqtt_host(self) -> str:
        """The broker's address."""
        return urlsplit(self.mqtt_url).hostname or ""

    @property
    def mqtt_port(self) -> int:
        """The broker's port."""
        return urlsplit(self.mqtt_url).port or 1883

    def environment(self) -> dict[str, str]:
        """The settings of Waymark's own processes."""
        return {
            "WAYMARK_DATABASE_URL": self.database_url,
            "WAYMARK_REDIS_URL": self.redis_url,
            "WAYMARK_MQTT_URL": self.mqtt_url,
            "WAYMARK_LOG_LEVEL": "WARNING",
            # One client asks for a whole fleet of them.
            "WAYMARK_RATE_CREDENTIAL_PER_MIN": "0",
            "WAYMARK_RATE_ADDRESS_PER_MIN": "0",
        }


@contextlib.contextmanager
def running_stack() -> Iterator[Stack]:
    """Start PostgreSQL, Valkey and Mosquitto in a folder on disk, thrown away afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="waymark-bench-") as folder,
        EmbeddedStack(Path(folder) / "data", mqtt_port=free_port(), broker="mosquitto") as servers,
    ):
        # The time of each commit, kept by the server itself: the lag of every single message.
        with psycopg.connect(servers.database_url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        servers.postgres.stop()
        servers.postgres.start()
        prepare(servers.database_url)
        names = ("postgres", "valkey", "broker")
        yield Stack(
            servers.database_url,
            servers.redis_url,
            servers.mqtt_url,
            {name: server.pid or 0 for name, server in zip(names, servers.servers, strict=True)},
        )


def prepare(database_url: str) -> None:
    """Bring the schema, and the partitions of yesterday, today and tomorrow where it has any."""
    migrate(database_url)
    with psycopg.connect(database_url) as conn:
        for days in (-1, 0, 1):
            day = datetime.now(UTC).date() + timedelta(days=days)
            if not _has_chunks(conn):
                conn.execute("SELECT series_attach_day('position', %s)", (day,))


@contextlib.contextmanager
def scratch_database(server_url: str) -> Iterator[tuple[str, int]]:
    """A prepared database on a server of this machine: its URL and its postmaster's pid."""
    name = f"wm_bench_{os.getpid()}"
    parts = {**conninfo_to_dict(server_url), "dbname": name}
    url = "postgresql:///?" + "&".join(f"{key}={value}" for key, value in parts.items())
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            prepare(url)
            backend = Path(f"/proc/{conn.info.backend_pid}/stat").read_text()
            yield url, int(backend.rpartition(")")[2].split()[1])
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _has_chunks(conn: "psycopg.Connection[tuple[object, ...]]") -> bool:
    row = conn.execute("SELECT to_regclass('position_default') IS NULL").fetchone()
    return bool(row and row[0])


class Worker:
    """A running ingest worker."""

    def __init__(self, program: Program, metrics_port: int) -> None:
        self._program = program
        self._metrics_port = metrics_port

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.pid

    def settled(self) -> int:
        """Messages committed, published and acknowledged since its start, as it counts them."""
        return counted(self._metrics_port, "waymark_ingest_messages_total")


def counted(metrics_port: int, name: str) -> int:
    """What a process counts under this name."""
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return int(float(line.split()[1]))
    raise RuntimeError(f"the process does not count {name}")


@contextlib.contextmanager
def running_worker(stack: Stack) -> Iterator[Worker]:
    """Run `waymark ingest` as a user would; enter once it has subscribed."""
    port = free_port()
    env = {**stack.environment(), "WAYMARK_METRICS_PORT": str(port)}
    with when_ready("waymark", "ingest", env=env) as program:
        yield Worker(program, port)
