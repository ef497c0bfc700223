"""The simulator against a real broker, with an independent subscriber as the judge."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim import Faults, Options, Simulation
from firmware_sim.connection import Broker
from firmware_sim.link import Pace
from firmware_sim.manifest import Ledger
from firmware_sim.publisher import Publisher
from tests.services import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]
HARSH = replace(Faults.preset("harsh"), tunnel_s=5.0, offline_s=10.0, clock_jump_s=5.0)
FAST = Pace(speed=0, connections=4)


@dataclass
class Heard:
    """What a subscriber with a persistent session received on `wm/{tenant}/#`."""

    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    order: list[tuple[str, bytes]] = field(default_factory=list)
    status: dict[str, bytes] = field(default_factory=dict)

    def has(self, count: int) -> bool:
        return self.messages.total() == count

    def take(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/status"):
            self.status[topic.split("/")[2]] = payload
        else:
            self.order.append((topic, payload))
            self.messages[topic, sha256(payload).hexdigest()] += 1


@contextmanager
def subscriber(broker: Mosquitto, tenant: str) -> Iterator[Heard]:
    heard = Heard()
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, f"judge-{tenant}", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *_: c.subscribe(f"wm/{tenant}/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        heard.take(message.topic, bytes(message.payload))

    client.on_message = on_message
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


@dataclass
class Run:
    """A publisher in a thread of its own."""

    publisher: Publisher
    ledger: Ledger
    thread: threading.Thread
    summary: dict[str, Any]

    def has_acked(self, count: int) -> bool:
        return self.ledger.counts["acked"] >= count

    def finish(self) -> dict[str, Any]:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.summary


def start(options: Options, broker: str, pace: Pace, manifest: Path) -> Run:
    out = manifest.open("w")
    ledger = Ledger(out)
    publisher = Publisher(Simulation(options), Broker.parse(broker), pace, ledger)
    summary: dict[str, Any] = {}

    def work() -> None:
        with out:
            summary.update(publisher.run())

    thread = threading.Thread(target=work, name="publisher")
    thread.start()
    return Run(publisher, ledger, thread, summary)


def read(manifest: Path, tenant: str) -> tuple[dict[tuple[str, str], dict[str, Any]], Any]:
    """The manifest's lines by topic and digest, without the lost ones, and its summary."""
    *lines, last = [json.loads(line) for line in manifest.read_text().splitlines()]
    by = {
        (f"wm/{tenant}/{line['device']}/{line['channel']}", line["payload_sha256"]): line
        for line in lines
        if line["published"]
    }
    assert len(by) == sum(bool(line["published"]) for line in lines), "a line tells a reading twice"
    return by, last["summary"]


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    name: str = request.node.name
    return f"{name.replace('[', '-').replace(']', '')}-{os.getpid()}"


def options(tenant: str, **changes: Any) -> Options:  # noqa: ANN401  -- any field of Options
    given = {"devices": 12, "readers": 4, "sensors": 3, "duration_s": 60.0, **changes}
    return Options(tenant=tenant, **given)


