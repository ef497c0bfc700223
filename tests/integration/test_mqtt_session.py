"""The session against a real Mosquitto."""

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ingest.mqtt import Message, Session, SessionOptions, session_options
from tests.integration.mqtt_owner import Owner, send, until
from tests.services import Mosquitto, free_port
from tracking.errors import BrokerError
from tracking.settings import load_settings

DYNAMIC_SECURITY = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as server:
        yield server


@pytest.fixture
def narrow_broker() -> Iterator[Mosquitto]:
    """Mosquitto with its own default of 20 messages in flight."""
    server = Mosquitto()
    config = server.folder / "mosquitto.conf"
    config.write_text(
        config.read_text().replace("max_inflight_messages 0", "max_inflight_messages 20")
    )
    with server:
        yield server


async def test_a_broker_restart_redelivers_exactly_what_was_not_acknowledged(
    broker: Mosquitto,
) -> None:
    async with Owner(broker.port) as owner:
        await send(broker.port, range(100))
        await until(lambda: len(owner.messages) == 100, "all delivered")
        owner.ack(30)
        await owner.acks_arrived()
        await asyncio.to_thread(broker.restart)
        await until(lambda: len(owner.messages) >= 170, "the rest redelivered")
        stale = owner.unacked[:70]
        owner.ack(70)

        assert owner.numbers[100:] == list(range(30, 100))
        assert owner.session.reconnects == 1
        assert owner.session.redelivered == 70
        assert owner.session.acked == 30, "tickets of the lost connection must not be sent"
        assert {ticket >> 16 for ticket in stale} != {t >> 16 for t in owner.unacked}
        owner.ack()
        assert owner.session.acked == 100

    async with Owner(broker.port) as again:
        await send(broker.port, [999])
        await until(lambda: 999 in again.numbers, "the marker")
        assert again.numbers == [999], "everything else was acknowledged"


async def test_a_session_that_is_away_misses_nothing(broker: Mosquitto) -> None:
    async with Owner(broker.port):
        pass
    await send(broker.port, range(2_000))

    async with Owner(broker.port) as owner:
        await owner.ack_until(lambda: len(owner.messages) == 2_000, "the queued messages")

    assert owner.numbers == list(range(2_000))


@pytest.mark.parametrize("window", [1, 7, 1_000])
async def test_no_more_than_the_window_is_ever_outstanding(broker: Mosquitto, window: int) -> None:
    async with Owner(broker.port, window=window) as owner:
        await send(broker.port, range(300))
        await until(lambda: owner.session.outstanding == min(window, 300), "the window fills")
        await owner.ack_until(lambda: len(owner.messages) == 300, "all delivered")

    assert owner.most_outstanding <= window
    assert owner.numbers == list(range(300))


async def test_acknowledging_inside_the_callback_neither_recurses_nor_stalls(
    broker: Mosquitto,
) -> None:
    got: list[int] = []

    def on_messages(messages: list[Message]) -> None:
        got.extend(json.loads(message.payload) for message in messages)
        session.ack([message.ticket for message in messages])

    session = Session(
        SessionOptions(
            host="127.0.0.1", port=broker.port, client_id="w", filters=("wm/#",), window=1
        ),
        on_messages,
    )
    task = asyncio.create_task(session.run(), name="mqtt-session")
    await session.wait_connected(10)
    await send(broker.port, range(3_000))
    await until(lambda: len(got) == 3_000, "all delivered")
    session.stop()
    await task

    assert got == list(range(3_000))
    assert session.outstanding == 0


async def test_a_broker_with_20_in_flight_does_not_stall_a_larger_window(
    narrow_broker: Mosquitto,
) -> None:
    async with Owner(narrow_broker.port) as owner:
        await send(narrow_broker.port, range(500))
        await until(lambda: len(owner.messages) == 20, "the broker's limit")
        await owner.ack_until(lambda: len(owner.messages) == 500, "all delivered")

    assert owner.numbers == list(range(500))


async def test_two_sessions_of_a_group_share_with_nothing_lost_or_doubled(
    broker: Mosquitto,
) -> None:
    async with (
        Owner(broker.port, "one", group="g") as one,
        Owner(broker.port, "two", group="g") as two,
    ):
        await send(broker.port, range(400))
        await until(lambda: len(one.messages) + len(two.messages) >= 400, "all delivered")
        one.ack()
        two.ack()

    assert sorted(one.numbers + two.numbers) == list(range(400))
    assert one.numbers
    assert two.numbers


async def test_keep_alive_goes_on_while_reading_is_paused(broker: Mosquitto) -> None:
    loop = asyncio.get_running_loop()
    async with Owner(broker.port, window=5, keepalive_s=1) as owner:
        await send(broker.port, range(20))
        await until(lambda: owner.session.outstanding == 5, "the window fills")
        # Mosquitto drops a client after 1.5 keep-alives of silence.
        over_s = loop.time() + 3.5
        await until(lambda: loop.time() > over_s, "time passes")
        await owner.ack_until(lambda: len(owner.messages) >= 20, "the rest")

    assert owner.numbers == list(range(20))
    assert owner.session.reconnects == 0


