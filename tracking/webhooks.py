"""Targets that events are delivered to: webhooks, and channels that people read. Pure."""

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from tracking.errors import InputError
from tracking.feed import EventRecord, LiveEvent, encode_event, live_event
from tracking.interest import Interest
from tracking.rules import Severity
from tracking.seal import Seal
from tracking.store.devices import Bbox

Kind = Literal["webhook", "apprise"]

# Events about targets are never sent to the target they are about.
TEST, DISABLED = "webhook.test", "webhook.disabled"
# What reads show instead of a secret; saved again it means the one that is kept.
REDACTED = "***"


class AlertsWanted(msgspec.Struct, frozen=True):
    """Which events about alerts; None leaves that question open."""

    rules: tuple[str, ...] | None = None
    severities: tuple[Severity, ...] | None = None

    def fits(self, data: dict[str, Any]) -> bool:
        """Whether the data of an event about an alert are wanted."""
        if self.rules is not None and data.get("rule") not in self.rules:
            return False
        return self.severities is None or data.get("severity") in self.severities


class Wanted(msgspec.Struct, frozen=True):
    """Which events, in the words of the feed's filter, and `alerts`.

    All given must fit. `alerts` without `types` is about alerts alone; with types it limits the
    events about alerts among them.
    """

    types: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    fences: tuple[str, ...] | None = None
    shipments: tuple[str, ...] | None = None
    bbox: tuple[float, float, float, float] | None = None
    alerts: AlertsWanted | None = None


class Webhook(msgspec.Struct, frozen=True):
    """A target as it is defined, without its secrets; `headers` are the names of those sent.

    `url` is None where it is a secret itself. `title` and `text` are templates of a channel.
    """

    id: str
    kind: Kind = "webhook"
    url: str | None = None
    description: str = ""
    filter: Wanted = Wanted()
    headers: tuple[str, ...] = ()
    max_per_s: float | None = None
    title: str | None = None
    text: str | None = None
    time_zone: str = "UTC"


class SigningKey(msgspec.Struct, frozen=True):
    """A secret to sign with, until a time if another took its place."""

    secret: str
    until_us: int | None = None


class Secrets(msgspec.Struct, frozen=True):
    """What only the deliverer reads."""

    keys: tuple[SigningKey, ...] = ()
    headers: dict[str, str] = {}
    url: str | None = None

    def keys_at(self, now_us: int) -> list[str]:
        """The secrets to sign with; the newest first."""
        return [k.secret for k in self.keys if k.until_us is None or k.until_us > now_us]

    def rotated(self, secret: str, now_us: int, overlap_us: int) -> "Secrets":
        """With a new secret; those before it sign along for `overlap_us`."""
        until_us = now_us + overlap_us
        ending = tuple(
            SigningKey(k.secret, min(until_us, k.until_us or until_us))
            for k in self.keys
            if overlap_us and (k.until_us is None or k.until_us > now_us)
        )
        return msgspec.structs.replace(self, keys=(SigningKey(secret), *ending))


def sealed(seal: Seal, tenant_id: int, webhook_id: str, secrets: Secrets) -> bytes:
    """The secrets of a target as they are kept; they open for no other one."""
    return seal.close(f"webhook:{tenant_id}:{webhook_id}", msgspec.json.encode(secrets))


def unsealed(seal: Seal, tenant_id: int, webhook_id: str, closed: bytes) -> Secrets | None:
    """The opposite of `sealed`; None under another WAYMARK_SECRET_KEY."""
    plain = seal.open(f"webhook:{tenant_id}:{webhook_id}", closed)
    return None if plain is None else msgspec.json.decode(plain, type=Secrets)


class Letter(msgspec.Struct, frozen=True):
    """One event on its way to targets; shared by all it goes to."""

    message: str
    record: EventRecord
    live: LiveEvent

    @classmethod
    def of(cls, record: EventRecord) -> "Letter":
        """The letter of a revision; the same revision has the same `message`, the webhook-id."""
        return cls(f"{record.id}_{record.revision}", record, live_event(encode_event(record)))

    @property
    def body(self) -> bytes:
        """What is sent: the event as CloudEvents JSON."""
        return self.live.raw


class Matcher:
    """Whether a target wants an event."""

    def __init__(self, target: str, wanted: Wanted) -> None:
        self._target = target
        types = wanted.types
        if types is None and wanted.alerts is not None:
            types = ("alert.*",)
        self._alerts = wanted.alerts
        self._interest = Interest(
            devices=_set(wanted.devices),
            bbox=None if wanted.bbox is None else Bbox(*wanted.bbox),
            types=None if types is None or "*" in types else frozenset(types),
            fences=_set(wanted.fences),
            shipments=_set(wanted.shipments),
        )

    def wants(self, letter: Letter) -> bool:
        """Whether it fits everything that is given."""
        type_ = letter.record.type
        if type_ == DISABLED and letter.record.subject == self._target:
            return False
        if not self._interest.wants_event(letter.live):
            return False
        about_alert = self._alerts is not None and type_.startswith("alert.")
        return not about_alert or self._alerts.fits(letter.record.data)  # type: ignore[union-attr]


def channel_fault(url: str, schemas: Collection[str]) -> str | None:
    """What is wrong with the URL of a channel, as far as it can be told without Apprise."""
    schema, found, rest = url.partition("://")
    if not found or schema.lower() not in schemas:
        permitted = ", ".join(sorted(schemas)) or "none: channels are off here"
        return f"use one of these schemas: {permitted}"
    if schema.lower() in _LOCAL:
        return "this schema is about the server itself"
    names = {part.partition("=")[0].lower() for part in rest.partition("?")[2].split("&")}
    if _FILES & names:
        return f"{', '.join(sorted(_FILES & names))} would be read on the server"
    return None


def check_headers(headers: dict[str, str]) -> None:
    """Refuse headers that cannot be sent, or that are ours to say.

    Raises:
        InputError: naming `headers`.
    """
    for name, value in headers.items():
        lower = name.lower()
        if lower in _OURS or lower.startswith("webhook-"):
            raise InputError(f"{name} is not yours to set", field="headers")
        if not name or any(c not in _TOKEN for c in lower):
            raise InputError(f"{name!r} is no name of a header", field="headers")
        if not all(" " <= c <= "~" for c in value):
            raise InputError(f"{name} may only hold printable ASCII", field="headers")


# Schemas that act on the machine, and options that name its files or hold up its threads.
_LOCAL = frozenset(
    ["blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"]
)
_FILES = frozenset(["attach", "cto", "keyfile", "pgp", "pgpkey", "rto", "subfile", "template"])
_TOKEN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
_OURS = frozenset(
    [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "user-agent",
        "accept-encoding",
        "proxy-authorization",
        "keep-alive",
    ]
)


def _set(values: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
