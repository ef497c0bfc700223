"""Devices at a real Mosquitto: each within its own topics, and out at once when revoked."""

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from tests.acceptance.rig import Worker, environment
from tests.integration.api_site import Rows, ThreadedSite
from tests.integration.secured_broker import SUCCESS, Peer, SecuredMosquitto, peer
from tests.services import TIMEOUT_FACTOR, wait_until
from tracking.store.keys import create_key

SERVICE = ("waymark", "s3cret/of:waymark")


class Devices:
    """The api's credentials, by HTTP."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=20 * TIMEOUT_FACTOR,
            trust_env=False,
        )

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(f"/v1/devices{path}", json=body)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/v1/devices{path}").json()
        return found

    def register(self, name: str, **credential: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
        self.post("", {"name": name})
        return self.post(f"/{name}/credentials", credential)

    def revoke(self, name: str, credential: dict[str, Any]) -> None:
        answer = self._client.delete(f"/v1/devices/{name}/credentials/{credential['id']}")
        assert answer.status_code == 204

    def close(self) -> None:
        self._client.close()


class World:
    """An api, a secured Mosquitto, and the watcher that keeps the one in line with the other."""

    def __init__(self, devices: Devices, other: Devices, broker: SecuredMosquitto) -> None:
        self.devices = devices
        self.other = other
        self.broker = broker
        authority = broker.folder / "config" / "certs" / "ca.crt"
        self.tls = ssl.create_default_context(cafile=str(authority))

    def device(self, credential: dict[str, Any]) -> AbstractContextManager[Peer]:
        port = self.broker.ports["devices"]
        return peer(port, credential["username"], credential["password"], tls=self.tls)

    def service(self) -> AbstractContextManager[Peer]:
        return peer(self.broker.ports["service"], *SERVICE)

    def certified(self, common_name: str) -> AbstractContextManager[Peer]:
        certificate, key = self.broker.authority.issue(common_name, "device")
        tls = ssl.create_default_context(cafile=str(self.broker.authority.folder / "ca.crt"))
        tls.load_cert_chain(certificate, key)
        return peer(self.broker.ports["certificates"], tls=tls)

    def knows(self, credential: dict[str, Any]) -> bool:
        """Whether the broker's files have a credential; it was sent SIGHUP then, or is about to."""
        name = credential["username"]
        files = ("device-passwords", "certificate-acl")
        return any(name in (self.broker.files / file).read_text() for file in files)

    def let_in(self, credential: dict[str, Any]) -> None:
        """Wait until the broker accepts a credential."""

        def accepted() -> bool:
            with self.device(credential) as client:
                return client.connects == [SUCCESS]

        wait_until(accepted, f"{credential['username']} is let in")


