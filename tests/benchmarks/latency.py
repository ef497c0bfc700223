"""From a message's due time at its publisher to a websocket client, through everything.

Beside it the bound: the same load from publisher to an MQTT subscriber, through Mosquitto alone.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.benchmarks.generator import Load
from tests.benchmarks.load import generator
from tests.benchmarks.packets import Stream
from tests.benchmarks.processes import Meter, Others, Program
from tests.benchmarks.result import Result, Row
from tests.benchmarks.stack import Stack, Worker, running_stack, running_worker
from tests.services import accepts, wait_until
from tracking.store.keys import create_key
from waymark.embedded.server import free_port

RATES = (1_000, 5_000)
# Each device sends rarely enough that no tick of the feed holds two of its positions.
_DEVICES = 5_000
_WARM_TURNS = 8
# The generator starts, renders and connects within this time.
_AHEAD_S = 4.0
# What was sent last may take this long to be heard.
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a message passes, and a key to see it arrive."""

    stack: Stack
    worker: Worker
    api: Program
    http_port: int
    key: str


def run(*, quick: bool) -> Result:
    """Publish at two rates, watched by one client that sees the whole fleet."""
    seconds, rates = (3, RATES[-1:]) if quick else (8, RATES)
    result = Result(
        "latency",
        "publish due to websocket client, one client, whole fleet",
        {"seconds": seconds, "devices": _DEVICES},
    )
    with _running_site() as site:
        for rate in rates:
            result.rows.append(_websocket(site, rate, seconds))
            result.rows.append(_mqtt(site.stack, rate, seconds))
    for rate, ours in zip(rates, result.rows[::2], strict=True):
        for share in ("p50", "p99"):
            result.ratios[f"{share} at {rate:,}/s, ms"] = ours.figures[f"latency_{share}_ms"]
    return result


def _websocket(site: Site, rate: int, seconds: int) -> Row:
    stack, fleet = site.stack, f"w{rate // 1_000}"
    warm = Stream(fleet, _DEVICES, _WARM_TURNS * _DEVICES, _ahead_us(-60.0), 5_000_000)
    messages = rate * seconds
    url = f"ws://127.0.0.1:{site.http_port}/v1/feed"
    watch = ("tests.benchmarks.watcher", "websocket", url, site.key, fleet, str(messages))
    pids = {**stack.pids, "worker": site.worker.pid, "api": site.api.pid}
    with Program(*watch) as watcher:
        assert watcher.hear() == "ready"
        before = site.worker.settled()
        with generator(Load(stack.mqtt_host, stack.mqtt_port, warm)) as warming:
            warming.go()
            warming.report()
        wait_until(lambda: site.worker.settled() - before >= warm.messages, "the fleet is warm", 60)
        figures = _watch(stack, _due(warm, rate, messages), rate, watcher, pids)
    return Row(f"websocket client, {rate:,}/s", "waymark", figures)


def _mqtt(stack: Stack, rate: int, seconds: int) -> Row:
    root = f"mqtt{rate}"
    fleet = Stream("mq", _DEVICES, 0, 0, 5_000_000, root=f"{root}/default")
    watch = ("mqtt", stack.mqtt_host, str(stack.mqtt_port), root, str(rate * seconds))
    with Program("tests.benchmarks.watcher", *watch) as watcher:
        assert watcher.hear() == "ready"
        pids = {"broker": stack.pids["broker"]}
        figures = _watch(stack, _due(fleet, rate, rate * seconds), rate, watcher, pids)
    return Row(f"bound: MQTT subscriber, {rate:,}/s", "bound", figures)


def _due(fleet: Stream, rate: int, messages: int) -> Stream:
    """What follows on a stream: messages whose fix time is the moment they are due, from soon."""
    step_us, first_step = _DEVICES * 1_000_000 // rate, fleet.after(fleet.messages)
    return replace(
        fleet,
        messages=messages,
        start_us=_ahead_us(_AHEAD_S) - first_step * step_us,
        step_us=step_us,
        first_step=first_step,
    )


def _ahead_us(seconds: float) -> int:
    return round((time.time() + seconds) * 1e3) * 1_000


def _watch(
    stack: Stack, live: Stream, rate: int, watcher: Program, pids: dict[str, int]
) -> dict[str, float]:
    due_s = int(live.fix_times_us()[0]) / 1e6
    load = Load(
        stack.mqtt_host, stack.mqtt_port, live, rate=rate, tick_s=0.001, start_at_s=due_s
    )  # fmt: skip
    with generator(load) as source:
        watcher.tell("begin")
        meter, others = Meter(pids), Others()
        source.go()
        sent = source.report()
        deadline_s = time.monotonic() + _GRACE_S
        while watcher.process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        watcher.tell("stop")
        heard = json.loads(watcher.hear())
    cpu = meter.read() | {"generator": sent.cpu_s, "client": heard.pop("cpu_s")}
    return {
        **heard,
        "unheard": sent.published - heard["heard"],
        **{f"{name}_us": 1e6 * spent / sent.published for name, spent in cpu.items()},
        **others.read(sum(cpu.values())),
    }


@contextlib.contextmanager
def _running_site() -> Iterator[Site]:
    with running_stack() as stack, running_worker(stack) as worker:
        key = create_key(stack.database_url, "default", "bench", "viewer")
        port = free_port()
        env = {**stack.environment(), "WAYMARK_HTTP_PORT": str(port)}
        with Program("waymark", "api", env=env) as api:

            def answers() -> bool:
                if api.process.poll() is not None:
                    raise RuntimeError(f"the api ended: {api.last_words()}")
                return accepts(port)

            wait_until(answers, "the api listens")
            yield Site(stack, worker, api, port, key)
