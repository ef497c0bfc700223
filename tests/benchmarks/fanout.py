"""From Redis to a thousand websocket clients: what a position costs for each client it reaches.

Beside it a bare `websockets` server that sends the same positions one by one, and as a bound the
least that can be done: ten joined, framed once and written to each transport.
"""

import contextlib
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from redis import Redis

from api.feed.audience import InterestIndex
from api.feed.requests import Filter, interest_of
from tests.benchmarks.audience import Crowd, filter_of
from tests.benchmarks.fixes import DEVICES, GROUND, fix
from tests.benchmarks.processes import Meter, Others, Program
from tests.benchmarks.result import Goal, Result, Row
from tests.benchmarks.stack import Stack, running_stack
from tests.services import accepts, wait_until
from tracking.feed import encode_position, encode_positions, live_position, positions_channel
from tracking.store.keys import create_key
from waymark.embedded.server import free_port

CLIENTS = 1_000
# Few enough to cost nothing, enough for a p99 over all.
_WHOLE = 20
# A fleet with a fix each 10 s, and one of a hundredth.
_BUSY, _CALM = DEVICES // 10, 100
# As many as bare broadcast can still send.
_BARE_RATE = 40
_PUBLISH_EACH_S = 0.02
_TICKS_PER_S = 10
_WANTED = 0.25
# Sides of a box that holds a thousandth of the ground.
_SMALL = (0.01, 0.05)


@dataclass(frozen=True, slots=True)
class Api:
    """A running api that nobody else uses."""

    stack: Stack
    program: Program
    port: int
    key: str

    def crowd(self, **more: object) -> Crowd:
        """Clients of it."""
        url = f"ws://127.0.0.1:{self.port}/v1/feed"
        return msgspec.convert(
            {"url": url, "clients": CLIENTS, "whole": _WHOLE, "key": self.key, **more}, Crowd
        )


def run(*, quick: bool) -> Result:
    """Send to a thousand clients: the whole fleet, boxes, and with one that never reads."""
    seconds = 3 if quick else 10
    result = Result(
        "fanout",
        f"{CLIENTS:,} websocket clients; a delivery is one position at one client",
        {
            "seconds": seconds,
            "clients": CLIENTS,
            "devices": DEVICES,
            "position_bytes": len(encode_position(fix(0))),
            "boxes": "sides of 0.2 to 0.45 of the ground's",
        },
    )
    by_cells, by_asking = _choosing()
    bare = _bare(_BARE_RATE, 1, seconds)
    joined = _bare(10 * _BARE_RATE, 10, seconds)
    with _running_api() as api:
        calm = _ours(api, _CALM, seconds, api.crowd())
        busy = _ours(api, _BUSY, seconds, api.crowd())
        boxes = _ours(api, _BUSY, seconds, api.crowd(ground=GROUND))
        streams = _ours(api, _CALM, seconds, api.crowd(stream=True))
        deaf = _ours(api, _BUSY, seconds, api.crowd(deaf=1))
    result.rows += [
        Row(f"whole fleet, {_CALM}/s", "waymark", calm),
        Row(f"whole fleet, {_BUSY:,}/s", "waymark", busy),
        Row(f"a box each, {_BUSY:,}/s", "waymark", boxes),
        Row(f"server-sent events, whole fleet, {_CALM}/s", "waymark", streams),
        Row(f"whole fleet, {_BUSY:,}/s, one more never reads", "waymark", deaf),
        Row(f"websockets broadcast, {_BARE_RATE}/s", "peer", bare),
        Row(f"ten joined and written, {10 * _BARE_RATE}/s", "bound", joined),
        Row("everybody moves in one tick, by cells", "waymark", by_cells),
        Row("everybody moves in one tick, asking each", "peer", by_asking),
    ]
    result.ratios["choosing by cells, over asking each"] = (
        by_cells["choosing_ms"] / by_asking["choosing_ms"]
    )
    for name, ours in (("whole fleet", busy), ("whole fleet, calm", calm), ("a box each", boxes)):
        share = ours["server_us_per_delivery"] / bare["server_us_per_delivery"]
        result.ratios[f"{name}, cost over bare"] = share
        result.goals.append(Goal(f"{name}, cost over bare", share, _WANTED, at_most=True))
    result.ratios["p99 with one that never reads, over without"] = (
        deaf["latency_p99_ms"] / busy["latency_p99_ms"]
    )
    return result


