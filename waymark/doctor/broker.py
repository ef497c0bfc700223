"""Checks of the MQTT broker, by paho: a client that is not our own, as those of devices are not."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt import SessionOptions, session_options
from tracking.errors import BrokerError, SettingsError
from tracking.settings import Settings
from waymark.doctor.finding import TIMEOUT_S, Finding, one_line, without_password

# More than the thousand Mosquitto queues as shipped, where it then drops without a word.
_QUEUED = 1_100


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Reachable, delivers, shares a subscription, keeps a session's messages while it is away."""
    url = without_password(settings.mqtt_url.get_secret_value())
    topic = f"waymark/doctor/{secrets.token_hex(8)}"
    try:
        options = session_options(settings, 0)
        with Probe(options) as client:
            yield Finding("broker", "reachable", "ok", url)
            yield _delivery(client, f"{topic}/plain")
            yield _sharing(client, f"{topic}/shared", options.group)
        yield _queueing(options, f"{topic}/queued")
    except SettingsError as exc:
        yield Finding("broker", "settings", "fail", str(exc), "correct the variable")
    except (OSError, BrokerError) as exc:
        yield Finding(
            "broker",
            "reachable",
            "fail",
            f"{url}: {one_line(exc)}",
            "start an MQTT broker or `waymark up`, and set WAYMARK_MQTT_URL to it",
        )


class Probe:
    """A paho client with one thread of its own; each call waits for the broker's answer.

    Raises:
        OSError: the broker cannot be reached.
        BrokerError: it refused, or did not answer in time.
    """

    def __init__(
        self, options: SessionOptions, *, client_id: str | None = None, clean: bool = True
    ) -> None:
        self.payloads: list[bytes] = []
        self._host, self._port = options.host, options.port
        self._changed = threading.Condition()
        self._connect_answer: str | None = None
        self._subscribe_answers: dict[int, bool] = {}
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or f"waymark-doctor-{secrets.token_hex(6)}",
            clean_session=clean,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        self._client.connect_timeout = TIMEOUT_S
        self._client.max_inflight_messages_set(200)
        self._client.username_pw_set(options.username, options.password)
        if options.tls is not None:
            self._client.tls_set_context(options.tls)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1."""
        code, packet_id = self._client.subscribe(topic, qos=1)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise BrokerError("the broker closed the connection")
        self._await(lambda: packet_id in self._subscribe_answers, f"no answer to SUBSCRIBE {topic}")
        if not self._subscribe_answers[packet_id]:
            raise BrokerError(f"the broker refused the subscription to {topic}")

    def publish(self, topic: str, count: int = 1) -> None:
        """Publish `count` messages at QoS 1 and wait for their PUBACKs."""
        sent = [self._client.publish(topic, b"%d" % index, qos=1) for index in range(count)]
        deadline = time.monotonic() + TIMEOUT_S
        for info in sent:
            info.wait_for_publish(max(0.0, deadline - time.monotonic()))
            if not info.is_published():
                raise BrokerError(f"no PUBACK for a message on {topic}")

    def received(self, count: int) -> int:
        """Wait for `count` messages, or for half a second without any; return how many came."""
        with self._changed:
            while len(self.payloads) < count and self._changed.wait(timeout=0.5):
                pass
            return len(self.payloads)

    def __enter__(self) -> Self:
        self._client.connect(self._host, self._port)
        self._client.loop_start()
        try:
            self._await_connack()
        except BrokerError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _await_connack(self) -> None:
        self._await(lambda: self._connect_answer is not None, "no answer to CONNECT")
        if self._connect_answer:
            raise BrokerError(f"the broker refused the connection: {self._connect_answer}")

    def _await(self, condition: Callable[[], bool], failure: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout=TIMEOUT_S):
                raise BrokerError(f"{failure} within {TIMEOUT_S:.0f} s")

    # paho calls these on its thread.

    def _on_connect(
        self, _client: Client, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        with self._changed:
            self._connect_answer = str(code) if code.is_failure else ""
            self._changed.notify_all()

    def _on_subscribe(
        self,
        _client: Client,
        _data: object,
        packet_id: int,
        codes: list[ReasonCode],
        _props: object,
    ) -> None:
        with self._changed:
            self._subscribe_answers[packet_id] = not any(code.is_failure for code in codes)
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._changed:
            self.payloads.append(bytes(message.payload))
            self._changed.notify_all()


def _delivery(client: Probe, topic: str) -> Finding:
    advice = (
        f"let this user subscribe and publish, at least below {topic.rsplit('/', 2)[0]}/ and wm/"
    )
    try:
        client.subscribe(topic)
        started_s = time.monotonic()
        client.publish(topic)
        if client.received(1) != 1:
            return Finding("broker", "delivers", "fail", "a message did not come back", advice)
    except BrokerError as exc:
        return Finding("broker", "delivers", "fail", str(exc), advice)
    took_ms = (time.monotonic() - started_s) * 1_000
    return Finding("broker", "delivers", "ok", f"a message came back in {took_ms:.1f} ms")


def _sharing(client: Probe, topic: str, group: str | None) -> Finding:
    if group is None:
        return Finding("broker", "shares", "ok", "not used: WAYMARK_MQTT_GROUP is empty")
    advice = "run one worker with an empty WAYMARK_MQTT_GROUP, or use a broker that has $share"
    before = len(client.payloads)
    try:
        # A group of its own, so that no worker's share is taken.
        client.subscribe(f"$share/{group}-doctor/{topic}")
        client.publish(topic)
        came = client.received(before + 1) - before
    except BrokerError as exc:
        return Finding("broker", "shares", "fail", str(exc), advice)
    if came != 1:
        found = f"one message to a shared subscription came {came} times"
        return Finding("broker", "shares", "fail", found, advice)
    return Finding("broker", "shares", "ok", "shared subscriptions work")


def _queueing(options: SessionOptions, topic: str) -> Finding:
    """A session subscribes and leaves; what is published meanwhile must reach it later."""
    name = f"waymark-doctor-{secrets.token_hex(6)}"
    try:
        with Probe(options, client_id=name, clean=False) as away:
            away.subscribe(topic)
        with Probe(options) as publisher:
            publisher.publish(topic, _QUEUED)
        with Probe(options, client_id=name, clean=False) as back:
            came = back.received(_QUEUED)
    except (OSError, BrokerError) as exc:
        return Finding("broker", "queues", "fail", one_line(exc), "see the broker's log")
    finally:
        # Connecting clean under its name is how a session is deleted.
        with Probe(options, client_id=name):
            pass
    if came >= _QUEUED:
        return Finding("broker", "queues", "ok", f"kept {came:,} messages for a client away")
    return Finding(
        "broker",
        "queues",
        "warn" if came else "fail",
        f"kept {came:,} of {_QUEUED:,} messages for a client away: the rest is lost",
        "raise its queue limit (Mosquitto: max_queued_messages 2000000, "
        "max_inflight_messages 65535)",
    )
