"""A Mosquitto with our deployed configuration, devices' certificates, and clients to try it."""

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.services import TIMEOUT_FACTOR, Server, accepts, free_port, mosquitto_path

DEPLOYED = Path(__file__).parents[2] / "deploy" / "mosquitto" / "mosquitto.conf"


class SecuredMosquitto(Server):
    """`deploy/mosquitto/mosquitto.conf` on free ports, in a folder of its own.

    The files in `folder/config/waymark` must be there before it starts.
    """

    def __init__(self) -> None:
        super().__init__("secured")
        self.ports = {name: free_port() for name in ("service", "devices", "certificates")}
        text = DEPLOYED.read_text().replace("/mosquitto/", f"{self.folder}/")
        for stated, port in zip((1883, 8883, 8884), self.ports.values(), strict=True):
            text = text.replace(f"listener {stated}\n", f"listener {port} 127.0.0.1\n")
        if os.geteuid() == 0:
            text += "user root\n"
        for name in ("config/waymark", "config/certs", "data"):
            (self.folder / name).mkdir(parents=True)
        self.authority = Authority(self.folder / "config" / "certs")
        (self.folder / "mosquitto.conf").write_text(text)

    @property
    def files(self) -> Path:
        return self.folder / "config" / "waymark"

    @property
    def pid_file(self) -> Path:
        return self.folder / "data" / "mosquitto.pid"

    def command(self) -> list[str]:
        return [mosquitto_path(), "-c", str(self.folder / "mosquitto.conf")]

    def ready(self) -> bool:
        return all(accepts(port) for port in self.ports.values())


class Authority:
    """Signs the broker's certificate, and those of devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        own = self._sign(self._name, self._key, is_authority=True)
        for name in ("ca.crt", "devices-ca.crt"):
            (folder / name).write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self.issue("localhost", "server")

    def issue(self, common_name: str, file: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate, secret = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        certificate.write_bytes(self._sign(subject, key).public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, secret

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@dataclass
class Peer:
    """A client and what happened to it; wait on `until`."""

    client: Client
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    granted: dict[int, bool] = field(default_factory=dict)
    published: set[int] = field(default_factory=set)
    connects: list[str] = field(default_factory=list)
    losses: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 20 * TIMEOUT_FACTOR), what

    def subscribe(self, topic: str) -> bool:
        """Whether the broker says it is granted, which need not mean that anything comes."""
        _, packet_id = self.client.subscribe(topic, qos=1)
        assert packet_id is not None
        self.until(lambda: packet_id in self.granted, f"SUBACK for {topic}")
        return self.granted[packet_id]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the PUBACK, which Mosquitto gives in any case."""
        packet_id = self.client.publish(topic, payload, qos=1, retain=retain).mid
        self.until(lambda: packet_id in self.published, f"PUBACK for {topic}")


@contextmanager
def peer(
    port: int,
    username: str | None = None,
    password: str | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    client_id: str = "",
) -> Iterator[Peer]:
    """A client that has tried to connect; it does not try again."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    made = Peer(client)

    def note(change: Callable[[], object]) -> None:
        with made.changed:
            change()
            made.changed.notify_all()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        note(lambda: made.messages.append((message.topic, bytes(message.payload))))

    def on_subscribe(
        _client: Client, _data: object, packet_id: int, codes: list[ReasonCode], _: object
    ) -> None:
        note(lambda: made.granted.update({packet_id: not any(c.is_failure for c in codes)}))

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.on_publish = lambda *given: note(lambda: made.published.add(given[2]))
    client.on_connect = lambda *given: note(lambda: made.connects.append(str(given[3])))
    client.on_disconnect = lambda *_: note(lambda: setattr(made, "losses", made.losses + 1))
    client.username_pw_set(username, password)
    if tls is not None:
        client.tls_set_context(tls)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        client.connect("127.0.0.1", port)
        client.loop_start()
        made.until(lambda: bool(made.connects) or made.losses > 0, "an answer to CONNECT")
    try:
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


SUCCESS = str(ReasonCode(PacketTypes.CONNACK, "Success"))
