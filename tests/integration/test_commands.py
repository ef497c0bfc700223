"""Commands to devices, end to end: api, worker and monitor as processes on real servers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.acceptance.rig import Worker, environment
from tests.integration.api_site import Rows, ThreadedSite
from tests.integration.commanded_device import CommandedDevice, ignore, obey
from tests.services import TIMEOUT_FACTOR, Mosquitto, wait_until
from tracking.store.keys import create_key

ENDED = {"succeeded", "failed", "timed_out", "expired", "cancelled"}


class Post:
    """An api that queues commands, and workers that send them."""

    def __init__(self, client: httpx.Client, database_url: str, broker: Mosquitto) -> None:
        self.client = client
        self.broker = broker
        self.database_url = database_url
        self.workers: list[Worker] = []
        self._run = uuid4().hex[:8]

    def device(self, name: str) -> str:
        """A registered device of a name the shared broker has not seen."""
        made = f"{name}-{self._run}"
        answer = self.client.post("/v1/devices", json={"name": made})
        assert answer.status_code == 201, answer.text
        return made

    def command(self, device: str, name: str = "blink", **members: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
        answer = self.client.post(f"/v1/devices/{device}/commands", json={"name": name, **members})
        assert answer.status_code == 202, answer.text
        made: dict[str, Any] = answer.json()
        assert made["state"] == "queued"
        assert answer.headers["Location"] == f"/v1/devices/{device}/commands/{made['id']}"
        return made

    def look(self, command: dict[str, Any], wait_s: float = 0) -> dict[str, Any]:
        answer = self.client.get(
            f"/v1/devices/{command['device']}/commands/{command['id']}", params={"wait_s": wait_s}
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def outcome(self, command: dict[str, Any]) -> dict[str, Any]:
        found = self.look(command, wait_s=60)
        assert found["state"] in ENDED, found
        return found

    def becomes(self, command: dict[str, Any], state: str) -> None:
        wait_until(lambda: self.look(command)["state"] == state, f"it is {state}", 30)

    def events(self, command: dict[str, Any]) -> list[str]:
        """What became of a command, in the order of the feed."""
        with psycopg.connect(self.database_url) as conn:
            rows = conn.execute(
                "SELECT type, subject, data ->> 'state' FROM event "
                "WHERE data ->> 'command' = %s ORDER BY cursor",
                (command["id"],),
            ).fetchall()
        assert all((type_, subject) == (f"command.{state}", command["device"])
                   for type_, subject, state in rows)  # fmt: skip
        return [state for _, _, state in rows]


@pytest.fixture
def post(
    database_url: str, valkey_url: str, mosquitto: Mosquitto, tmp_path: Path
) -> Iterator[Post]:
    yield from posted(database_url, valkey_url, mosquitto, tmp_path, 1)


@pytest.fixture
def post_of_two(
    database_url: str, valkey_url: str, mosquitto: Mosquitto, tmp_path: Path
) -> Iterator[Post]:
    yield from posted(database_url, valkey_url, mosquitto, tmp_path, 2)


def posted(
    database_url: str, valkey_url: str, mosquitto: Mosquitto, folder: Path, workers: int
) -> Iterator[Post]:
    env = environment(
        WAYMARK_DATABASE_URL=database_url,
        WAYMARK_REDIS_URL=valkey_url,
        WAYMARK_MQTT_URL=mosquitto.url,
        WAYMARK_MQTT_CLIENT_ID=f"post-{uuid4().hex[:8]}",
        WAYMARK_WORKERS=str(workers),
    )
    key = create_key(database_url, "default", "test", "admin")
    with (
        ThreadedSite(database_url, valkey_url) as (url, _),
        httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=90 * TIMEOUT_FACTOR,
            trust_env=False,
        ) as client,
        subprocess.Popen(
            [sys.executable, "-m", "waymark", "monitor"], env=env, stderr=subprocess.DEVNULL
        ) as monitor,
    ):
        post = Post(client, database_url, mosquitto)
        try:
            for index in range(workers):
                worker = Worker(index, env, folder / f"ingest-{index}.log")
                worker.start()
                post.workers.append(worker)
            for worker in post.workers:
                wait_until(lambda w=worker: w.subscribed, "the worker subscribes", 30)  # type: ignore[misc]
            yield post
        finally:
            for worker in post.workers:
                if worker.process is not None:
                    worker.kill()
            monitor.terminate()


def test_a_command_to_an_online_device_is_answered(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name) as device:
        command = post.command(name, "interval", payload={"interval_s": 10})
        done = post.outcome(command)
        (got,) = device.got(1)
    assert got == {
        "id": command["id"],
        "name": "interval",
        "payload": {"interval_s": 10},
        "expires_at": command["expires_at"],
    }
    assert (done["state"], done["result"]) == ("succeeded", {"did": "interval"})
    assert done["attempts_n"] == 1
    assert done["created_at"] <= done["sent_at"]
    assert done["delivered_at"] == done["answered_at"] == done["ended_at"]
    # A quick answer may overtake the note that it was sent.
    assert [state for state in post.events(command) if state != "sent"] == ["queued", "succeeded"]
    listed = post.client.get(f"/v1/devices/{name}/commands", params={"state": "succeeded"})
    assert [item["id"] for item in listed.json()["items"]] == [command["id"]]


def test_a_device_may_say_that_it_takes_a_while_and_that_it_failed(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name, ignore) as device:
        command = post.command(name)
        device.got(1)
        device.say("ack", {"id": command["id"], "status": "delivered"})
        post.becomes(command, "delivered")
        device.say("ack", {"id": command["id"], "status": "delivered"})
        device.say("ack", {"id": command["id"], "status": "failed", "result": {"error": "no lamp"}})
        done = post.outcome(command)
    assert (done["state"], done["result"]) == ("failed", {"error": "no lamp"})
    assert done["delivered_at"] < done["ended_at"]
    assert post.events(command) == ["queued", "sent", "delivered", "failed"]


def test_commands_wait_while_the_device_is_offline_and_come_in_order(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name) as device:
        post.outcome(post.command(name))
        device.say("status", {"online": False}, retain=True)
        wait_until(
            lambda: post.client.get(f"/v1/devices/{name}").json()["online"] is False, "it is away"
        )
    commands = [post.command(name, f"step-{n}") for n in range(5)]
    probe = post.device("probe")
    with CommandedDevice(post.broker, probe):
        # Queued after those and answered: the worker has looked at them and left them.
        assert post.outcome(post.command(probe))["state"] == "succeeded"
    assert [post.look(command)["state"] for command in commands] == ["queued"] * 5
    with CommandedDevice(post.broker, name) as device:
        assert [post.outcome(command)["state"] for command in commands] == ["succeeded"] * 5
        assert [got["name"] for got in device.got(5)] == [f"step-{n}" for n in range(5)]


def test_what_was_sent_on_a_connection_that_broke_is_sent_again_on_the_next(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name, ignore) as device:
        command = post.command(name)
        device.got(1)
        post.becomes(command, "sent")
        device.vanish()
    wait_until(lambda: post.client.get(f"/v1/devices/{name}").json()["online"] is False, "its will")
    with CommandedDevice(post.broker, name) as device:
        done = post.outcome(command)
        assert [got["id"] for got in device.got(1)] == [command["id"]]
    assert (done["state"], done["attempts_n"]) == ("succeeded", 2)
    assert post.events(command) == ["queued", "sent", "succeeded"]


def test_a_device_that_tells_no_status_is_sent_commands_at_once(post: Post) -> None:
    name = post.device("mute")
    with CommandedDevice(post.broker, name, said=False):
        assert post.outcome(post.command(name))["state"] == "succeeded"


def test_no_answer_in_time_is_told_and_a_late_one_is_kept_beside_it(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name, ignore) as device:
        started_s = time.monotonic()
        command = post.command(name, timeout_s=1)
        done = post.outcome(command)
        assert time.monotonic() - started_s >= 1
        assert (done["state"], done["answered_at"], done["result"]) == ("timed_out", None, None)
        device.say("ack", {"id": command["id"], "status": "succeeded", "result": {"late": True}})
        wait_until(lambda: post.look(command)["answered_at"] is not None, "the answer is kept")
    late = post.look(command)
    assert (late["state"], late["result"]) == ("timed_out", {"late": True})
    assert late["ended_at"] == done["ended_at"] < late["answered_at"]
    assert post.events(command) == ["queued", "sent", "timed_out"]


def test_a_command_that_waits_too_long_expires_and_is_never_sent(post: Post) -> None:
    name = post.device("van")
    with CommandedDevice(post.broker, name) as device:
        device.say("status", {"online": False}, retain=True)
        wait_until(
            lambda: post.client.get(f"/v1/devices/{name}").json()["online"] is False, "it is away"
        )
        waiting = post.command(name, ttl_s=2)
        started_s = time.monotonic()
        assert post.look(waiting, wait_s=0.5)["state"] == "queued"
        assert time.monotonic() - started_s >= 0.5
        assert post.outcome(waiting)["state"] == "expired"
        command = post.command(name, ttl_s=1)
        done = post.outcome(command)
        assert (done["state"], done["sent_at"]) == ("expired", None)
        assert done["ended_at"] == command["expires_at"]
        device.say("status", {"online": True}, retain=True)
        assert post.outcome(post.command(name))["state"] == "succeeded"
        assert [got["id"] for got in device.got(1)] != [command["id"]]
    assert post.events(command) == ["queued", "expired"]


def test_a_queued_command_can_be_cancelled_and_a_sent_one_cannot(post: Post) -> None:
    name = post.device("van")
    path = f"/v1/devices/{name}/commands"
    with CommandedDevice(post.broker, name, ignore) as device:
        sent = post.command(name)
        post.becomes(sent, "sent")
        assert post.client.delete(f"{path}/{sent['id']}").status_code == 409
        device.say("status", {"online": False}, retain=True)
        wait_until(
            lambda: post.client.get(f"/v1/devices/{name}").json()["online"] is False, "it is away"
        )
        waiting = post.command(name)
        for _ in range(2):
            assert post.client.delete(f"{path}/{waiting['id']}").status_code == 204
        assert post.look(waiting)["state"] == "cancelled"
        device.say("status", {"online": True}, retain=True)
        third = post.command(name)
        post.becomes(third, "sent")
        assert waiting["id"] not in [got["id"] for got in device.got(2)]
    assert post.events(waiting) == ["queued", "cancelled"]
    assert post.client.delete(f"{path}/{uuid4()}").status_code == 404


def test_an_answer_to_no_command_of_this_device_is_a_dead_letter(post: Post) -> None:
    name, other = post.device("van"), post.device("box")
    with CommandedDevice(post.broker, name, ignore) as device:
        command = post.command(name)
        device.got(1)
        with CommandedDevice(post.broker, other) as stranger:
            stranger.say("ack", {"id": command["id"], "status": "succeeded"})
            wait_until(
                lambda: post.client.get(
                    "/v1/dead-letters", params={"device": other, "reason": "unknown_command"}
                ).json()["items"],
                "a dead letter",
            )
        assert post.look(command)["state"] == "sent"


def test_two_workers_send_each_command_once_and_in_order(post_of_two: Post) -> None:
    post = post_of_two
    names = [post.device(f"van-{n}") for n in range(6)]
    devices = [CommandedDevice(post.broker, name) for name in names]
    for device in devices:
        device.__enter__()
    try:
        queued = [
            (post.command(name, f"step-{step}"), name) for step in range(10) for name in names
        ]
        outcomes = [post.outcome(command) for command, _ in queued]
        for device in devices:
            assert [got["name"] for got in device.got(10)] == [f"step-{n}" for n in range(10)]
    finally:
        for device in devices:
            device.__exit__(None, None, None)
    assert {(done["state"], done["attempts_n"]) for done in outcomes} == {("succeeded", 1)}


def test_killed_workers_lose_no_command_and_answer_none_twice(post: Post) -> None:
    names = [post.device(f"van-{n}") for n in range(4)]
    devices = [CommandedDevice(post.broker, name, obey) for name in names]
    for device in devices:
        device.__enter__()
    (worker,) = post.workers
    try:
        queued = []
        for step in range(6):
            queued += [post.command(name, f"step-{step}", timeout_s=600) for name in names]
            # Whatever it is at: taking, publishing, waiting for the broker, noting, storing.
            time.sleep(0.004 * step)
            worker.kill()
            worker.start()
        outcomes = [post.outcome(command) for command in queued]
        assert {done["state"] for done in outcomes} == {"succeeded"}
        for device in devices:
            ids = {command["id"] for command in queued if command["device"] == device.name}
            assert {got["id"] for got in device.got(6)} == ids
    finally:
        for device in devices:
            device.__exit__(None, None, None)
    for command in queued:
        told = post.events(command)
        assert len(told) == len(set(told))
        assert [told[0], told[-1]] == ["queued", "succeeded"]


def test_other_tenants_reach_no_command(post: Post) -> None:
    name = post.device("van")
    command = post.command(name)
    with Rows(post.database_url, "other"):
        key = create_key(post.database_url, "other", "test", "admin")
    theirs = {"Authorization": f"Bearer {key}"}
    path = f"/v1/devices/{name}/commands"
    for answer in (
        post.client.get(path, headers=theirs),
        post.client.get(f"{path}/{command['id']}", headers=theirs),
        post.client.delete(f"{path}/{command['id']}", headers=theirs),
        post.client.post(path, headers=theirs, json={"name": "blink"}),
    ):
        assert answer.status_code == 404
    for body, field in (
        ({}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x", "ttl_s": 0}, "ttl_s"),
        ({"name": "x", "timeout_s": 1e9}, "timeout_s"),
        ({"name": "x", "payload": [1]}, "payload"),
        ({"name": "x", "payload": {"a": "\0"}}, "payload"),
        ({"name": "x", "payload": {"a": "x" * 9_000}}, "payload"),
    ):
        answer = post.client.post(path, json=body)
        assert (answer.status_code, answer.json().get("field")) == (422, field), answer.text


def test_the_simulator_obeys_and_reports_more_often(post: Post) -> None:
    prefix = f"sim{uuid4().hex[:6]}-"
    command = (
        f"--devices 1 --readers 0 --sensors 0 --for 0 --interval 3600 --prefix {prefix}".split()
    )
    with subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", "run", "--mqtt", post.broker.url, *command],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as simulator:
        try:
            name = f"{prefix}vehicle-00001"
            path = f"/v1/devices/{name}"
            wait_until(lambda: post.client.get(path).json().get("online"), "it is there")
            assert post.client.get(f"{path}/positions").json()["items"] == []
            done = post.outcome(post.command(name, "interval", payload={"interval_s": 0.1}))
            assert (done["state"], done["result"]) == ("succeeded", {"interval_s": 0.1})
            wait_until(
                lambda: len(post.client.get(f"{path}/positions").json()["items"]) >= 5, "positions"
            )
            failed = post.outcome(post.command(name, "self-destruct"))
            assert failed["state"] == "failed"
        finally:
            simulator.terminate()
