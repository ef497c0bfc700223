"""The processes a benchmark runs, and the CPU time each tree of them has used. Linux only."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and all below it, those that ended included."""
    children, spent = defaultdict[int, list[int]](list), dict[int, float]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # Behind the program's name, which may hold anything: state, parent, ...
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children[int(fields[1])].append(int(entry.name))
                spent[int(entry.name)] = sum(map(int, fields[11:15])) * _TICK_S
    total, waiting = 0.0, [pid]
    while waiting:
        current = waiting.pop()
        total += spent.get(current, 0.0)
        waiting += children[current]
    return total


class Meter:
    """CPU seconds of named process trees since it was made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_s(pid) for name, pid in self._pids.items()}

    def read(self) -> dict[str, float]:
        """Seconds used since the start, by name."""
        return {name: cpu_s(pid) - self._before[name] for name, pid in self._pids.items()}


class Others:
    """Cores' worth of CPU time that went elsewhere, or nowhere, since it was made.

    A rate says little on a machine that others use; this says how much of it they used.
    """

    def __init__(self) -> None:
        self._before = _machine_s()
        self._started_s = time.monotonic()

    def read(self, ours_s: float) -> dict[str, float]:
        """Cores idle and cores used by others, when `ours_s` seconds were ours."""
        seconds = time.monotonic() - self._started_s
        busy_s, idle_s = (now - then for now, then in zip(_machine_s(), self._before, strict=True))
        others_s = max(0.0, busy_s - ours_s)
        return {"others_cores": others_s / seconds, "idle_cores": idle_s / seconds}


def _machine_s() -> tuple[float, float]:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) * _TICK_S, idle * _TICK_S


class Program:
    """One of our own processes, `python -m module ...`; a context manager that ends it.

    Its stderr goes to a file whose end is shown when it fails; stdin and stdout are pipes.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in __exit__
        self._name = " ".join(arguments[:2])[:60]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**_clean_environment(), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tell(self, line: str) -> None:
        """Write a line to its stdin; one that has ended does not mind."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()

    def hear(self) -> str:
        """Return its next line on stdout.

        Raises:
            RuntimeError: it ended without one, with its last words.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line:
            raise RuntimeError(f"{self._name} ended: {self.last_words()}")
        return line.rstrip("\n")

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        self._log.seek(0)
        return self._log.read()[-2_000:].decode(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end and wait; kill it when it does not."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                # What is left in stdin's buffer has nobody to go to.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._log.close()


@contextlib.contextmanager
def when_ready(*arguments: str, env: Mapping[str, str]) -> Iterator[Program]:
    """Run one of our processes; enter once it says READY=1, as systemd would wait for it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
    ):
        address = f"{folder}/notify"
        notices.bind(address)
        notices.settimeout(0.2)
        with Program(*arguments, env={**env, "NOTIFY_SOCKET": address}) as program:
            for _ in range(150):
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in notices.recv(4_096):
                        break
                if program.process.poll() is not None:
                    raise RuntimeError(f"{arguments} ended: {program.last_words()}")
            else:
                raise TimeoutError(f"{arguments} is not ready: {program.last_words()}")
            yield program


def _clean_environment() -> dict[str, str]:
    # A developer's own settings must not decide a measurement.
    return {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
