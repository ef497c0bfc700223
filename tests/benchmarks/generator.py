"""The load generator, a process of its own: pre-rendered packets down a few plain sockets.

    python -m tests.benchmarks.generator '{"host": ..., "port": ..., ...}'

It connects and renders, prints `ready`, waits for a line on stdin, sends, and ends with one JSON
line. Further lines on stdin raise the number of messages it may send: the caller's back-pressure.
"""

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Self

from tests.benchmarks.packets import Stream, render

# CONNECT, MQTT 3.1.1, clean session, no keep-alive.
_CONNECT = b"\x00\x04MQTT\x04\x02\x00\x00"
_GIVE_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and how fast."""

    host: str
    port: int
    stream: Stream
    connections: int = 4
    rate: float = 0.0  # messages/s; 0 is as fast as the PUBACKs and the allowance let it
    seconds: float = 0.0  # stop after; 0 is never
    in_flight: int = 4_000  # unacknowledged, per connection
    allowance: int = 0  # messages that may be sent before stdin says more; 0 is all
    start_at_s: float = 0.0  # begin at this moment of the wall clock; 0 is at once
    # PUBACKs come one by one; letting them gather spares a system call for each.
    tick_s: float = 0.002

    def argument(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, argument: str) -> Self:
        """The inverse of `argument`."""
        members = json.loads(argument)
        return cls(**{**members, "stream": Stream(**members["stream"])})


class Lane:
    """One connection and the packets that go through it."""

    def __init__(self, load: Load, index: int) -> None:
        packets = render(load.stream, index, load.connections)
        self.total = len(packets)
        self._size: int = packets.shape[1]
        self._bytes = packets.reshape(-1).data
        self._written = 0  # bytes
        self._acked_bytes = 0
        self._in_flight = load.in_flight
        client_id = f"bench-{os.getpid()}-{index}".encode()
        body = _CONNECT + len(client_id).to_bytes(2, "big") + client_id
        self._socket = socket.create_connection((load.host, load.port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(bytes([0x10, len(body)]) + body)
        if self._socket.recv(4, socket.MSG_WAITALL) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refused the load generator")
        self._socket.settimeout(0)

    @property
    def sent(self) -> int:
        """Messages written whole."""
        return self._written // self._size

    @property
    def acked(self) -> int:
        """PUBACKs received; each is four bytes."""
        return self._acked_bytes // 4

    def pump(self, allowed: int, *, to_boundary: bool = False) -> None:
        """Read PUBACKs, then write up to message number `allowed`, never blocking."""
        try:
            while data := self._socket.recv(262_144):
                self._acked_bytes += len(data)
        except BlockingIOError:
            pass
        else:
            raise ConnectionError("the broker closed a connection of the load generator")
        limit = min(allowed, self.total, self.acked + self._in_flight)
        end = limit * self._size
        if to_boundary:
            # A message begun must be finished before the end.
            end = -(-self._written // self._size) * self._size
        if end > self._written:
            with contextlib.suppress(BlockingIOError):
                self._written += self._socket.send(self._bytes[self._written : end])

    @property
    def whole(self) -> bool:
        """Whether no message is half written."""
        return self._written % self._size == 0

    def close(self) -> None:
        """Say goodbye."""
        self._socket.settimeout(10)
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()


class Allowance:
    """How many messages may have been sent by now, as stdin says."""

    def __init__(self, first: int) -> None:
        self._unlimited = first == 0
        self._messages = first
        self._rest = b""
        os.set_blocking(0, False)

    def now(self) -> int | None:
        """The newest number; None when there is no limit."""
        if self._unlimited:
            return None
        try:
            self._rest += os.read(0, 65_536)
        except BlockingIOError:
            return self._messages
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self._messages = int(lines[-1])
        return self._messages


def run(load: Load, lanes: list[Lane]) -> dict[str, float]:
    """Send; return what was sent and what it cost."""
    allowance = Allowance(load.allowance)
    n = len(lanes)
    early_s = load.start_at_s - time.time()
    if load.start_at_s and early_s < 0:
        raise RuntimeError(f"too late by {-early_s:.1f} s: render fewer messages, or start later")
    time.sleep(max(0.0, early_s))
    cpu_s = time.process_time()
    started_s = time.time()
    clock_s = time.monotonic()
    next_s = clock_s
    while True:
        now_s = time.monotonic()
        elapsed_s = now_s - clock_s
        over = bool(load.seconds) and elapsed_s >= load.seconds
        paced = int(elapsed_s * load.rate) if load.rate else None
        limits = [m for m in (paced, allowance.now()) if m is not None]
        allowed = min(limits, default=load.stream.messages)
        for index, lane in enumerate(lanes):
            lane.pump((allowed - index + n - 1) // n, to_boundary=over)
        finished = over or all(lane.sent == lane.total for lane in lanes)
        if finished and all(lane.whole and lane.acked >= lane.sent for lane in lanes):
            break
        if elapsed_s > (load.seconds or _GIVE_UP_S) + _GIVE_UP_S:
            raise TimeoutError("the broker does not acknowledge")
        next_s += load.tick_s
        time.sleep(max(0.0, next_s - time.monotonic()))
        next_s = max(next_s, time.monotonic() - load.tick_s)
    return {
        "published": sum(lane.sent for lane in lanes),
        "started_s": started_s,
        "seconds": time.monotonic() - clock_s,
        "cpu_s": time.process_time() - cpu_s,
    }


def main() -> None:
    load = Load.parse(sys.argv[1])
    lanes = [Lane(load, index) for index in range(load.connections)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    # One line exactly: what follows belongs to `Allowance`.
    while os.read(0, 1) not in {b"\n", b""}:
        pass
    report = run(load, lanes)
    for lane in lanes:
        lane.close()
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
