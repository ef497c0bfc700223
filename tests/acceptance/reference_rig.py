"""The processes beside ingest, and reference services that are killed again and again."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.rig import environment
from tests.services import wait_until


@dataclass
class Program:
    """A process of one of our modules that is started, stopped and killed, and keeps its log."""

    arguments: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                env=environment(**self.env),
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to end, which it does without a complaint."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(30)
            self.process = None
            assert code == 0, f"{self.arguments}: {code}\n{self.log.read_text()[-2_000:]}"

    def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        assert self.process is not None
        assert self.process.poll() is None, f"it ended by itself: {self.log.read_text()[-2_000:]}"
        self.process.kill()
        self.process.wait(10)
        self.process = None


@dataclass
class Service:
    """A reference service under attack: `progress` asks its own database how far it is.

    It is killed in the midst of work: when it got a few events further than at its start.
    """

    name: str
    folder: Path
    env: Mapping[str, str]
    progress: str
    luck: random.Random
    arguments: tuple[str, ...] = ()
    kills: int = 0
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.db = self.folder / f"{self.name}.db"
        module = (f"examples.{self.name}", "--db", str(self.db), *self.arguments)
        self.program = Program(module, self.env, self.folder / f"{self.name}.log")

    def attack(self, times: int) -> None:
        """Kill and start it at random so many times; then leave it running."""
        wait_until(self.db.exists, f"{self.name} begins")
        while self.kills < times:
            self._torment()
            time.sleep(self.luck.uniform(0, 0.3))
            self.program.start()

    def _torment(self) -> None:
        """Wait until it is at work; the first time only until it has begun to begin."""
        time.sleep(self.luck.uniform(0.3, 2.5))
        further = self.luck.randint(1, 12)
        limit_s = time.monotonic() + (10 if self.kills else 0)
        with self._watched() as reached:
            began = reached()
            while reached() < began + further and time.monotonic() < limit_s:
                time.sleep(self.luck.uniform(0.002, 0.004))
        self.program.kill()
        self.kills += 1

    @contextmanager
    def _watched(self) -> Iterator[Callable[[], int]]:
        """How far it is; 0 before it has begun."""
        with closing(self._read()) as db:

            def reached() -> int:
                try:
                    row = db.execute(self.progress).fetchone()
                except sqlite3.OperationalError:
                    return 0
                return 0 if row is None else int(row[0])

            yield reached

    def end(self) -> None:
        """Leave nothing behind, however the test ended."""
        if self.program.process is not None:
            self.program.kill()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What its database answers."""
        with closing(self._read()) as db:
            return db.execute(query).fetchall()

    def _read(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=5)

    def truth(self) -> dict[str, Any]:
        """What it says it knows."""
        shown = subprocess.run(
            [sys.executable, "-m", *self.program.arguments, "--show"],
            env=environment(**self.env), capture_output=True, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(shown.stdout)
        return found


def blows(*planned: tuple[float, Callable[[], object]]) -> None:
    """Strike each at its second from now."""
    started = time.monotonic()
    for at_s, blow in planned:
        time.sleep(max(0.0, started + at_s - time.monotonic()))
        blow()