def _choosing() -> tuple[dict[str, float], dict[str, float]]:
    """What it takes to find out who wants which of 10,000 positions, each of 1,000 with a small
    box: by the index, and by comparing every position with every box.
    """  # noqa: D205 -- one contract
    luck = random.Random(1)
    crowd = Crowd("", CLIENTS, 0, ground=GROUND, sides=_SMALL)
    interests = [
        interest_of(msgspec.convert(filter_of(crowd, luck), Filter)) for _ in range(CLIENTS)
    ]
    positions = [live_position(encode_position(fix(number))) for number in range(DEVICES)]
    index = InterestIndex[int]()
    started_s = time.process_time()
    for member, interest in enumerate(interests):
        index.add(interest, member)
    added_s = time.process_time() - started_s
    spent = {}
    for name, choose in (
        ("cells", lambda: list(index.choose(positions).values())),
        ("asking", lambda: [interest.choose(positions) for interest in interests]),
    ):
        started_s = time.process_time()
        found = choose()
        spent[name] = {
            "choosing_ms": 1e3 * (time.process_time() - started_s),
            "chosen": float(sum(map(len, found))),
        }
    assert spent["cells"]["chosen"] == spent["asking"]["chosen"]
    return {**spent["cells"], "subscribing_ms": 1e3 * added_s / CLIENTS}, spent["asking"]


def _bare(rate: int, joined: int, seconds: int) -> dict[str, float]:
    with Program("tests.benchmarks.broadcaster", str(rate), str(joined)) as server:
        crowd = Crowd(f"ws://127.0.0.1:{server.hear()}/", CLIENTS, _WHOLE)
        return _measured(crowd, {"server": server.pid}, lambda: time.sleep(seconds))


def _ours(api: Api, rate: int, seconds: int, crowd: Crowd) -> dict[str, float]:
    pids = {"server": api.program.pid, "valkey": api.stack.pids["valkey"]}
    with Redis.from_url(api.stack.redis_url) as redis:
        figures = _measured(crowd, pids, lambda: _publish(redis, rate, seconds))
    # Ten ticks a second, each a frame for everybody: the fleet is never still.
    per_frame = figures["deliveries_per_s"] / (CLIENTS * _TICKS_PER_S)
    return {
        **figures,
        "positions_per_frame": per_frame,
        "server_us_per_frame": per_frame * figures["server_us_per_delivery"],
    }


def _publish(redis: Redis, rate: int, seconds: int) -> None:
    """Send positions as workers do, some every 20 ms."""
    channel, numbers = positions_channel("default"), itertools.count()
    due_s = time.monotonic()
    for _ in range(round(seconds / _PUBLISH_EACH_S)):
        fixes = [fix(next(numbers)) for _ in range(round(rate * _PUBLISH_EACH_S))]
        redis.publish(channel, encode_positions(fixes))
        due_s += _PUBLISH_EACH_S
        time.sleep(max(0.0, due_s - time.monotonic()))


def _measured(crowd: Crowd, pids: dict[str, int], load: Callable[[], None]) -> dict[str, float]:
    with Program("tests.benchmarks.audience", msgspec.json.encode(crowd).decode()) as audience:
        assert audience.hear() == "ready"
        audience.tell("begin")
        meter, others = Meter(pids), Others()
        load()
        cpu = meter.read()
        audience.tell("stop")
        heard = json.loads(audience.hear())
    positions = heard["positions"]
    server_us = 1e6 * cpu["server"]
    return {
        "deliveries_per_s": positions / heard["seconds"],
        "server_us_per_delivery": server_us / positions,
        "server_cores": cpu["server"] / heard["seconds"],
        **{name: heard[name] for name in heard if name.startswith(("latency", "mb_"))},
        "clients_us_per_delivery": 1e6 * heard["cpu_s"] / positions,
        **others.read(sum(cpu.values()) + heard["cpu_s"]),
    }


@contextlib.contextmanager
def _running_api() -> Iterator[Api]:
    with running_stack() as stack:
        key = create_key(stack.database_url, "default", "bench", "viewer")
        port = free_port()
        env = {**stack.environment(), "WAYMARK_HTTP_PORT": str(port)}
        with Program("waymark", "api", env=env) as program:

            def answers() -> bool:
                if program.process.poll() is not None:
                    raise RuntimeError(f"the api ended: {program.last_words()}")
                return accepts(port)

            wait_until(answers, "the api listens")
            yield Api(stack, program, port, key)
