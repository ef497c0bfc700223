"""Many websocket clients in one process, which count what reaches them.

    python -m tests.benchmarks.audience '{"url": ..., "clients": 1000, ...}'

A few clients are whole ones and note delays; the others only find the positions in the bytes, for
a client that parses costs more than the server that sends. Prints `ready` once everybody hears;
counts from the first line on stdin to the second, then prints one JSON line.
"""

import asyncio
import base64
import json
import os
import random
import resource
import sys
import time
from datetime import datetime
from typing import cast
from urllib.parse import urlsplit

import msgspec
import numpy as np
import uvloop
from websockets.asyncio.client import ClientConnection, connect

# Each position names its device, and nothing else in a frame is called so.
_MARK = b'"device":'
_AT_ONCE = 50
_JOIN_WITHIN_S = 60.0


class Crowd(msgspec.Struct):
    """Who listens. Without `key` nothing is said, and every message is a position by itself."""

    url: str
    clients: int
    whole: int
    key: str = ""
    # The fleet's ground, if each wants a box of its own: west, south, degrees.
    ground: tuple[float, float, float] | None = None
    # How much of the ground's side a box has, between these.
    sides: tuple[float, float] = (0.2, 0.45)
    # Server-sent events instead of websockets.
    stream: bool = False
    # Clients beside the others that subscribe and never read again.
    deaf: int = 0


class _Update(msgspec.Struct):
    fix_time: datetime


class _Frame(msgspec.Struct):
    type: str = "positions"
    updates: list[_Update] = []
    fix_time: datetime | None = None


class Counts:
    """What all clients heard since `begin`."""

    def __init__(self) -> None:
        self.positions = 0
        self.bytes = 0
        self.delays_s: list[float] = []
        self._began_s = self._cpu_s = 0.0

    def begin(self) -> None:
        """Count from now."""
        self.positions = self.bytes = 0
        self.delays_s = []
        self._began_s, self._cpu_s = time.monotonic(), time.process_time()

    def report(self) -> str:
        """Rates, and delays of the whole clients."""
        seconds = time.monotonic() - self._began_s
        p50, p99, most = np.percentile(1e3 * np.array(self.delays_s or [np.nan]), (50, 99, 100))
        return json.dumps({
            "positions": self.positions,
            "seconds": seconds,
            "mb_per_s": self.bytes / 1e6 / seconds,
            "latency_p50_ms": p50,
            "latency_p99_ms": p99,
            "latency_max_ms": most,
            "cpu_s": time.process_time() - self._cpu_s,
        })  # fmt: skip


class Listener(asyncio.Protocol):
    """A client that shakes hands, subscribes, and from then on finds positions in bytes."""

    def __init__(self, counts: Counts, hello: bytes, subscribe: bytes | None) -> None:
        self.heard = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._counts = counts
        self._hello = hello
        self._subscribe = subscribe
        self._start = b""
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a websocket."""
        # uvloop's transports inherit from none of asyncio's classes.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        """Find what came, also where a mark is cut in two."""
        if not self.heard.done():
            self._begin(data)
            return
        seam = self._tail + data[: len(_MARK) - 1]
        self._counts.positions += data.count(_MARK) + seam.count(_MARK)
        self._counts.bytes += len(data)
        self._tail = data[1 - len(_MARK) :]

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody may be lost unnoticed."""
        if not self.heard.done():
            self.heard.set_exception(exc or ConnectionResetError(self._start[:200]))
        elif not self.transport.is_closing():
            raise RuntimeError("a client was cut off") from exc

    def _begin(self, data: bytes) -> None:
        before, self._start = self._start, self._start + data
        if b"\r\n\r\n" not in before and b"\r\n\r\n" in self._start:
            if not self._start.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 200 ")):
                self.heard.set_exception(ConnectionError(self._start[:200].decode()))
            elif self._subscribe is None:
                self.heard.set_result(None)
            else:
                self.transport.write(self._subscribe)
        if b'"snapshot"' in self._start and not self.heard.done():
            self.heard.set_result(None)


async def listen(crowd: Crowd) -> None:
    """Be the crowd until told to stop."""
    luck, counts, loop = random.Random(1), Counts(), asyncio.get_running_loop()
    parts = urlsplit(crowd.url)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def join(filter_: dict[str, object]) -> Listener:
        async with gate:
            _, listener = await loop.create_connection(
                lambda: Listener(counts, _hello(crowd), _subscribe(crowd, filter_)),
                parts.hostname or "",
                parts.port or 0,
            )
            await listener.heard
            return listener

    plain = crowd.clients - crowd.whole
    async with asyncio.timeout(_JOIN_WITHIN_S):
        listeners = await asyncio.gather(*(join(filter_of(crowd, luck)) for _ in range(plain)))
        for listener in await asyncio.gather(*(join({}) for _ in range(crowd.deaf))):
            listener.transport.pause_reading()
        whole = [await _whole(crowd, filter_of(crowd, luck)) for _ in range(crowd.whole)]
    watching = [asyncio.create_task(_watch(each, counts), name="bench.watch") for each in whole]
    _say("ready")
    await loop.run_in_executor(None, sys.stdin.readline)
    counts.begin()
    await loop.run_in_executor(None, sys.stdin.readline)
    _say(counts.report())
    for task in watching:
        task.cancel()
    for listener in listeners:
        listener.transport.abort()


async def _whole(crowd: Crowd, filter_: dict[str, object]) -> ClientConnection:
    headers = {"Authorization": f"Bearer {crowd.key}"} if crowd.key else {}
    client = await connect(
        crowd.url, additional_headers=headers, max_size=None, compression=None, proxy=None
    )
    if crowd.key:
        await client.send(json.dumps({"op": "subscribe", "id": "s", "filter": filter_}))
        while json.loads(await client.recv())["type"] != "snapshot":
            pass
    return client


async def _watch(client: ClientConnection, counts: Counts) -> None:
    decode = msgspec.json.Decoder(_Frame).decode
    async for text in client:
        heard_s = time.time()
        frame = decode(text)
        fixes = frame.updates if frame.fix_time is None else [_Update(frame.fix_time)]
        counts.positions += len(fixes)
        counts.bytes += len(text)
        counts.delays_s += [heard_s - fix.fix_time.timestamp() for fix in fixes]


def filter_of(crowd: Crowd, luck: random.Random) -> dict[str, object]:
    """What one client subscribes to."""
    if crowd.ground is None:
        return {}
    west, south, side = crowd.ground
    wide, high = (side * luck.uniform(*crowd.sides) for _ in range(2))
    left, low = west + luck.random() * (side - wide), south + luck.random() * (side - high)
    return {"bbox": [left, low, left + wide, low + high]}


def _hello(crowd: Crowd) -> bytes:
    parts = urlsplit(crowd.url)
    path = "/v1/feed/sse" if crowd.stream else parts.path
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        *([f"Authorization: Bearer {crowd.key}"] if crowd.key else []),
    ]
    if not crowd.stream:
        lines += [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
    return "\r\n".join([*lines, "", ""]).encode()


def _subscribe(crowd: Crowd, filter_: dict[str, object]) -> bytes | None:
    """A masked text frame, a mask of zeros leaves the text as it is; None: there is no snapshot."""
    if not crowd.key:
        return None
    if crowd.stream:
        return b""
    text = json.dumps({"op": "subscribe", "id": "s", "filter": filter_}).encode()
    return bytes((0x81, 0xFE)) + len(text).to_bytes(2, "big") + bytes(4) + text


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read who listens, and listen."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(listen(msgspec.json.decode(sys.argv[1], type=Crowd)))


if __name__ == "__main__":
    main()
