"""Child processes that cannot outlive their parent, and are started again when they die.

The parent holds one end of a pipe, a small guard process the other. When the parent goes, even by
kill -9, the kernel closes the pipe and the guard stops what the parent had started. A parent-death
signal (PR_SET_PDEATHSIG) would not do: it follows the thread that forked, not the process.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tracking.errors import WaymarkError

_HERE = Path(__file__).parent
_PYTHON = [sys.executable, "-I", "-S"]  # neither site-packages nor our own environment: 15 ms
# A child that lived this long starts its backoff anew.
_HEALTHY_S = 10.0
_BACKOFF_S = (0.1, 10.0)
_LOG_BYTES = 10_000_000


class Identity(NamedTuple):
    """The user a child runs as when the parent is root."""

    uid: int
    gid: int


class Lifeline:
    """Starts processes that end when this one does; threads may share it.

    `locks` are file descriptors the guard keeps open until every child is gone, so a lock on a
    data folder is free only when the folder truly is.
    """

    def __init__(self, locks: Iterable[int] = ()) -> None:
        self._locks = tuple(locks)
        self._lock = threading.Lock()
        self._spawned: list[tuple[subprocess.Popen[bytes], str]] = []
        self._guard, self._fd = self._start_guard()

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: int = 10,
        identity: Identity | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start a program in a session of its own, its output appended to `log`."""
        uid, gid = identity or (-1, -1)
        with self._lock, _open_log(log) as out:
            self._heal_guard()
            launch = [*_PYTHON, str(_HERE / "_launch.py"), str(self._fd)]
            child = subprocess.Popen(  # noqa: S603  -- our own argument lists, no shell
                [*launch, str(int(stop_signal)), str(grace_s), str(uid), str(gid), *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                pass_fds=(self._fd,),
                # Ctrl-C in a terminal reaches the parent alone, which stops us in order.
                start_new_session=True,
                umask=0o077,
            )
            self._spawned = [(p, line) for p, line in self._spawned if p.poll() is None]
            self._spawned.append((child, f"{child.pid} {int(stop_signal)} {grace_s}\n"))
        return child

    def close(self) -> None:
        """Let go: the guard stops whatever is left, then ends. Doing so twice is harmless."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        self._guard.wait()

    def heal(self) -> None:
        """Replace the guard should somebody have killed it."""
        with self._lock:
            self._heal_guard()

    def _heal_guard(self) -> None:
        if self._fd < 0:
            raise WaymarkError("the processes are being stopped: nothing new starts")
        if self._guard.poll() is None:
            return
        os.close(self._fd)
        self._guard, self._fd = self._start_guard()
        for child, line in self._spawned:
            if child.poll() is None:
                os.write(self._fd, line.encode())

    def _start_guard(self) -> "tuple[subprocess.Popen[bytes], int]":
        read_fd, write_fd = os.pipe()
        try:
            guard = subprocess.Popen(  # noqa: S603  -- our own script
                [*_PYTHON, str(_HERE / "_guard.py"), str(read_fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(read_fd, *self._locks),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(read_fd)
        return guard, write_fd


class Child:
    """One program that is meant to run: started, watched, started again, stopped.

    One thread at a time calls its methods.
    """

    def __init__(
        self,
        lifeline: Lifeline,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: int = 10,
        identity: Identity | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.grace_s = grace_s
        self._lifeline = lifeline
        self._env = env
        self._stop_signal = stop_signal
        self._identity = identity
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._started_at_s = 0.0
        self._log_start = 0
        self._backoff_s = _BACKOFF_S[0]

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the last process ended, negative for a signal; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it unless it runs."""
        self._wanted = True
        if self.alive:
            return
        self._started_at_s = time.monotonic()
        self._log_start = _size(self.log)
        self._process = self._lifeline.spawn(
            self.argv,
            log=self.log,
            env=self._env,
            stop_signal=self._stop_signal,
            grace_s=self.grace_s,
            identity=self._identity,
        )

    def due(self) -> bool:
        """Whether it died, should run, and has waited out its backoff."""
        if not self._wanted or self.alive:
            return False
        lived_s = time.monotonic() - self._started_at_s
        if lived_s > _HEALTHY_S:
            self._backoff_s = _BACKOFF_S[0]
        return lived_s >= self._backoff_s

    def revive(self) -> None:
        """Start it after a death; each quick death doubles the wait for the next."""
        self._backoff_s = min(self._backoff_s * 2, _BACKOFF_S[1])
        self.start()

    def ask_to_stop(self) -> None:
        """Send the stop signal and return at once; it will not be revived."""
        self._wanted = False
        self.send(self._stop_signal)

    def stop(self) -> None:
        """Ask it to stop, wait out its grace, then kill it."""
        self.ask_to_stop()
        if not self.wait(self.grace_s):
            self.kill()

    def kill(self) -> None:
        """Kill it with -9 and wait; it is revived if it was meant to run."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it ended; False if it did not in time."""
        if self._process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return not self.alive

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it does not run."""
        if self._process is not None:
            self._process.send_signal(number)

    def last_words(self) -> str:
        """Return the line its last run logged that says most, for an error's sentence."""
        lines = _tail(self.log, self._log_start)
        worst = [line for line in lines if "FATAL" in line or "rror" in line or "annot" in line]
        return (worst or lines or ["it said nothing"])[-1]


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if _size(path) > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(path: Path, start: int, size_bytes: int = 4_000) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - size_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]