async def test_a_silent_broker_is_given_up_and_found_again(broker: Mosquitto) -> None:
    assert broker.process is not None
    async with Owner(broker.port, keepalive_s=1) as owner:
        broker.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: owner.session.last_error is not None, "it is noticed")
            assert "silent" in str(owner.session.last_error)
        finally:
            broker.process.send_signal(signal.SIGCONT)
        await owner.session.wait_connected(20)
        await send(broker.port, [1])
        await until(lambda: owner.numbers == [1], "a message after the silence")


async def test_stop_waits_for_the_owner_and_delivers_nothing_more(broker: Mosquitto) -> None:
    async with Owner(broker.port, window=50) as owner:
        await send(broker.port, range(80))
        await until(lambda: owner.session.outstanding == 50, "the window fills")
        owner.session.stop(drain_s=20)
        owner.ack(20)
        await send(broker.port, [80])
        assert not owner.task.done()
        owner.ack()
        async with asyncio.timeout(10):
            await owner.task
        assert len(owner.messages) == 50

    async with Owner(broker.port) as again:
        await until(lambda: len(again.messages) >= 31, "what was not delivered")
        again.ack()
        assert again.numbers == list(range(50, 81))


async def test_paused_delivery_resumes_where_it_stood(broker: Mosquitto) -> None:
    async with Owner(broker.port) as owner:
        owner.session.pause_delivery()
        await send(broker.port, range(10))
        await owner.session.publish("other/x", b"", qos=0)
        assert owner.messages == []
        owner.session.resume_delivery()
        await until(lambda: owner.numbers == list(range(10)), "all delivered")


async def test_two_sessions_of_one_name_are_told_what_is_wrong(broker: Mosquitto) -> None:
    async with Owner(broker.port, "same") as one, Owner(broker.port, "same"):
        await until(lambda: one.session.last_error is not None, "one is pushed out")
        assert "has another worker the client id same?" in str(one.session.last_error)


async def test_stop_ends_a_session_that_never_connected() -> None:
    owner = Owner(free_port())
    owner.start()
    await until(lambda: owner.session.last_error is not None, "the first attempt fails")

    with pytest.raises(BrokerError, match=r"is it running.*WAYMARK_MQTT_URL"):
        await owner.session.wait_connected(0.01)
    await owner.end()


async def test_cancelling_run_closes_the_connection(broker: Mosquitto) -> None:
    async with Owner(broker.port) as owner:
        owner.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner.task
        assert not owner.session.connected.is_set()
        owner.task = asyncio.create_task(asyncio.sleep(0), name="ended")


async def test_an_error_of_the_owner_ends_run(broker: Mosquitto) -> None:
    def on_messages(_: list[Message]) -> None:
        raise ConnectionError("the owner's own trouble")

    session = Session(
        SessionOptions(host="127.0.0.1", port=broker.port, client_id="w", filters=("wm/#",)),
        on_messages,
    )
    task = asyncio.create_task(session.run(), name="mqtt-session")
    await session.wait_connected(10)
    await send(broker.port, [1])

    with pytest.raises(ConnectionError, match="own trouble"):
        await task


async def test_an_oversize_message_is_cut_and_can_be_acknowledged(broker: Mosquitto) -> None:
    async with Owner(broker.port, max_payload_bytes=1_000) as owner:
        await owner.session.publish("wm/t/d/pos", b"7" * 10_000_000)
        await send(broker.port, [5])
        await until(lambda: len(owner.messages) == 2, "both delivered")
        owner.ack()
        await owner.acks_arrived()

    assert [(len(m.payload), m.truncated) for m in owner.messages] == [(1_000, True), (1, False)]
    async with Owner(broker.port) as again:
        await send(broker.port, [6])
        await until(lambda: 6 in again.numbers, "the marker")
        assert again.numbers == [6]


async def test_retained_and_qos_0_messages_are_marked(broker: Mosquitto) -> None:
    await send(broker.port, [1], retain=True)

    async with Owner(broker.port) as owner:
        await send(broker.port, [2], qos=0)
        await until(lambda: len(owner.messages) == 2, "both delivered")

    assert [m.retained for m in owner.messages] == [True, False]
    assert owner.messages[1].ticket == -1


async def test_a_message_published_at_qos_2_arrives_at_qos_1(broker: Mosquitto) -> None:
    async with Owner(broker.port) as owner:
        await send(broker.port, [1], qos=2)
        await until(lambda: owner.numbers == [1], "delivered")
        assert owner.messages[0].ticket > 0


