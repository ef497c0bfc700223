"""Runs Waymark's own processes as children: started, watched, restarted, drained.

    ingest-0, ingest-1, ...   one MQTT session each      logs/ingest-0.log
    api                       HTTP and websocket         logs/api.log
    monitor                   deadlines, maintenance     logs/monitor.log
    deliver                   webhooks, channels         logs/deliver.log

A process says it is ready by `notify_ready`, the protocol of systemd's sd_notify(3), so the same
processes also run as systemd units of `Type=notify`.
"""

import contextlib
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tracking.errors import WaymarkError
from waymark.lifeline import Child, Lifeline

_log = logging.getLogger(__name__)

# A worker finishes the batch in hand and its acknowledgements; then it is killed.
_DRAIN_S = 15
_READY_S = 60.0
# Dying this often before being ready once is not bad luck but a fault the user must see.
_DEATHS_AT_START = 3


class Program(NamedTuple):
    """One process to run: its name, its arguments after `waymark`, whether it says when ready.

    `env` is what its environment has beside that of all.
    """

    name: str
    arguments: tuple[str, ...]
    notifies: bool = False
    env: Mapping[str, str] = MappingProxyType({})


class Supervisor:
    """Keeps a set of programs running until `stop`; used from one thread.

    Args:
        lifeline: ends the processes when this one is killed.
        env: added to this process's environment.
        log_dir: receives one `<name>.log` per program.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        lifeline: Lifeline,
        env: Mapping[str, str],
        log_dir: Path,
    ) -> None:
        self._lifeline = lifeline
        self._log_dir = log_dir
        self._notifiers = {program.name for program in programs if program.notifies}
        self._ready: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="waymark-"))
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.setblocking(False)  # noqa: FBT003  -- its signature
        self._inbox.bind(str(self._folder / "notify"))
        source = Path(__file__).parents[1]
        environment = {
            **os.environ,
            **env,
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            # With -P below: our packages, and never a folder of the same name the user stands in.
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(source), os.environ.get("PYTHONPATH")))
            ),
        }
        self.children = [
            Child(
                lifeline,
                program.name,
                [sys.executable, "-P", "-m", "waymark", *program.arguments],
                log=log_dir / f"{program.name}.log",
                env={**environment, **program.env},
                grace_s=_DRAIN_S,
            )
            for program in programs
        ]

    def start(self) -> None:
        """Start all; `wait_ready` says when they work."""
        for child in self.children:
            child.start()

    def wait_ready(
        self, also: Callable[[], bool] = lambda: True, timeout_s: float = _READY_S
    ) -> None:
        """Wait until each that says so is ready and `also` holds, restarting those that die.

        Raises:
            WaymarkError: one keeps dying, with its last words, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        deaths: Counter[str] = Counter()
        while (waiting := self._notifiers - self._ready) or not also():
            self._refuse_repeated_deaths(deaths)
            deaths.update(self.heal())
            if time.monotonic() > deadline:
                late = ", ".join(sorted(waiting)) or "the api"
                raise WaymarkError(
                    f"not ready after {timeout_s:.0f} s: {late} (logs: {self._log_dir})"
                )
            time.sleep(0.02)

    def _refuse_repeated_deaths(self, deaths: Mapping[str, int]) -> None:
        for child in self.children:
            if not child.alive and deaths[child.name] >= _DEATHS_AT_START - 1:
                raise WaymarkError(
                    f"{child.name} does not start: {child.last_words()} (log: {child.log})"
                )

    def heal(self) -> list[str]:
        """Start again what died, once its backoff is over; return the names."""
        self._lifeline.heal()
        self._read_inbox()
        due = [child for child in self.children if child.due()]
        for child in due:
            code = child.exit_code
            child.revive()
            _log.warning("%s ended with %s and runs again, pid %s", child.name, code, child.pid)
        return [child.name for child in due]

    def stop(self) -> None:
        """Drain all at once, kill those that take too long. Doing so twice is harmless."""
        for child in self.children:
            child.ask_to_stop()
        deadline = time.monotonic() + _DRAIN_S
        for child in self.children:
            if not child.wait(max(0.0, deadline - time.monotonic())):
                _log.warning("%s did not drain in %s s and is killed", child.name, _DRAIN_S)
                child.kill()
        self._inbox.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End all at once, without draining."""
        for child in self.children:
            child.ask_to_stop()
            child.kill()

    def _read_inbox(self) -> None:
        names = {child.pid: child.name for child in self.children}
        with contextlib.suppress(BlockingIOError):
            while True:
                fields = dict(
                    line.partition("=")[::2] for line in self._inbox.recv(4096).decode().split("\n")
                )
                pid = fields.get("MAINPID", "")
                if fields.get("READY") == "1" and pid.isdigit() and int(pid) in names:
                    self._ready.add(names[int(pid)])


def notify_ready() -> None:
    """Tell whoever supervises this process that it now does its work; nobody may be there."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        message = f"READY=1\nMAINPID={os.getpid()}".encode()
        # A leading @ stands for the NUL of Linux's abstract names.
        sock.sendto(message, "\0" + address[1:] if address[0] == "@" else address)
