"""Everything on one machine: the embedded stack, the schema, a key, and Waymark's processes."""

import asyncio
import contextlib
import http.client
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psycopg

from tracking.settings import load_settings
from tracking.store.keys import authenticate, create_key
from tracking.store.migrate import migrate
from waymark.embedded import EmbeddedStack
from waymark.embedded.broker import BrokerKind
from waymark.embedded.server import free_port, is_free, require_free
from waymark.lifeline import Lifeline
from waymark.secret_key import made_secret_key
from waymark.supervisor import Program, Supervisor

_HEAL_EVERY_S = 0.1


class Entrances(NamedTuple):
    """What a user needs to know of a running system; `waymark up --json` prints it."""

    http: str
    mqtt: str
    database: str
    redis: str
    api_key: str


class System:
    """A whole Waymark for as long as this context lasts; the data stay in `data_dir`.

    Args:
        http_port: must be free; None takes WAYMARK_HTTP_PORT, or any free one if it is taken.
        workers: ingest processes sharing the broker's subscription.
    """

    stack: EmbeddedStack
    supervisor: Supervisor
    entrances: Entrances

    def __init__(
        self,
        data_dir: Path = Path(".waymark"),
        *,
        mqtt_port: int | None = None,
        http_port: int | None = None,
        broker: BrokerKind = "auto",
        workers: int = 1,
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.stack = EmbeddedStack(self.data_dir, mqtt_port=mqtt_port, broker=broker)
        self._http_port = http_port
        self._workers = workers
        self._cleanup = contextlib.ExitStack()

    def start(self) -> None:
        """Start everything and wait until it works.

        Raises:
            InputError: a port or the folder cannot be used.
            WaymarkError: a server or process did not start; the message says where its log is.
        """
        settings = load_settings()
        host, port = settings.http_host, self._choose_http_port()
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(self.stack)
            migrate(self.stack.database_url)
            key = self._api_key()
            given = settings.secret_key
            secret = given.get_secret_value() if given else made_secret_key(self.data_dir)
            lifeline = Lifeline()
            cleanup.callback(lifeline.close)
            self.supervisor = Supervisor(
                self._programs(settings.metrics_port),
                lifeline=lifeline,
                env={
                    "WAYMARK_DATABASE_URL": self.stack.database_url,
                    "WAYMARK_REDIS_URL": self.stack.redis_url,
                    "WAYMARK_MQTT_URL": self.stack.mqtt_url,
                    "WAYMARK_WORKERS": str(self._workers),
                    "WAYMARK_HTTP_HOST": host,
                    "WAYMARK_HTTP_PORT": str(port),
                    "WAYMARK_SECRET_KEY": secret,
                },
                log_dir=self.data_dir / "logs",
            )
            cleanup.callback(self.supervisor.stop)
            self.supervisor.start()
            # A device that publishes before the worker's session exists publishes to nobody.
            self.supervisor.wait_ready(also=lambda: _healthy(_spoken(host), port))
            self.entrances = Entrances(
                http=f"http://{_spoken(host)}:{port}",
                mqtt=self.stack.mqtt_url,
                database=self.stack.database_url,
                redis=self.stack.redis_url,
                api_key=key,
            )
            self._cleanup = cleanup.pop_all()

    @property
    def map_url(self) -> str:
        """The live map, signed in: a fragment never leaves the browser."""
        return f"{self.entrances.http}/#key={self.entrances.api_key}"

    def stop(self) -> None:
        """Drain the processes, then stop the servers. Doing so twice is harmless."""
        self._cleanup.close()

    def kill(self) -> None:
        """End the processes without draining; the servers still stop cleanly."""
        self.supervisor.kill()

    def heal(self) -> list[str]:
        """Start again whatever died; return the names."""
        return self.stack.heal() + self.supervisor.heal()

    def run(self, until: threading.Event) -> None:
        """Heal until the event is set."""
        while not until.wait(_HEAL_EVERY_S):
            self.heal()

    def _programs(self, metrics_port: int) -> list[Program]:
        """All processes; those with metrics show them from `metrics_port` on, a port each."""
        workers = [
            Program(f"ingest-{index}", ("ingest", "--index", str(index)), notifies=True)
            for index in range(self._workers)
        ]
        measured = [
            *workers,
            Program("monitor", ("monitor",)),
            Program("deliver", ("deliver",), notifies=True),
        ]
        if metrics_port:
            measured = [
                program._replace(env={"WAYMARK_METRICS_PORT": str(metrics_port + place)})
                for place, program in enumerate(measured)
            ]
        return [*measured, Program("api", ("api",))]

    def _choose_http_port(self) -> int:
        settings = load_settings()
        if self._http_port:
            require_free(settings.http_host, self._http_port, field="http_port")
            return self._http_port
        if settings.http_port and is_free(settings.http_host, settings.http_port):
            return settings.http_port
        if "WAYMARK_HTTP_PORT" in os.environ and settings.http_port:
            require_free(settings.http_host, settings.http_port, field="http_port")
        return free_port()

    def _api_key(self) -> str:
        """Return the folder's admin key; make one on the first run, or after it was revoked."""
        file = self.data_dir / "api_key"
        url = self.stack.database_url
        if file.exists() and asyncio.run(_is_valid(url, key := file.read_text().strip())):
            return key
        key = create_key(url, "default", "waymark up", "admin")
        file.touch(mode=0o600)
        file.write_text(f"{key}\n")
        return key

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


async def _is_valid(database_url: str, key: str) -> bool:
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        return await authenticate(conn, key) is not None


def _healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/v1/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _spoken(host: str) -> str:
    """Return how to reach a server that listens on `host` from this machine."""
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104  -- compared, not bound
