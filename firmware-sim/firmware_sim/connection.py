"""The one module that knows paho: a connection driven from outside, replaced when it drops."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from firmware_sim.options import OptionError

logger = logging.getLogger(__name__)

_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "Broker":
        """Read `mqtt://[user:password@]host[:port]`, or mqtts for TLS.

        Raises:
            OptionError: it is not such a URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise OptionError(f"mqtt: {url!r} is not a URL: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise OptionError(f"mqtt: {url!r} is not like mqtt://host:1883 or mqtts://host:8883")
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            port or (8883 if tls else 1883),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            tls,
        )


class Connection:
    """One MQTT 3.1.1 session from CONNECT to its end; clean, since the outbox keeps what matters.

    *on_ready* is called on an accepted CONNACK, *on_ack* with each acknowledged packet id,
    *on_message* with the topic and payload of what arrives. The
    owner watches `fileno`, calls `read` and `write` when the socket is ready and `tick` once a
    second, and makes a new one when `is_alive` is false.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will_topic: str | None,
        on_ready: Callable[[], None],
        on_ack: Callable[[int], None],
        on_message: Callable[[str, bytes], None],
    ) -> None:
        self.is_alive = True
        self.is_ready = False
        self.refusal: str | None = None
        self._on_ready = on_ready
        self._on_ack = on_ack
        self._on_message = on_message
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=True,
            # Else it would open a socket of its own accord when a broker refuses 3.1.1.
            reconnect_on_failure=False,
        )
        # The outbox has the window; paho must never queue on its own.
        client.max_inflight_messages_set(0)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            client.tls_set_context(ssl.create_default_context())
        if will_topic is not None:
            client.will_set(will_topic, b'{"online":false}', qos=1, retain=True)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._arrived
        # With this set paho leaves writing to us: one loop_write for many messages.
        client.on_socket_register_write = _leave_it
        self._client = client
        try:
            client.connect(broker.host, broker.port, keepalive=_KEEPALIVE_S)
        except OSError as error:
            # Refused, unreachable, unresolvable, or TLS said no: the same to a device in the field.
            logger.debug("connect failed: %s", error)
            self.refusal = str(error)
            self.is_alive = False

    def fileno(self) -> int:
        """The socket to watch; -1 when there is none."""
        sock = self._client.socket()
        return sock.fileno() if sock is not None else -1

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait that the socket did not take."""
        return self._client.want_write()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Queue one QoS 1 PUBLISH and return its packet id; `write` sends it."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def subscribe(self, topics: list[str]) -> None:
        """Queue one SUBSCRIBE at QoS 1; `write` sends it."""
        self._client.subscribe([(topic, 1) for topic in topics])

    def read(self) -> None:
        """Take in what has arrived."""
        self._check(self._client.loop_read())

    def write(self) -> None:
        """Send what is queued, as far as the socket takes it."""
        self._check(self._client.loop_write())

    def tick(self) -> None:
        """Keep alive. Call about once a second."""
        self._check(self._client.loop_misc())

    def close(self, *, politely: bool) -> None:
        """End it: with DISCONNECT, or just dropped so that the broker sends the will."""
        if politely and self.is_ready:
            self._client.disconnect()
            self._client.loop_write()
        self.is_alive = self.is_ready = False
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.is_alive = self.is_ready = False

    def _connected(
        self,
        _client: Client,
        _userdata: Any,  # noqa: ANN401  -- paho's signature
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
            self.is_alive = False
            return
        self.is_ready = True
        self._on_ready()

    def _disconnected(
        self,
        _client: Client,
        _userdata: Any,  # noqa: ANN401  -- paho's signature
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        logger.debug("disconnected: %s", reason)
        self.is_alive = self.is_ready = False

    def _published(
        self,
        _client: Client,
        _userdata: Any,  # noqa: ANN401  -- paho's signature
        packet_id: int,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._on_ack(packet_id)

    def _arrived(
        self,
        _client: Client,
        _userdata: Any,  # noqa: ANN401  -- paho's signature
        message: MQTTMessage,
    ) -> None:
        self._on_message(message.topic, bytes(message.payload))


def _leave_it(_client: Client, _userdata: Any, _sock: Any) -> None:  # noqa: ANN401  -- paho's signature
    pass
