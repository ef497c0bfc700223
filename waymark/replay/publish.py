"""QoS 1 to the broker with a bounded number of messages in flight.

Single-threaded: the caller's thread drives the network, so there is no queue between reading and
sending and the bound is exact. A message counts as published when the broker has acknowledged it.
"""

import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tracking.errors import BrokerError, InputError

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_KEEPALIVE_S = 30
_LONGEST_RETRY_S = 10.0
# A broker that ends session after session without one acknowledgement refuses what we send:
# Mosquitto 2.0.11 does so on a forbidden topic when its queues are unlimited.
_FRUITLESS_SESSIONS = 10
# Once stopped, how long acknowledgements already on their way are waited for.
_LAST_ACKS_S = 5.0
# The broker speaks another version (MQTT 5, 3.2.2.2); 3.1.1's answer reads the same to paho.
_UNSUPPORTED_VERSION = 132
# Between sends the socket is read every so many messages: reading after each one costs a select.
_READ_EVERY = 32


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish, and as whom."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


def parse_url(
    url: str, ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
) -> Broker:
    """The broker a `mqtt://` or `mqtts://` URL names.

    Raises:
        InputError: it is no such URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as exc:
        raise InputError(f"the port in the MQTT URL is no port: {exc}", field="mqtt") from exc
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise InputError("the MQTT URL reads mqtt://host:port or mqtts://host:port", field="mqtt")
    tls = parts.scheme == "mqtts"
    return Broker(
        parts.hostname,
        port or (8883 if tls else 1883),
        tls,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        ca_file,
        cert_file,
        key_file,
    )


class Publisher:
    """One session at the broker; a context manager for one thread.

    MQTT 5 is spoken where the broker does, because only its acknowledgement can say "refused";
    3.1.1 otherwise. After a lost connection everything unacknowledged is sent again (with the DUP
    flag), for at most `give_up_s` of absence. `stop` is asked while waiting; once it says True,
    waits end early.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        window: int = 1_000,
        give_up_s: float = 300.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._broker = broker
        self._limit = window
        self._window = window
        self._give_up_s = give_up_s
        self._stop = stop
        self._connected = False
        self._refusal: ReasonCode | None = None
        self._unread = 0
        self._fruitless = 0
        self._client = self._new_client(MQTTProtocolVersion.MQTTv5)
        self.in_flight = 0
        self.acknowledged = 0
        self.refused = 0
        self.reconnects = 0

    def __enter__(self) -> Self:
        if not self._try_connect() and not self._stop() and self._may_be_older():
            self._client = self._new_client(MQTTProtocolVersion.MQTTv311)
            self._try_connect()
        if self._refusal is not None:
            raise BrokerError(self._refused())
        if not self._connected and not self._stop():
            raise BrokerError(f"the broker at {self._where} closed the connection unanswered")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_write()

    def _may_be_older(self) -> bool:
        # A 3.1.1 broker says so, or closes the connection, or never answers.
        return self._refusal is None or self._refusal.value == _UNSUPPORTED_VERSION

    def _refused(self) -> str:
        return (
            f"the broker at {self._where} refused us ({self._refusal}): "
            "check user, password and rights in the MQTT URL"
        )

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send one message, waiting for room in the window; False when stopped before.

        Raises:
            BrokerError: the broker stayed away too long.
        """
        if self.in_flight >= self._window:
            # Half the window at once, so that acknowledgements are read in bulk.
            self._wait_until(lambda: self.in_flight <= self._window // 2)
        if self._stop():
            return False
        while self._client.publish(topic, payload, qos=1).rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            # This packet identifier is still waiting for its acknowledgement from 65,535 ago.
            self._serve(0.05)
        self.in_flight += 1
        self._unread += 1
        if self._unread >= _READ_EVERY or not self._client.is_connected():
            self._serve(0.0)
        return True

    def idle(self, seconds: float) -> None:
        """Serve the connection for `seconds`, less when stopped."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop():
            self._serve(min(left, 0.2))

    def drain(self) -> bool:
        """Wait until everything sent is acknowledged, once stopped only briefly; whether it is."""
        stopped_at: float | None = None
        while self.in_flight:
            if self._stop():
                stopped_at = stopped_at or time.monotonic()
                if not self._connected or time.monotonic() - stopped_at > _LAST_ACKS_S:
                    return False
            self._serve(0.1)
        return True

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not ready() and not self._stop():
            self._serve(0.2)

    def _serve(self, timeout_s: float) -> None:
        self._unread = 0
        if self._client.loop(timeout_s) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._reconnect()

    def _reconnect(self) -> None:
        self._connected = False
        self.reconnects += 1
        log.warning("the broker at %s is away; trying again", self._where)
        until = time.monotonic() + self._give_up_s
        pause_s = 0.1
        while not self._stop():
            with contextlib.suppress(BrokerError):
                if self._try_connect():
                    return
            self._give_up_when_hopeless(until)
            asleep_until = time.monotonic() + pause_s
            while time.monotonic() < asleep_until and not self._stop():
                time.sleep(0.05)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_S)

    def _give_up_when_hopeless(self, until: float) -> None:
        if self._refusal is not None:
            raise BrokerError(self._refused())
        if self.in_flight and self._fruitless >= _FRUITLESS_SESSIONS:
            raise BrokerError(
                f"the broker at {self._where} ends the connection whenever we publish: check its "
                "access rules for this tenant and its limits"
            )
        if time.monotonic() > until:
            raise BrokerError(
                f"the broker at {self._where} stayed away for {self._give_up_s:.0f} s, with "
                f"{self.in_flight} messages unacknowledged: replay again when it is back"
            )

    def _try_connect(self) -> bool:
        """Connect and wait for the broker's answer; False when none came."""
        self._refusal = None
        try:
            if self._client.host:
                self._client.reconnect()
            else:
                self._client.connect(self._broker.host, self._broker.port, _KEEPALIVE_S)
        except (OSError, ValueError) as exc:
            raise BrokerError(
                f"no MQTT broker at {self._where} ({exc}): start one, or name another with --mqtt"
            ) from exc
        until = time.monotonic() + _CONNECT_TIMEOUT_S
        while not self._answered() and time.monotonic() < until:
            if self._client.loop(0.2) is not MQTTErrorCode.MQTT_ERR_SUCCESS or self._stop():
                break
        return self._connected

    def _answered(self) -> bool:
        return self._connected or self._refusal is not None

    def _new_client(self, protocol: MQTTProtocolVersion) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        # The window is kept here; paho's own search of its queue is quadratic in the window.
        client.max_inflight_messages_set(0)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            try:
                client.tls_set(self._broker.ca_file, self._broker.cert_file, self._broker.key_file)
            except (OSError, ssl.SSLError, ValueError) as exc:
                raise BrokerError(f"the TLS files cannot be used: {exc}") from exc
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self,
        _client: Client,
        _data: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = reason
            return
        self._connected = True
        self._fruitless += 1
        # MQTT 5: more unacknowledged messages than the broker allows end the session.
        self._window = min(self._limit, getattr(properties, "ReceiveMaximum", self._limit))

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._connected = False

    def _on_publish(
        self,
        _client: Client,
        _data: object,
        _mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self.in_flight -= 1
        if reason.is_failure:
            self.refused += 1
        else:
            self.acknowledged += 1
            self._fruitless = 0