@pytest.mark.parametrize("connections", [0, 1, 4])
def test_the_manifest_says_exactly_what_a_subscriber_received(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path, connections: int
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    with subscriber(mosquitto, tenant) as heard:
        pace = Pace(speed=0, connections=connections)
        summary = start(options(tenant, faults=HARSH), mosquitto.url, pace, manifest).finish()
        wait_until(lambda: heard.messages.total() == summary["published"], "all is received")
    told, last = read(manifest, tenant)
    assert {key: line["published"] for key, line in told.items()} == heard.messages
    assert all(line["acked"] for line in told.values())
    assert last == summary
    assert summary["ending"] == "complete"
    assert summary["connections"] == (connections or 19)
    assert min(summary["lost"], summary["malformed"], summary["by"]["readings"]["tag"]) > 0
    assert summary["published"] > summary["readings"] + summary["malformed"]


def test_clean_and_faulty_runs_arrive_as_the_same_distinct_readings(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path
) -> None:
    arrived = []
    for name, clean in (("faulty", False), ("clean", True)):
        manifest = tmp_path / name
        each = f"{tenant}-{name}"
        with subscriber(mosquitto, each) as heard:
            chosen = options(each, faults=HARSH, clean=clean)
            summary = start(chosen, mosquitto.url, FAST, manifest).finish()
            wait_until(partial(heard.has, summary["published"]), "all is received")
        told, _ = read(manifest, each)
        arrived.append(
            {
                (line["device"], line["t"], line["seq"], line["payload_sha256"])
                for line in told.values()
                if not line["malformed"]
            }
        )
        if clean:
            assert set(heard.messages.values()) == {1}
            times = Counter[str]()
            for topic, payload in heard.order:
                seq = json.loads(payload).get("seq", times[topic])
                assert seq >= times[topic]
                times[topic] = seq + 1
    assert arrived[0] == arrived[1]


def test_what_was_acknowledged_survives_restarts_of_the_broker(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    chosen = options(tenant, devices=40, duration_s=200.0, faults=HARSH)
    with subscriber(mosquitto, tenant) as heard:
        run = start(chosen, mosquitto.url, FAST, manifest)
        for share in (1_000, 3_000):
            wait_until(partial(run.has_acked, share), f"{share} acknowledged")
            mosquitto.restart()
        summary = run.finish()
        told, _ = read(manifest, tenant)
        wait_until(lambda: heard.messages.keys() >= told.keys(), "all is received", 60)
    assert heard.messages.keys() == told.keys()
    assert summary["ending"] == "complete"
    assert summary["unacked"] == 0
    assert summary["connects"] > summary["connections"]
    assert summary["resent"] > 0
    for key, line in told.items():
        assert line["acked"]
        # The broker may pass on what it could not acknowledge any more, and then once more.
        assert heard.messages[key] >= 1


def test_a_broker_that_comes_late_gets_everything(tenant: str, tmp_path: Path) -> None:
    broker = Mosquitto()
    manifest = tmp_path / "manifest.jsonl"
    run = start(options(tenant, duration_s=10.0), broker.url, FAST, manifest)
    try:
        time.sleep(0.3)  # long enough for refused attempts; nothing to wait on
        broker.start()
        summary = run.finish()
    finally:
        run.publisher.request_stop()
        run.publisher.request_stop()
        run.thread.join(10)
        broker.close()
    assert summary["ending"] == "complete"
    assert summary["readings"] == summary["acked"] > 100


def test_without_a_broker_it_gives_up_after_the_drain_time(tenant: str, tmp_path: Path) -> None:
    broker = Mosquitto()
    try:
        pace = Pace(speed=0, drain_s=0.5)
        chosen = options(tenant, duration_s=2.0)
        summary = start(chosen, broker.url, pace, tmp_path / "m").finish()
    finally:
        broker.close()
    assert summary["ending"] == "gave up"
    assert summary["acked"] == summary["published"] == 0


def test_time_runs_at_the_speed_asked_for(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path
) -> None:
    began_s = time.monotonic()
    with subscriber(mosquitto, tenant) as heard:
        run = start(options(tenant, duration_s=20.0), mosquitto.url, Pace(speed=10), tmp_path / "m")
        arrivals = []
        while run.thread.is_alive():
            arrivals.append((time.monotonic() - began_s, heard.messages.total()))
            run.thread.join(0.05)
        total = run.finish()["published"]
    assert 1.9 < arrivals[-1][0] < 4
    half = next(count for at_s, count in arrivals if at_s > arrivals[-1][0] / 2)
    assert 0.3 < half / total < 0.7


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", *arguments],
        cwd=ROOT / "firmware-sim",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def endless(broker: Mosquitto, tenant: str, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """A run of five devices without an end, killed at the end of the test if it still is there."""
    fleet = ("--devices=3", "--readers=1", "--sensors=1", "--sensor-interval=1", "--for=0")
    process = command("run", "--mqtt", broker.url, "--tenant", tenant, *fleet, *more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path, kind: signal.Signals
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    faults = ("--interval=0.05", "--offline=0.4", "--offline-s=2", "--duplicates=0.2")
    with (
        subscriber(mosquitto, tenant) as heard,
        endless(mosquitto, tenant, "--json", "--manifest", str(manifest), *faults) as process,
    ):
        wait_until(lambda: heard.messages.total() > 50, "it publishes")
        process.send_signal(kind)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        summary = json.loads(out)
        wait_until(lambda: heard.messages.total() == summary["published"], "all is received")
        wait_until(offline(heard, 5), "all say goodbye")
    told, last = read(manifest, tenant)
    assert {key: line["published"] for key, line in told.items()} == heard.messages
    assert last == summary
    assert (summary["ending"], summary["unacked"]) == ("stopped", 0)


def offline(heard: Heard, devices: int) -> Callable[[], bool]:
    return lambda: list(heard.status.values()) == [b'{"online":false}'] * devices


def test_devices_are_online_until_the_broker_misses_them(mosquitto: Mosquitto, tenant: str) -> None:
    with subscriber(mosquitto, tenant) as heard, endless(mosquitto, tenant) as process:
        wait_until(
            lambda: list(heard.status.values()) == [b'{"online":true}'] * 5, "all are online"
        )
        process.kill()
        wait_until(offline(heard, 5), "all wills arrive")


def test_the_command_line_runs_to_its_end(mosquitto: Mosquitto, tenant: str) -> None:
    process = command("run", "--mqtt", mosquitto.url, "--tenant", tenant, "--for", "5", "--fast")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("complete: 2")


def test_a_journey_catches_up_and_goes_on_in_real_time(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path
) -> None:
    file = tmp_path / "journey.json"
    acts = [{"stay_s": 20}]
    lorry = {"vehicle": "lorry", "device": "gps", "at": [5.0, 52.0], "acts": acts}
    file.write_text(json.dumps({"vehicles": [lorry]}))
    start_ms = int((time.time() - 18) * 1_000)
    with subscriber(mosquitto, tenant) as heard:
        process = command(
            "journey", str(file), "--mqtt", mosquitto.url, "--tenant", tenant, "--json",
            "--start", str(start_ms), "--catch-up",
        )  # fmt: skip
        wait_until(lambda: heard.messages.total() >= 18, "the past is told")
        told_s = time.time()
        out, err = process.communicate(timeout=30)
        ended_s = time.time()
        wait_until(lambda: heard.has(20), "all is received")
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["ending"] == "complete"
    times = [json.loads(payload)["t"] for _, payload in heard.order]
    assert [b - a for a, b in pairwise(times)] == [1_000] * 19
    # Nothing was told before it was so.
    assert times[17] <= told_s * 1_000
    assert times[-1] <= ended_s * 1_000


def test_a_wrong_password_is_told_and_tried_again(tenant: str, tmp_path: Path) -> None:
    empty = tmp_path / "passwords"
    empty.write_text("")
    broker = Mosquitto(f"password_file {empty}")
    text = (broker.folder / "mosquitto.conf").read_text()
    (broker.folder / "mosquitto.conf").write_text(
        text.replace("allow_anonymous true", "allow_anonymous false")
    )
    with broker:
        url = broker.url.replace("//", "//someone:wrong@")
        process = command("run", "--mqtt", url, "--tenant", tenant, "--for", "1", "--drain", "1")
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "gave up" in out
    assert "Not authorized" in err
    assert "trying again" in err
