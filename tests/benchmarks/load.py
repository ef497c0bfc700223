"""One run of the load generator, seen from the process that commands it."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.generator import Load
from tests.benchmarks.processes import Program


@dataclass(frozen=True, slots=True)
class Sent:
    """What the generator reports: CPU time is that of sending alone, not of rendering."""

    published: int
    started_s: float  # wall clock
    seconds: float
    cpu_s: float


class Generator:
    """A generator that has connected and rendered, and waits to be told to `go`."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def go(self) -> None:
        """Begin to send."""
        self._program.tell("go")

    def allow(self, messages: int) -> None:
        """Let it have sent this many by now."""
        self._program.tell(str(messages))

    @property
    def finished(self) -> bool:
        """Whether all is sent and acknowledged by the broker."""
        try:
            self._program.process.wait(0.001)
        except subprocess.TimeoutExpired:
            return False
        return True

    def report(self) -> Sent:
        """Wait for its end."""
        words = json.loads(self._program.hear())
        return Sent(**{**words, "published": int(words["published"])})


@contextlib.contextmanager
def generator(load: Load) -> Iterator[Generator]:
    """Start a generator and wait until it is ready."""
    with Program("tests.benchmarks.generator", load.argument()) as program:
        ready = program.hear()
        assert ready == "ready", ready
        yield Generator(program)