async def test_publish_returns_after_the_broker_has_it(broker: Mosquitto) -> None:
    async with Owner(broker.port) as owner:
        await asyncio.gather(*(owner.session.publish("wm/t/d/cmd", b"%d" % i) for i in range(50)))
        await until(lambda: sorted(owner.numbers) == list(range(50)), "delivered to ourselves")


async def test_publish_without_a_connection_says_so() -> None:
    with pytest.raises(BrokerError, match="not connected"):
        await Owner(1).session.publish("wm/t/d/cmd", b"")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "ingest", "right"], check=True)
    with Mosquitto("allow_anonymous false", f"password_file {passwords}") as server:
        yield server


async def test_a_wrong_password_is_named_and_retried(
    guarded: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    def options(password: str) -> SessionOptions:
        url = f"mqtt://ingest:{password}@127.0.0.1:{guarded.port}"
        return session_options(load_settings(mqtt_url=url, mqtt_group=""), 0)

    owner = Owner.of(options("wrong"))
    owner.start()
    await until(lambda: owner.session.last_error is not None, "the refusal")
    with pytest.raises(BrokerError, match=r"user name or password.*WAYMARK_MQTT_URL|authorise"):
        await owner.session.wait_connected(0.01)
    assert not owner.task.done(), "it keeps trying"
    assert "WAYMARK_MQTT_URL" in caplog.text
    assert "wrong" not in caplog.text
    await owner.end()

    async with Owner.of(options("right")) as allowed:
        assert allowed.session.connected.is_set()


@pytest.mark.skipif(DYNAMIC_SECURITY is None, reason="Mosquitto's dynamic security is missing")
async def test_a_refused_subscription_names_its_filter_and_the_remedy(tmp_path: Path) -> None:
    denied = {"publishClientSend": True, "publishClientReceive": True, "unsubscribe": True}
    (tmp_path / "security.json").write_text(
        json.dumps({"defaultACLAccess": {**denied, "subscribe": False}})
    )
    lines = (f"plugin {DYNAMIC_SECURITY}", f"plugin_opt_config_file {tmp_path}/security.json")
    with Mosquitto(*lines) as server:
        owner = Owner(server.port, group="g")
        owner.start()
        await until(lambda: owner.session.last_error is not None, "the refusal")
        await owner.end()

    sentence = str(owner.session.last_error)
    assert "$share/g/wm/#" in sentence
    assert "WAYMARK_MQTT_GROUP" in sentence


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A CA, a server certificate for 127.0.0.1 and a client certificate, by openssl."""

    def openssl(line: str) -> None:
        subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)

    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca")
    (tmp_path / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(f"req {new_key} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-out {name}.pem -extfile san"
        )
    return tmp_path


@pytest.fixture
async def tls_port(certificates: Path) -> AsyncIterator[int]:
    port = free_port()
    lines = (
        f"listener {port} 127.0.0.1",
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
        "require_certificate true",
    )
    with Mosquitto(*lines) as server:
        yield port
        server.stop()


async def test_tls_with_an_own_ca_and_a_client_certificate(
    tls_port: int, certificates: Path
) -> None:
    settings = load_settings(
        mqtt_url=f"mqtts://127.0.0.1:{tls_port}",
        mqtt_ca_file=f"{certificates}/ca.pem",
        mqtt_cert_file=f"{certificates}/client.pem",
        mqtt_key_file=f"{certificates}/client.key",
        mqtt_window=50,
    )
    async with Owner.of(session_options(settings, 0)) as owner:
        sending = asyncio.gather(
            *(owner.session.publish("wm/t/d/pos", b"%d" % number) for number in range(200))
        )
        await owner.ack_until(lambda: len(owner.messages) == 200, "all delivered")
        await sending

    assert sorted(owner.numbers) == list(range(200))
    assert owner.most_outstanding <= 50


async def test_an_unknown_ca_and_a_plain_port_are_told_apart(
    tls_port: int, broker: Mosquitto
) -> None:
    for port, says in ((tls_port, "WAYMARK_MQTT_CA_FILE"), (broker.port, "mqtts:// port")):
        settings = load_settings(mqtt_url=f"mqtts://127.0.0.1:{port}")
        owner = Owner.of(session_options(settings, 0))
        owner.start()
        await until(lambda owner=owner: owner.session.last_error is not None, "the failure")  # type: ignore[misc]
        await owner.end()
        assert says in str(owner.session.last_error)


async def test_a_peer_that_is_no_broker_is_named() -> None:
    async def web_server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web_server, "127.0.0.1", family=socket.AF_INET)
    async with server:
        owner = Owner(server.sockets[0].getsockname()[1])
        owner.start()
        await until(lambda: owner.session.last_error is not None, "the failure")
        await owner.end()

    assert "is this an MQTT port" in str(owner.session.last_error)
