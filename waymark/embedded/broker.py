"""The MQTT broker: mosquitto where it is installed, else rumqttd out of the iotcore wheel."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Literal

from tracking.errors import InputError
from waymark.embedded.folder import DataFolder, let_pass
from waymark.embedded.server import Server, answers, free_port, is_free, require_free, wheel
from waymark.lifeline import Child, Lifeline

BrokerKind = Literal["auto", "mosquitto", "iotcore"]

HOST = "127.0.0.1"
_DEFAULT_PORT = 1883
# Debian keeps daemons in a folder that users lack on their PATH.
_DAEMON_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"

# Mosquitto's defaults, 20 in flight and 1,000 queued, drop QoS 1 messages without a word after
# their publisher had its PUBACK. deploy/mosquitto/mosquitto.conf has the same values.
MOSQUITTO_LIMITS = {
    # As many as MQTT has packet identifiers: the worker's own window is the bound.
    "max_inflight_messages": 65_535,
    # Three minutes at 10,000 messages/s while the workers are away; about 1 GB.
    "max_queued_messages": 2_000_000,
    "max_queued_bytes": 1_000_000_000,
    # What a kill -9 of the broker can lose of its queues, s; a clean stop loses nothing.
    "autosave_interval": 10,
}


class Broker(Server):
    """The MQTT broker on a loopback port; `kind` says which it is.

    Mosquitto keeps sessions and queues on disk; iotcore keeps them in memory.

    Raises:
        InputError: the given port is taken, or the wanted broker is not installed.
    """

    def __init__(
        self, folder: DataFolder, lifeline: Lifeline, *, kind: BrokerKind, port: int | None
    ) -> None:
        self._folder = folder
        self._port_file = folder.path / "mqtt_port"
        program = None if kind == "iotcore" else mosquitto()
        if program is None and kind == "mosquitto":
            raise InputError("mosquitto is not installed: install it, or use --broker iotcore")
        self.kind: Literal["mosquitto", "iotcore"] = "mosquitto" if program else "iotcore"
        self._mark = f"{folder.mark}-broker"
        self._wanted_port = port
        self.port = 0
        self._config = folder.path / "mosquitto" / f"{self._mark}.conf"
        child = Child(
            lifeline,
            self.kind,
            [program, "-c", str(self._config)] if program else [],
            log=folder.path / "logs" / f"{self.kind}.log",
            identity=folder.identity if program else None,
        )
        super().__init__(child, mark=self._mark, ready=lambda: answers(self.port, HOST))

    @property
    def url(self) -> str:
        """Where it is, as WAYMARK_MQTT_URL wants it."""
        return f"mqtt://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Settle the port, once a dead run's broker has let go of it, and write the settings."""
        super().prepare()
        self.port = self._choose_port()
        self._port_file.write_text(f"{self.port}\n")
        if self.kind == "iotcore":
            wheel("iotcore")
            options = {
                "listen": HOST,
                "port": self.port,
                "max_payload_size": 16 * 1024 * 1024,
                "max_inflight_count": 20_000,
            }
            script = Path(__file__).with_name("iotcore_broker.py")
            self.child.argv = [sys.executable, str(script), json.dumps(options), self._mark]
            return
        store = self._folder.own("mosquitto")
        if self._folder.identity is not None:
            let_pass(self._folder.identity, self._config)
        lines = [
            f"listener {self.port} {HOST}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {store}/",
            *(f"{name} {value}" for name, value in MOSQUITTO_LIMITS.items()),
            "log_dest stderr",
            *(f"log_type {kind}" for kind in ("error", "warning", "notice")),
            "connection_messages false",
        ]
        self._folder.write(self._config, "\n".join(lines) + "\n")

    def _choose_port(self) -> int:
        if self._wanted_port:
            require_free(HOST, self._wanted_port, field="mqtt_port")
            return self._wanted_port
        # Devices were told the last one; it is kept while nobody else takes it.
        remembered = self._port_file.read_text().strip() if self._port_file.exists() else ""
        preferred = [int(remembered)] if remembered.isdigit() else []
        for port in [*preferred, _DEFAULT_PORT]:
            if is_free(HOST, port):
                return port
        return free_port()


def mosquitto() -> str | None:
    """Return the program's path, or None where it is not installed."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_DAEMON_FOLDERS}")
