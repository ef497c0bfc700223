"""Api and monitor processes, and a balancer before the apis that knows nothing."""

import asyncio
import contextlib
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.rig import World, environment
from tests.services import accepts, free_port, wait_until


@dataclass
class Api:
    """An api process on a port of its own, which it keeps."""

    world: World
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waymark", "api"],
                env=environment(
                    WAYMARK_DATABASE_URL=self.world.postgres.url(),
                    WAYMARK_REDIS_URL=self.world.valkey.url,
                    WAYMARK_HTTP_PORT=str(self.port),
                    **self.settings,
                ),
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: accepts(self.port), "the api listens", 60)

    def stop(self) -> None:
        """Ask it to end; it does so within seconds, whatever its clients do."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(30) == 0
            self.process = None

    def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None


@dataclass
class Monitor:
    """The monitor process: what keeps shipments, and raises what no message brings."""

    world: World
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waymark", "monitor"],
                env=environment(
                    WAYMARK_DATABASE_URL=self.world.postgres.url(),
                    WAYMARK_REDIS_URL=self.world.valkey.url,
                    **self.settings,
                ),
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(30) == 0
            self.process = None


class RoundRobin:
    """Passes each connection to the next backend in turn that takes it; bytes are bytes to it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._turns = itertools.cycle(ports)
        self._attempts = len(ports)
        self._served: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.passed = dict.fromkeys(ports, 0)
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        task.add_done_callback(self._served.discard)
        for _ in range(self._attempts):
            port = next(self._turns)
            with contextlib.suppress(OSError):
                answers, ahead = await asyncio.open_connection("127.0.0.1", port)
                self.passed[port] += 1
                await asyncio.gather(self._pass_on(reader, ahead), self._pass_on(answers, writer))
                return
        await self._close(writer)

    async def end(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._served)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def round_robin(ports: Sequence[int]) -> AsyncIterator[RoundRobin]:
    """Balance over these ports, on a port of its own."""
    balancer = RoundRobin(ports)
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", 0)
    balancer.port = server.sockets[0].getsockname()[1]
    try:
        yield balancer
    finally:
        server.close()
        await balancer.end()
