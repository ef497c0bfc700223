"""The embedded stack: the three servers of a data folder, started, watched and stopped together."""

import contextlib
import json
import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tracking.errors import WaymarkError
from waymark.embedded.broker import Broker, BrokerKind
from waymark.embedded.folder import DataFolder, held_by
from waymark.embedded.postgres import Postgres
from waymark.embedded.server import Server
from waymark.embedded.valkey import Valkey
from waymark.lifeline import Lifeline

_log = logging.getLogger(__name__)
_ADDRESSES = "addresses.json"
_HEAL_EVERY_S = 0.1


class Addresses(NamedTuple):
    """Where the servers of a stack are; the database's may hold a password."""

    database_url: str
    redis_url: str
    mqtt_url: str


class EmbeddedStack:
    """PostgreSQL, Valkey and an MQTT broker in one data folder, for as long as this lives.

    A sync context manager, reusable one use after the other. The servers are child processes that
    end with this one, however it ends; the data stay. `postgres`, `valkey` and `broker` may be
    stopped, killed and started one by one.

    Args:
        data_dir: made if absent; one stack at a time holds it.
        mqtt_port: must be free; None takes the last one used, 1883, or any free one.
        broker: `auto` is mosquitto when it is installed, else iotcore.
    """

    postgres: Postgres
    valkey: Valkey
    broker: Broker

    def __init__(
        self,
        data_dir: Path = Path(".waymark"),
        *,
        mqtt_port: int | None = None,
        broker: BrokerKind = "auto",
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self._mqtt_port = mqtt_port
        self._kind: BrokerKind = broker
        self._cleanup = contextlib.ExitStack()
        # Held around each start, stop and heal of a server.
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def servers(self) -> tuple[Server, ...]:
        """The three, in the order they are needed."""
        return self.postgres, self.valkey, self.broker

    @property
    def database_url(self) -> str:
        """Where PostgreSQL is, as WAYMARK_DATABASE_URL wants it."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """Where Valkey is, as WAYMARK_REDIS_URL wants it."""
        return self.valkey.url

    @property
    def mqtt_url(self) -> str:
        """Where the broker is, as WAYMARK_MQTT_URL wants it."""
        return self.broker.url

    def start(self) -> None:
        """Start the three and wait until each answers; about a second.

        Raises:
            InputError: the folder or the port cannot be used.
            WaymarkError: another process holds the folder, or a server did not start.
        """
        self._stopping.clear()
        with contextlib.ExitStack() as cleanup, self._lock:
            folder = DataFolder(self.data_dir)
            cleanup.callback(folder.release)
            lifeline = Lifeline(locks=(folder.lock_fd,))
            cleanup.callback(lifeline.close)
            folder.own("run")
            self.postgres = Postgres(folder, lifeline)
            self.valkey = Valkey(folder, lifeline)
            self.broker = Broker(folder, lifeline, kind=self._kind, port=self._mqtt_port)
            self._lifeline = lifeline
            cleanup.callback(self._stop_servers)
            for server in self.servers:
                server.prepare()
                server.launch()
            for server in self.servers:
                server.wait_ready()
            addresses = Addresses(self.database_url, self.redis_url, self.mqtt_url)
            folder.write(self.data_dir / _ADDRESSES, json.dumps(addresses._asdict()))
            self._cleanup = cleanup.pop_all()

    def stop(self) -> None:
        """Stop the three cleanly and let the folder go; doing so twice is harmless."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
            self._watch = None
        with self._lock:
            self._cleanup.close()

    def wait_ready(self) -> None:
        """Wait until each server that should run answers, for instance after `kill`."""
        for server in self.servers:
            server.wait_ready()

    def heal(self) -> list[str]:
        """Start again what died, on the same data and port; return the names."""
        with self._lock:
            if self._stopping.is_set():
                return []
            self._lifeline.heal()
            healed = []
            for server in self.servers:
                try:
                    if server.heal():
                        _log.warning("%s had died and runs again, pid %s", server.name, server.pid)
                        healed.append(server.name)
                except WaymarkError as exc:
                    _log.error("%s; trying again", exc)
            return healed

    def supervise(self) -> None:
        """Heal in a background thread until `stop`."""

        def watch() -> None:
            while not self._stopping.wait(_HEAL_EVERY_S):
                self.heal()

        self._watch = threading.Thread(target=watch, name="waymark-embedded-heal", daemon=True)
        self._watch.start()

    def _stop_servers(self) -> None:
        # The broker first: what devices send from now on stays with them.
        for server in reversed(self.servers):
            server.stop()

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


def running_stack(data_dir: Path) -> Addresses | None:
    """Return the addresses of the stack some process runs in `data_dir`, or None."""
    data_dir = data_dir.expanduser().resolve()
    if held_by(data_dir) is None:
        return None
    try:
        return Addresses(**json.loads((data_dir / _ADDRESSES).read_text()))
    except (OSError, ValueError, TypeError):
        return None
