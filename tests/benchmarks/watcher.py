"""A client that notes when each position reaches it, a process of its own.

    python -m tests.benchmarks.watcher websocket URL API_KEY FLEET WANTED
    python -m tests.benchmarks.watcher mqtt HOST PORT ROOT WANTED

Prints `ready` once it hears everything; the fix time of a message is when it was due. Ends after
WANTED distinct messages, or when told on stdin, with one JSON line.
"""

import asyncio
import json
import os
import sys
import threading
import time
from datetime import datetime

import msgspec
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import connect


class _Update(msgspec.Struct):
    device: str
    fix_time: datetime


class _Frame(msgspec.Struct):
    type: str
    updates: list[_Update] = []
    more: bool = False


class _Payload(msgspec.Struct):
    t: datetime


class Tally:
    """Delays of the messages heard, each counted once, of one fleet and from a moment on."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._since_s = float("inf")  # nothing counts before `begin`
        self._delays_s: dict[tuple[str, float], float] = {}
        self._cpu_s = 0.0

    def begin(self) -> None:
        """Count from now on: what was due earlier belongs to the warm-up."""
        self._delays_s.clear()
        self._since_s = time.time()
        self._cpu_s = time.process_time()

    def note(self, device: str, due: datetime, heard_s: float) -> None:
        """Take one message."""
        due_s = due.timestamp()
        if due_s >= self._since_s:
            self._delays_s.setdefault((device, due_s), heard_s - due_s)

    @property
    def complete(self) -> bool:
        """Whether nothing more can come."""
        return len(self._delays_s) >= self._wanted

    def report(self) -> str:
        """Percentiles in ms, and how many were heard."""
        delays_ms = 1e3 * np.array(list(self._delays_s.values()) or [np.nan])
        p50, p99, most = np.percentile(delays_ms, (50, 99, 100))
        return json.dumps({
            "heard": len(self._delays_s),
            "latency_p50_ms": round(p50, 2),
            "latency_p99_ms": round(p99, 2),
            "latency_max_ms": round(most, 2),
            "cpu_s": time.process_time() - self._cpu_s,
        })  # fmt: skip


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _hear_order() -> None:
    # Unbuffered: a thread inside sys.stdin would hold its lock when the interpreter ends.
    while os.read(0, 1) not in {b"\n", b""}:
        pass


async def watch_websocket(url: str, key: str, fleet: str, tally: Tally) -> None:
    """Subscribe to the whole fleet."""
    decode = msgspec.json.Decoder(_Frame).decode
    over = asyncio.Event()
    threading.Thread(
        target=_wait_for_orders, args=(tally, asyncio.get_running_loop(), over), daemon=True
    ).start()
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(url, additional_headers=headers, max_size=None, compression=None) as feed:
        await feed.send('{"op":"subscribe","id":"bench"}')

        async def hear() -> None:
            async for text in feed:
                heard_s = time.time()
                frame = decode(text)
                if frame.type == "snapshot" and not frame.more:
                    _say("ready")
                for update in frame.updates if frame.type == "positions" else ():
                    if update.device.startswith(fleet):
                        tally.note(update.device, update.fix_time, heard_s)
                if tally.complete:
                    over.set()

        hearing = asyncio.create_task(hear(), name="bench.hear")
        await over.wait()
        hearing.cancel()
    _say(tally.report())


def _wait_for_orders(tally: Tally, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """The first line means the warm-up is over, the second, or the end of stdin, stop."""
    _hear_order()
    loop.call_soon_threadsafe(tally.begin)
    _hear_order()
    loop.call_soon_threadsafe(over.set)


def watch_mqtt(host: str, port: int, root: str, tally: Tally) -> None:
    """Subscribe at QoS 0: what publisher and broker alone take."""
    decode = msgspec.json.Decoder(_Payload).decode
    client = paho.Client(CallbackAPIVersion.VERSION2)
    over = threading.Event()

    def on_message(_: object, __: object, message: paho.MQTTMessage) -> None:
        tally.note(message.topic, decode(message.payload).t, time.time())
        if tally.complete:
            over.set()

    def wait_for_orders() -> None:
        _hear_order()
        tally.begin()
        _hear_order()
        over.set()

    client.on_subscribe = lambda *_: _say("ready")
    client.on_message = on_message
    client.connect(host, port)
    client.subscribe(f"{root}/#", qos=0)
    client.loop_start()
    threading.Thread(target=wait_for_orders, daemon=True).start()
    over.wait()
    client.loop_stop()
    _say(tally.report())


if __name__ == "__main__":
    kind, *rest, wanted = sys.argv[1:]
    if kind == "websocket":
        asyncio.run(watch_websocket(rest[0], rest[1], rest[2], Tally(int(wanted))))
    else:
        watch_mqtt(rest[0], int(rest[1]), rest[2], Tally(int(wanted)))
