"""The same promises on every broker we name: Mosquitto, iotcore, RabbitMQ, NATS.

docs/brokers.md repeats what is seen here.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mqtt_owner import Owner, send, until
from tests.services import Mosquitto, Server, accepts, free_port

pytestmark = pytest.mark.long

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Broker(Server):
    """A broker with an MQTT listener on loopback."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.port = free_port()

    def ready(self) -> bool:
        return accepts(self.port)


class IotCore(Broker):
    """rumqttd out of the iotcore wheel, as `waymark up` runs it without a mosquitto."""

    def __init__(self) -> None:
        super().__init__("iotcore")

    def command(self) -> list[str]:
        options = f"listen='127.0.0.1', port={self.port}, max_payload_size=20480"
        program = f"from iotcore import IotCoreBroker; IotCoreBroker({options}).run_forever()"
        return [sys.executable, "-c", program]


class Nats(Broker):
    """NATS with JetStream, which its MQTT listener needs."""

    def __init__(self) -> None:
        super().__init__("nats")
        (self.folder / "nats.conf").write_text(
            f"server_name: waymark\nlisten: 127.0.0.1:{free_port()}\n"
            f"jetstream {{ store_dir: {self.folder}/store }}\n"
            # By default it waits 30 s before it sends again, to whatever connection.
            f'mqtt {{ listen: 127.0.0.1:{self.port}, ack_wait: "2s" }}\n'
        )

    def command(self) -> list[str]:
        program = shutil.which("nats-server")
        if program is None:
            pytest.skip("no nats-server: `apt-get install nats-server`")
        return [program, "-c", f"{self.folder}/nats.conf"]


class RabbitMQ(Broker):
    """RabbitMQ with its MQTT plugin, a node and an epmd of its own."""

    def __init__(self) -> None:
        super().__init__("rabbitmq")
        self._epmd_port = free_port()
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{free_port()}\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "mqtt.allow_anonymous = true\n"
            "mqtt.prefetch = 1000\n"
        )
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].")
        self._environment = {
            # Without it the script stays as a parent, and a signal would not reach the node.
            "RUNNING_UNDER_SYSTEMD": "true",
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"waymark{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{self.folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/plugins",
        }

    def command(self) -> list[str]:
        if not RABBITMQ.exists():
            pytest.skip("no rabbitmq-server: `apt-get install rabbitmq-server`")
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", "-i", *variables, str(RABBITMQ)]

    def close(self) -> None:
        super().close()
        if shutil.which("epmd"):
            subprocess.run(
                ["epmd", "-port", str(self._epmd_port), "-kill"], check=False, capture_output=True
            )


@pytest.fixture(
    scope="module",
    params=[Mosquitto, IotCore, pytest.param(RabbitMQ, marks=pytest.mark.timeout(240)), Nats],
    ids=["mosquitto", "iotcore", "rabbitmq", "nats"],
)
def broker(request: pytest.FixtureRequest) -> Iterator[Mosquitto | Broker]:
    server = request.param()
    try:
        server.start()
        yield server
    finally:
        server.close()


async def test_a_kept_session_misses_nothing_and_redelivers_what_was_not_acknowledged(
    broker: Mosquitto | Broker,
) -> None:
    async with Owner(broker.port):
        pass
    await send(broker.port, range(80))

    async with Owner(broker.port) as first:
        await until(lambda: len(first.messages) >= 30, "the queued messages")
        first.ack(30)
        await first.acks_arrived()

    async with Owner(broker.port) as second:
        await until(lambda: len(second.messages) >= 50, "the rest")
        second.ack()
        await second.acks_arrived()
    assert sorted(second.numbers) == sorted(set(range(80)) - set(first.numbers[:30]))

    async with Owner(broker.port) as third:
        await send(broker.port, [999])
        await until(lambda: 999 in third.numbers, "the marker")
        third.ack()
        await third.acks_arrived()
    assert third.numbers == [999]


async def test_a_flood_through_a_small_window_arrives_whole_and_in_order(
    broker: Mosquitto | Broker,
) -> None:
    async with Owner(broker.port, "flood", window=50) as owner:
        sending = asyncio.create_task(send(broker.port, range(1_000)), name="flood")
        await owner.ack_until(lambda: len(owner.messages) >= 1_000, "all delivered")
        await sending

    assert owner.numbers == list(range(1_000))
    assert owner.most_outstanding <= 50


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [RabbitMQ, Nats], ids=["rabbitmq", "nats"])
async def test_what_a_storing_broker_acknowledged_survives_its_kill(
    kind: type[RabbitMQ | Nats],
) -> None:
    server = kind()
    try:
        server.start()
        async with Owner(server.port):
            pass
        await send(server.port, range(100))
        server.kill()
        server.start()
        async with Owner(server.port) as owner:
            await owner.ack_until(lambda: len(set(owner.numbers)) == 100, "all of them")
    finally:
        server.close()


async def test_a_copy_nats_sends_because_we_took_long_is_not_delivered_twice() -> None:
    loop = asyncio.get_running_loop()
    with Nats() as server:
        async with Owner(server.port) as owner:
            await send(server.port, range(20))
            over_s = loop.time() + 5
            await until(lambda: loop.time() > over_s, "its ack_wait of 2 s passes, twice")
            assert owner.numbers == list(range(20))
            owner.ack()
            await send(server.port, [20])
            await until(lambda: owner.numbers == list(range(21)), "the next one")
