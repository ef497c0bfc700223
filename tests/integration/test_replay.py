"""Replay through a real Mosquitto, seen by an independent subscriber."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from tests.acceptance.count_capmetro import count
from tests.services import Mosquitto, wait_until
from tracking.errors import BrokerError
from waymark.replay.command import replay
from waymark.replay.publish import Publisher, parse_url

pytestmark = pytest.mark.long

app = typer.Typer()
app.command()(replay)
PROGRAM = "import typer; from waymark.replay.command import replay; typer.run(replay)"


class Witness:
    """A subscriber of its own session, which outlives its connection; keeps all it receives."""

    def __init__(self, server: Mosquitto, topics: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._subscribed = threading.Event()
        self._topics = topics
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"witness-{uuid.uuid4()}", clean_session=False
        )
        self._client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]  # seconds, any number
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._keep
        self._client.connect(server.host, server.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _keep(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload)))

    def wait_for(self, number: int) -> list[tuple[str, bytes]]:
        wait_until(lambda: len(self.messages) >= number, f"{number} messages arrive")
        return self.messages

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


Watch = Callable[[Mosquitto, str], Witness]


@pytest.fixture
def watch() -> Iterator[Watch]:
    witnesses: list[Witness] = []

    def start(server: Mosquitto, tenant: str) -> Witness:
        witnesses.append(Witness(server, f"wm/{tenant}/#"))
        return witnesses[-1]

    yield start
    for witness in witnesses:
        witness.close()


@pytest.fixture
def tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    summary = json.loads(result.stdout) if result.stdout else {}
    return result.exit_code, summary, result.stderr


DIRT = ["", ",1700000000,1,2,3,r", "bus 1,170000", "bus 2,never,1,2,,r"]


def fleet_csv(folder: Path, rows: int) -> Path:
    """Rows out of order, with repeats, faults and broken lines."""
    rng = random.Random(7)
    lines = ["device,t,lon,lat,speed_mps,route"]
    for _ in range(rows):
        t = 1_700_000_000 + rng.randrange(rows)
        lines.append(f"bus {rng.randrange(20)},{t},{rng.uniform(-200, 200):.5f},52.1,3.5,r1")
        lines.append(rng.choice(lines[1:]))
        if rng.random() < 0.05:
            lines.append(
                rng.choice(["", ",1700000000,1,2,3,r", "bus 1,170000", "bus 2,never,1,2,,r"])
            )
    path = folder / "fleet.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_independent_subscriber_receives_exactly_the_messages_counted(
    mosquitto: Mosquitto, watch: Watch, tenant: str, tmp_path: Path
) -> None:
    path = fleet_csv(tmp_path, 1_600)
    witness = watch(mosquitto, tenant)
    rejects = tmp_path / "rejects.csv"
    options = [str(path), "--tenant", tenant]
    code, summary, _ = run(*options, "--mqtt", mosquitto.url, "--rejects", str(rejects))
    assert code == 0
    assert summary["published"] == summary["readings"] > 3_000
    received = witness.wait_for(summary["published"])

    _, checked, _ = run(*options, "--check", "--print", "10000")
    promised = [(found["topic"], found["payload"]) for found in checked["messages"]]
    # One publisher, one subscriber: even the order is that of the file.
    assert [(topic, json.loads(payload)) for topic, payload in received] == promised
    assert {key: checked[key] for key in ("rows", "skipped", "distinct_readings", "conflicts")} == {
        key: summary[key] for key in ("rows", "skipped", "distinct_readings", "conflicts")
    }
    # Every line of the file is accounted for, with its number.
    assert summary["rows"] == len(path.read_text().splitlines()) - 1
    assert summary["rows"] == summary["readings"] + summary["rows_skipped"]
    noted = rejects.read_text().splitlines()[1:]
    assert len(noted) == summary["rows_skipped"] + sum(summary["expected_rejects"].values())


def test_a_second_replay_sends_the_same_bytes(
    mosquitto: Mosquitto, watch: Watch, tenant: str, tmp_path: Path
) -> None:
    path = fleet_csv(tmp_path, 200)
    witness = watch(mosquitto, tenant)
    options = [str(path), "--tenant", tenant, "--mqtt", mosquitto.url]
    _, first, _ = run(*options)
    run(*options)
    sent = first["published"]
    received = witness.wait_for(2 * sent)
    assert received[:sent] == received[sent:]


def test_nothing_is_lost_when_the_broker_restarts_in_the_middle(watch: Watch, tenant: str) -> None:
    with Mosquitto() as server:
        witness = watch(server, tenant)
        with Publisher(parse_url(server.url), window=100) as publisher:
            for number in range(2_000):
                if number == 777:
                    server.stop()
                    back = threading.Timer(0.3, server.start)
                    back.start()
                assert publisher.publish(f"wm/{tenant}/d/pos", b"%d" % number)
            publisher.drain()
            back.join()
            assert publisher.reconnects >= 1
            assert publisher.acknowledged == 2_000
        wait_until(lambda: len({body for _, body in witness.messages}) == 2_000, "all arrive")
        # Sent again are only those in flight when the broker went.
        assert len(witness.messages) <= 2_000 + 100


def test_the_broker_comes_from_the_environment_unless_given(
    mosquitto: Mosquitto, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYMARK_MQTT_URL", mosquitto.url)
    code, summary, _ = run(str(fleet_csv(tmp_path, 5)), "--tenant", tenant)
    assert code == 0
    assert summary["published"] == summary["readings"]


def test_at_most_the_window_is_in_flight(mosquitto: Mosquitto, tenant: str) -> None:
    with Publisher(parse_url(mosquitto.url), window=7) as publisher:
        most = 0
        for _ in range(500):
            publisher.publish(f"wm/{tenant}/d/pos", b"x")
            most = max(most, publisher.in_flight)
        publisher.drain()
        assert most <= 7
        assert publisher.acknowledged == 500


def test_a_broker_that_stays_away_is_given_up_with_a_clear_line(tenant: str) -> None:
    with Mosquitto() as server, Publisher(parse_url(server.url), give_up_s=0.2) as publisher:
        publisher.publish(f"wm/{tenant}/d/pos", b"x")
        publisher.drain()
        server.kill()
        publisher.publish(f"wm/{tenant}/d/pos", b"x")
        with pytest.raises(BrokerError, match="stayed away for 0 s, with 1 messages"):
            publisher.drain()


def test_no_broker_at_all_is_one_line(tmp_path: Path) -> None:
    code, _, error = run(str(fleet_csv(tmp_path, 5)), "--mqtt", "mqtt://127.0.0.1:9")
    assert code == 2
    assert error.startswith("error: no MQTT broker at 127.0.0.1:9")
    assert error.count("\n") == 1


def test_messages_the_broker_refuses_are_counted_not_called_published(
    tmp_path: Path, tenant: str
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic write wm/{tenant}/bus_1/#\n")
    rules.chmod(0o644)
    tmp_path.chmod(0o755)
    # Without a bound on its queues Mosquitto 2.0.11 ends the session instead; see below.
    with Mosquitto(f"acl_file {rules}", "max_queued_messages 100000") as server:
        path = fleet_csv(tmp_path, 300)
        code, summary, _ = run(str(path), "--tenant", tenant, "--mqtt", server.url)
    assert code == 0
    assert summary["refused_by_broker"] > summary["published"] > 0
    assert summary["refused_by_broker"] + summary["published"] == summary["readings"]


def test_a_broker_that_ends_every_session_is_not_tried_for_ever(
    tmp_path: Path, tenant: str
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read nothing\n")
    rules.chmod(0o644)
    tmp_path.chmod(0o755)
    # Mosquitto 2.0.11 with unlimited queues disconnects whoever publishes what it forbids; one
    # that does not acknowledges with a refusal.
    with Mosquitto(f"acl_file {rules}") as server:
        code, summary, error = run(
            str(fleet_csv(tmp_path, 300)), "--tenant", tenant, "--mqtt", server.url
        )
    assert summary["published"] == 0
    if code == 0:
        assert summary["refused_by_broker"] == summary["readings"]
    else:
        assert code == 2
        assert "check its access rules" in error
        assert summary["complete"] is False


def test_wrong_credentials_are_one_line(tmp_path: Path) -> None:
    with Mosquitto("allow_anonymous false") as server:
        url = server.url.replace("mqtt://", "mqtt://someone:secret@")
        code, _, error = run(str(fleet_csv(tmp_path, 5)), "--mqtt", url)
    assert code == 2
    assert "refused us" in error
    assert "secret" not in error


def test_an_interrupt_ends_with_the_summary(
    mosquitto: Mosquitto, watch: Watch, tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "slow.csv"
    path.write_text("device,t,lon,lat\n" + "".join(f"a,{n}00000000,1,2\n" for n in (13, 14, 15)))
    witness = watch(mosquitto, tenant)
    options = ["--tenant", tenant, "--mqtt", mosquitto.url, "--speed", "1", "--json"]
    command = [sys.executable, "-c", PROGRAM, str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        witness.wait_for(1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
    summary = json.loads(out)
    assert (process.returncode, error) == (130, b"")
    assert (summary["readings"], summary["published"]) == (3, 1)
    assert (summary["complete"], summary["stopped"]) == (False, "interrupted")


def test_a_file_that_breaks_late_is_published_up_to_the_break(
    mosquitto: Mosquitto, watch: Watch, tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.gpx"
    point = '<wpt lon="1" lat="2"><time>2026-01-01T00:00:00Z</time></wpt>'
    path.write_text(f"<gpx>{point * 3}<wpt")
    witness = watch(mosquitto, tenant)
    code, summary, error = run(str(path), "--tenant", tenant, "--mqtt", mosquitto.url)
    assert code == 2
    assert "not well-formed" in error
    assert summary["published"] == 3
    assert summary["complete"] is False
    witness.wait_for(3)


CAPMETRO = ["2016-11-24", "2016-11-25", "2016-11-26", "2015-03-08"]


@pytest.mark.parametrize("day", CAPMETRO)
def test_capmetro_days_agree_with_the_independent_count(shared_data: Path, day: str) -> None:
    path = shared_data / "data" / "capmetro_austin" / f"{day}.csv.gz"
    expected = count([path])
    _, summary, _ = run(str(path), "--check")
    assert summary["rows"] == summary["readings"] == expected["rows"]
    assert summary["distinct_readings"] == expected["distinct_vehicle_time"]
    assert summary["devices"] == expected["vehicles"]
    assert summary["conflicts"] == (
        expected["distinct_content"] - expected["distinct_vehicle_time"]
    )
    assert summary["expected_rejects"] == {}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(
            "porto_taxi/train.csv.gz",
            {"rows": 1_999, "readings": 97_097, "skipped": {"empty": 6}, "expected_rejects": {}},
            id="porto",
        ),
        pytest.param(
            "ais_suez/boat-positions.csv.gz",
            {"rows": 22_287, "readings": 22_287, "distinct_readings": 22_287 - 455, "devices": 256},
            id="ais",
        ),
        pytest.param(
            "liverpool_bus/route14_outbound.csv.gz",
            {"rows": 1_533, "readings": 1_533, "devices": 8, "expected_rejects": {}},
            id="liverpool",
        ),
        pytest.param(
            "owntracks/demo-iphone.rec",
            {"rows": 25, "readings": 23, "skipped": {"not_a_position": 2}, "expected_rejects": {}},
            id="owntracks",
        ),
        pytest.param(
            "chicago_shuttle/tracks_chicago_train.zip",
            {"devices": 666, "rows_skipped": 0, "expected_rejects": {}},
            id="chicago",
        ),
    ],
)
def test_real_recordings_are_accounted_for_to_the_row(
    shared_data: Path, file: str, expected: dict[str, object]
) -> None:
    code, summary, _ = run(str(shared_data / "data" / file), "--check")
    assert code == 0
    assert {key: summary[key] for key in expected} == expected


def test_liverpool_lacks_the_bearings_its_readme_says(shared_data: Path) -> None:
    path = shared_data / "data" / "liverpool_bus" / "route14_outbound.csv.gz"
    _, summary, _ = run(str(path), "--check", "--print", "2000")
    payloads = [found["payload"] for found in summary["messages"]]
    assert Counter("course_deg" in payload for payload in payloads) == {True: 1_134, False: 399}


def test_a_real_day_arrives_whole_at_the_subscriber(
    mosquitto: Mosquitto, watch: Watch, tenant: str, shared_data: Path
) -> None:
    path = shared_data / "data" / "capmetro_austin" / "2015-03-08.csv.gz"
    witness = watch(mosquitto, tenant)
    began = time.monotonic()
    code, summary, _ = run(str(path), "--tenant", tenant, "--mqtt", mosquitto.url)
    assert code == 0
    assert summary["published"] == 12_354
    assert summary["seconds"] <= time.monotonic() - began
    received = witness.wait_for(12_354)
    assert len(received) == 12_354
    keys = {(topic, json.loads(payload)["t"]) for topic, payload in received}
    assert len(keys) == count([path])["distinct_vehicle_time"]
