"""CPU per message of receiving at QoS 1 through a real Mosquitto and acknowledging."""

import itertools
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from tests.benchmarks.generator import Load
from tests.benchmarks.load import generator
from tests.benchmarks.processes import Program, cpu_s
from tests.benchmarks.result import Result, Role, Row, spread
from tests.benchmarks.rivals import wait_for_end
from tests.benchmarks.samples import stream
from tests.services import Mosquitto

_DEVICES = 1_000
_runs = itertools.count()
_CASES: dict[str, tuple[str, Role]] = {
    "waymark": ("ingest.mqtt, acknowledged in blocks", "waymark"),
    "paho": ("paho-mqtt, manual ack", "peer"),
    "mosquitto_sub": ("mosquitto_sub to nowhere", "bound"),
}


def run(*, quick: bool) -> Result:
    """Flat out and at a fixed rate; ours, paho and the C client."""
    messages, repeats = (10_000, 1) if quick else (30_000, 3)
    result = Result(
        "client",
        "MQTT client at QoS 1, CPU per message",
        {"messages": messages, "repeats": repeats},
    )
    with Mosquitto() as broker:
        for rate in (0.0,) if quick else (0.0, 10_000.0):
            pace = f"{rate:,.0f}/s" if rate else "flat out"
            figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
            for _ in range(repeats):
                for which in _CASES:
                    for name, value in _measure(broker, which, messages, rate).items():
                        figures[which][name].append(value)
            medians = {which: spread(figures[which]) for which in _CASES}
            for which, (case, role) in _CASES.items():
                result.rows.append(Row(f"{case}, {pace}", role, medians[which]))
            for rival in ("paho", "mosquitto_sub"):
                ratio = medians["waymark"]["client_us"] / medians[rival]["client_us"]
                result.ratios[f"client CPU over {rival}, {pace}"] = ratio
    return result


def _measure(broker: Mosquitto, which: str, messages: int, rate: float) -> dict[str, float]:
    # Topics of its own: what a kept session of an earlier run would still be sent is another's.
    root = f"client{next(_runs)}"
    topics = replace(stream(_DEVICES, messages), root=f"{root}/default")
    load = Load(broker.host, broker.port, topics, rate=rate)
    assert broker.process is not None
    with generator(load) as source:
        if which == "mosquitto_sub":
            return _c_client(broker, root, source.go, messages)
        arguments = (which, broker.host, str(broker.port), root, str(messages))
        with Program("tests.benchmarks.consumer", *arguments) as consumer:
            assert consumer.hear() == "ready"
            broker_s, started_s = cpu_s(broker.process.pid), time.monotonic()
            source.go()
            client_s = float(consumer.hear())
            seconds = time.monotonic() - started_s
            return _figures(messages, seconds, client_s, cpu_s(broker.process.pid) - broker_s)


def _c_client(
    broker: Mosquitto, root: str, go: Callable[[], None], messages: int
) -> dict[str, float]:
    program = shutil.which("mosquitto_sub")
    assert program is not None, "no mosquitto_sub: `apt-get install mosquitto-clients`"
    assert broker.process is not None
    options = f"-h {broker.host} -p {broker.port} -q 1 -t {root}/# -F %t -C {messages}"
    subscriber = subprocess.Popen([program, *options.split()], stdout=subprocess.DEVNULL)
    try:
        # It does not say when it has subscribed; a message it missed would show as a timeout.
        time.sleep(1.0)
        broker_s, started_s = cpu_s(broker.process.pid), time.monotonic()
        go()
        wait_for_end(subscriber)
        seconds = time.monotonic() - started_s
        spent_s = cpu_s(subscriber.pid)
        return _figures(messages, seconds, spent_s, cpu_s(broker.process.pid) - broker_s)
    finally:
        if subscriber.poll() is None:
            subscriber.kill()
        subscriber.wait()


def _figures(messages: int, seconds: float, client_s: float, broker_s: float) -> dict[str, float]:
    return {
        "msgs_per_s": messages / seconds,
        "client_us": 1e6 * client_s / messages,
        "broker_us": 1e6 * broker_s / messages,
    }
