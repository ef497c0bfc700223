"""A consumer that acknowledges and forgets, a process of its own: what an MQTT client costs.

    python -m tests.benchmarks.consumer waymark|paho HOST PORT ROOT MESSAGES

Prints `ready` once subscribed to `ROOT/#` and then, after that many messages, the CPU seconds.
"""

import asyncio
import sys
import time

import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from ingest.mqtt import Message, Session, SessionOptions


async def waymark(host: str, port: int, root: str, wanted: int) -> None:
    """Our session, each delivery acknowledged at once."""
    done = asyncio.Event()
    count = 0

    def on_messages(messages: list[Message]) -> None:
        nonlocal count
        session.ack([message.ticket for message in messages])
        count += len(messages)
        if count >= wanted:
            done.set()

    options = SessionOptions(host=host, port=port, client_id=root, filters=(f"{root}/#",))
    session = Session(options, on_messages)
    running = asyncio.create_task(session.run(), name="bench.session")
    await session.wait_connected(10)
    cpu_s = _ready()
    await done.wait()
    _done(cpu_s)
    session.stop()
    await running


def with_paho(host: str, port: int, root: str, wanted: int) -> None:
    """paho-mqtt, acknowledging by hand."""
    client = paho.Client(CallbackAPIVersion.VERSION2, f"{root}-paho", manual_ack=True)
    client.max_inflight_messages_set(65_535)
    state = {"left": wanted, "cpu_s": 0.0}

    def on_subscribe(*_: object) -> None:
        state["cpu_s"] = _ready()

    def on_message(client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        client.ack(message.mid, message.qos)
        state["left"] -= 1
        if not state["left"]:
            _done(state["cpu_s"])
            client.disconnect()

    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect(host, port)
    client.subscribe(f"{root}/#", qos=1)
    client.loop_forever()


def _ready() -> float:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    return time.process_time()


def _done(cpu_s: float) -> None:
    sys.stdout.write(f"{time.process_time() - cpu_s}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    which, host, port, root, wanted = sys.argv[1:]
    if which == "waymark":
        uvloop.run(waymark(host, int(port), root, int(wanted)))
    else:
        with_paho(host, int(port), root, int(wanted))