@pytest.fixture
def world(database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[World]:
    with Rows(database_url, "other"):
        other_key = create_key(database_url, "other", "test", "admin")
    key = create_key(database_url, "default", "test", "admin")
    broker = SecuredMosquitto()
    env = environment(
        WAYMARK_DATABASE_URL=database_url,
        WAYMARK_REDIS_URL=valkey_url,
        WAYMARK_MQTT_URL="mqtt://waymark:s3cret%2Fof%3Awaymark@127.0.0.1:1",
    )
    command = [sys.executable, "-m", "waymark", "broker", "mosquitto-files"]
    command += ["--out", str(broker.files)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    log = (tmp_path / "watch.log").open("wb")
    with log, broker, ThreadedSite(database_url, valkey_url) as (url, _):
        watcher = subprocess.Popen(
            [*command, "--watch", "--pid-file", str(broker.pid_file)],
            env=env,
            stdout=log,
            stderr=log,
        )
        devices, other = Devices(url, key), Devices(url, other_key)
        try:
            wait_until(lambda: b"wrote" in (tmp_path / "watch.log").read_bytes(), "it watches")
            yield World(devices, other, broker)
        finally:
            devices.close()
            other.close()
            watcher.send_signal(signal.SIGTERM)
            assert watcher.wait(20 * TIMEOUT_FACTOR) == 0


def test_a_device_publishes_on_its_own_topics_and_nowhere_else(world: World) -> None:
    van = world.devices.register("van")
    truck = world.devices.register("truck")
    world.let_in(truck)
    with world.service() as worker, world.device(van) as client:
        assert client.connects == [SUCCESS]
        assert worker.subscribe("#")
        assert worker.subscribe("wm/#")
        outside = [
            "wm/default/truck/pos",
            "wm/default/truck/cmd",
            "wm/default/van/cmd",
            "wm/default/van/other",
            "wm/default/van",
            "wm/default/van/pos/more",
            "wm/default/van/pos/",
            "wm/default//pos",
            "wm/other/van/pos",
            "wm/default/VAN/pos",
            "/wm/default/van/pos",
            "wm/defaultvan/pos",
            "owntracks/default/van",
            "waymark/doctor/x",
            "anything",
        ]
        for topic in outside:
            client.publish(topic, b"outside")
        for topic in van["publish"]:
            client.publish(topic, b"own")
        # One connection, one order: once its own came, whatever was let through came before.
        worker.until(
            lambda: {topic for topic, _ in worker.messages} >= set(van["publish"]), "its own"
        )
        assert {topic for topic, _ in worker.messages} == set(van["publish"])
        assert all(payload == b"own" for _, payload in worker.messages)
        assert client.losses == 0


def test_a_device_hears_its_own_commands_and_nothing_else(world: World) -> None:
    van = world.devices.register("van")
    truck = world.devices.register("truck")
    world.let_in(truck)
    with world.service() as worker, world.device(van) as client, world.device(truck) as other:
        worker.publish("wm/default/truck/pos", b"retained", retain=True)
        # Mosquitto grants what it then delivers nothing of, so only what arrives counts.
        for topic in [
            "#",
            "wm/#",
            "+/+/+/+",
            "wm/default/+/cmd",
            "wm/default/truck/cmd",
            "wm/default/truck/#",
            "wm/default/van/#",
            "$share/thieves/wm/default/truck/cmd",
            "$share/thieves/wm/#",
            "$SYS/#",
            "wm/default/van/cmd",
        ]:
            client.subscribe(topic)
        assert other.subscribe("wm/default/truck/cmd")
        for topic in [
            "wm/default/truck/cmd",
            "wm/default/truck/pos",
            "wm/other/van/cmd",
            "wm/default/van/pos",
            "waymark/doctor/x",
        ]:
            worker.publish(topic, b"not for the van")
        other.publish("wm/default/truck/pos", b"not for the van")
        worker.publish("wm/default/van/cmd", b"for the van")
        client.until(lambda: bool(client.messages), "its command")
        # Mosquitto sends one copy for each subscription that fits.
        assert set(client.messages) == {("wm/default/van/cmd", b"for the van")}
        other.until(lambda: bool(other.messages), "the truck's")
        assert set(other.messages) == {("wm/default/truck/cmd", b"not for the van")}


def test_a_revoked_password_is_cut_off_while_connected_and_the_others_stay(world: World) -> None:
    van = world.devices.register("van")
    truck = world.devices.register("truck")
    world.let_in(truck)
    with world.device(van) as client, world.device(truck) as other:
        assert (client.connects, other.connects) == ([SUCCESS], [SUCCESS])
        world.devices.revoke("van", van)
        client.until(lambda: client.losses > 0, "the broker ends the connection")
        with world.device(van) as again:
            assert again.connects != [SUCCESS]
        assert other.losses == 0
        with world.service() as worker:
            assert worker.subscribe("wm/#")
            assert arrives_in_time(other, worker, truck["publish"][0])


def arrives_in_time(sender: Peer, receiver: Peer, topic: str) -> bool:
    sender.publish(topic, b"here")
    receiver.until(lambda: (topic, b"here") in receiver.messages, f"a message on {topic}")
    return True


def test_both_passwords_work_while_they_overlap_and_then_only_the_new_one(world: World) -> None:
    old = world.devices.register("van")
    new = world.devices.post(f"/van/credentials/{old['id']}/rotate", {"overlap_s": 600})
    assert new["username"] != old["username"]
    assert new["password"] != old["password"]
    world.let_in(new)
    with (
        world.service() as worker,
        world.device(old) as before,
        world.device(new) as after,
    ):
        assert (before.connects, after.connects) == ([SUCCESS], [SUCCESS])
        assert worker.subscribe("wm/#")
        for client in (before, after):
            # Patterns alone would grant the second name topics that are no device's.
            client.publish(f"wm/{new['username']}/pos", b"nobody")
            for topic in new["publish"]:
                assert arrives_in_time(client, worker, topic)
        assert {topic for topic, _ in worker.messages} == set(new["publish"])
        assert after.subscribe(new["subscribe"][0])
        assert arrives_in_time(worker, after, new["subscribe"][0])
        world.devices.revoke("van", old)
        before.until(lambda: before.losses > 0, "the old one ends")
        assert after.losses == 0


def test_a_password_ends_by_itself_when_its_overlap_is_over(world: World) -> None:
    old = world.devices.register("van")
    world.let_in(old)
    with world.device(old) as client:
        world.devices.post(f"/van/credentials/{old['id']}/rotate", {"overlap_s": 1})
        client.until(lambda: client.losses > 0, "the overlap is over")


def test_a_certificate_opens_its_devices_topics_until_it_is_revoked(world: World) -> None:
    made = world.devices.register("van", kind="certificate", common_name="default/box-17")
    wait_until(lambda: world.knows(made), "the broker's files have it")
    with world.service() as worker, world.certified("default/box-17") as client:
        assert client.connects == [SUCCESS]
        assert worker.subscribe("wm/#")
        with world.certified("default/stranger") as stranger:
            assert stranger.connects == [SUCCESS]  # its authority signed it
            stranger.publish("wm/default/stranger/pos", b"no")
            stranger.publish("wm/default/van/pos", b"no")
        client.publish("wm/default/box-17/pos", b"no")
        client.publish("wm/default/truck/pos", b"no")
        assert arrives_in_time(client, worker, "wm/default/van/pos")
        assert {payload for _, payload in worker.messages} == {b"here"}
        assert client.subscribe("wm/default/van/cmd")
        assert arrives_in_time(worker, client, "wm/default/van/cmd")
        world.devices.revoke("van", made)
        wait_until(lambda: not world.knows(made), "the broker's files lack it")

        def silenced() -> bool:
            heard = len(worker.messages), len(client.messages)
            client.publish("wm/default/van/pos", b"after")
            worker.publish("wm/default/van/cmd", b"after")
            worker.publish("wm/default/van/ack", b"after")
            worker.until(lambda: len(worker.messages) > heard[0] + 1, "its own")
            own = [topic for topic, _ in worker.messages[heard[0] :]]
            return "wm/default/van/pos" not in own and len(client.messages) == heard[1]

        wait_until(silenced, "neither heard nor hearing")


def test_nobody_gets_in_without_a_credential_or_takes_a_workers_session(world: World) -> None:
    van = world.devices.register("van")
    world.let_in(van)
    devices, service = world.broker.ports["devices"], world.broker.ports["service"]
    for port, username, password, tls in (
        (devices, None, None, world.tls),
        (devices, "default/van", "wrong", world.tls),
        (devices, *SERVICE, world.tls),
        (service, van["username"], van["password"], None),
        (service, None, None, None),
    ):
        with peer(port, username, password, tls=tls) as client:
            assert client.connects != [SUCCESS]
    with (
        peer(service, *SERVICE, client_id="waymark-host-0") as worker,
        peer(
            devices, van["username"], van["password"], tls=world.tls, client_id="waymark-host-0"
        ) as client,
    ):
        assert (worker.connects, client.connects) == ([SUCCESS], [SUCCESS])
        assert worker.subscribe("wm/#")
        assert arrives_in_time(client, worker, van["publish"][0])
        assert worker.losses == 0


def test_an_owntracks_device_has_the_topics_its_app_uses(world: World) -> None:
    phone = world.devices.register("jane:phone")
    world.let_in(phone)
    assert "owntracks/jane/phone/event" in phone["publish"]
    with world.service() as worker, world.device(phone) as client:
        assert worker.subscribe("owntracks/#")
        client.publish("owntracks/jane/tablet", b"no")
        client.publish("owntracks/joe/phone", b"no")
        client.publish("owntracks/jane/phone/cmd", b"no")
        assert arrives_in_time(client, worker, "owntracks/jane/phone")
        assert {payload for _, payload in worker.messages} == {b"here"}


def test_positions_and_commands_go_through_a_secured_broker(
    world: World, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    van = world.devices.register("van")
    world.let_in(van)
    user, password = (quote(part, safe="") for part in SERVICE)
    env = environment(
        WAYMARK_DATABASE_URL=database_url,
        WAYMARK_REDIS_URL=valkey_url,
        WAYMARK_MQTT_URL=f"mqtt://{user}:{password}@127.0.0.1:{world.broker.ports['service']}",
    )
    worker = Worker(0, env, tmp_path / "ingest.log")
    worker.start()
    try:
        wait_until(lambda: worker.subscribed, "the worker subscribes", 30)
        with world.device(van) as client:
            assert client.subscribe("wm/default/van/cmd")
            command = world.devices.post("/van/commands", {"name": "blink"})
            client.until(lambda: bool(client.messages), "the command")
            (topic, payload) = client.messages[0]
            assert (topic, json.loads(payload)["id"]) == ("wm/default/van/cmd", command["id"])
            client.publish(
                "wm/default/van/ack",
                json.dumps({"id": command["id"], "status": "succeeded"}).encode(),
            )
            client.publish("wm/default/van/pos", b'{"t": 1772951400000, "lon": 5.1, "lat": 52.1}')
            wait_until(
                lambda: (
                    world.devices.get(f"/van/commands/{command['id']}")["state"] == "succeeded"
                    and world.devices.get("/van")["position"] is not None
                ),
                "both are stored",
            )
    finally:
        worker.kill()


def test_a_folder_that_cannot_be_written_to_is_one_line(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "waymark", "broker", "mosquitto-files"]
    for watch in ([], ["--watch"]):
        run = subprocess.run(
            [*command, *watch, "--out", str(tmp_path / "file")],
            env=environment(WAYMARK_DATABASE_URL=database_url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60 * TIMEOUT_FACTOR,
        )
        assert run.returncode == 2
        assert "Traceback" not in run.stderr
        assert run.stderr.splitlines()[-1].startswith(f"waymark: cannot write to {tmp_path}/file")


def test_other_tenants_see_and_change_none_of_it(world: World) -> None:
    van = world.devices.register("van")
    theirs = world.other.register("van")
    assert theirs["username"] == "other/van"
    assert UUID(van["id"]) != UUID(theirs["id"])
    answer = world.other._client.delete(f"/v1/devices/van/credentials/{van['id']}")
    assert answer.status_code == 404
    answer = world.other._client.post(f"/v1/devices/van/credentials/{van['id']}/rotate")
    assert answer.status_code == 404
    listed = world.other._client.get("/v1/devices/van/credentials").json()["items"]
    assert [item["id"] for item in listed] == [theirs["id"]]
    assert "password" not in listed[0]
    answer = world.other._client.post(
        "/v1/devices/van/credentials",
        json={"kind": "certificate", "common_name": "default/van"},
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "common_name")
