"""Topics: MQTT filters, the native topic, and the devices that topics name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ingest.decoders.faults import PayloadError, shown
from ingest.readings import DeviceKey
from tracking.broker_access import DEVICE_NAME, TENANT_NAME
from tracking.errors import SettingsError
from tracking.quality import Reject

if TYPE_CHECKING:
    from ingest.decoders.gather import Gather
    from ingest.mqtt import Message


class Reader(Protocol):
    """What one native channel or one foreign format knows of its payloads."""

    def read(self, payload: bytes, /) -> Any:  # noqa: ANN401  -- for its own `keep`
        """Decode a payload that holds one element.

        Raises:
            PayloadError, or one of REFUSED when `read_apart` is to try.
        """

    def keep(
        self,
        gather: "Gather",
        route: "Route",
        message: "Message",
        element: Any,  # noqa: ANN401  -- what this reader's own `read` returned
        /,
    ) -> Sequence[PayloadError]:
        """Add the readings of one element; return the faults of the parts left out.

        Raises:
            PayloadError: when nothing of it can be kept.
        """

    def read_apart(self, gather: "Gather", route: "Route", index: int, message: "Message") -> None:
        """Add the readings of a message that `read` refused, and reject what holds none.

        Raises:
            PayloadError: when the message as a whole cannot be read.
        """


@dataclass(slots=True)
class Devices:
    """Gives each (tenant, device) a number; numbers are never reused while the process lives."""

    keys: list[DeviceKey] = field(default_factory=list)
    _ids: dict[DeviceKey, int] = field(default_factory=dict)

    def intern(self, device: DeviceKey) -> int:
        """Return the number of a device, a new one at first sight."""
        key_id = self._ids.setdefault(device, len(self.keys))
        if key_id == len(self.keys):
            self.keys.append(device)
        return key_id

    def find(self, device: DeviceKey) -> int:
        """Return the number of a device already seen, else -1."""
        return self._ids.get(device, -1)


class Route:
    """Where messages of one topic go: which device, which reader.

    `key_id` is -1 until the first good reading, so a topic that only ever carried rubbish takes
    no place among the devices. `read` and `keep` are the reader's, bound here because the way
    through the reader costs 0.1 us a message.
    """

    __slots__ = ("device", "devices", "keep", "key_id", "read", "reader")

    def __init__(self, device: DeviceKey, devices: Devices, reader: Reader) -> None:
        self.device = device
        self.devices = devices
        self.reader = reader
        self.read = reader.read
        self.keep = reader.keep
        self.key_id = -1

    def intern(self) -> int:
        """Return the device's number, asking for one at its first good reading."""
        if self.key_id < 0:
            self.key_id = self.devices.intern(self.device)
        return self.key_id


class TopicFilter:
    """One MQTT topic filter, with `+` for a level and a final `#` for any number of levels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.levels = text.split("/")
        wild = [level for level in self.levels if "+" in level or "#" in level]
        if not text or any(len(level) > 1 for level in wild) or "#" in self.levels[:-1]:
            raise SettingsError(
                f"WAYMARK_FORMATS: {text!r} is not an MQTT topic filter: "
                "`+` stands for one whole level, `#` only at the end"
            )

    def matches(self, levels: Sequence[str]) -> bool:
        """Say whether a topic matches, by the rules of MQTT 5 section 4.7."""
        if levels[0].startswith("$") and self.levels[0] in ("+", "#"):
            return False
        for at, level in enumerate(self.levels):
            if level == "#":
                return True
            if at == len(levels):
                return False
            if level not in ("+", levels[at]):
                return False
        return len(levels) == len(self.levels)

    @property
    def tail_at(self) -> int:
        """The level at which the trailing wildcards begin: `owntracks/+/+` gives 1."""
        at = len(self.levels)
        while at and self.levels[at - 1] in ("+", "#"):
            at -= 1
        return at


def split_topic(topic: bytes) -> list[str]:
    """Split a topic into levels.

    Raises:
        PayloadError: BAD_TOPIC, when the topic is not UTF-8.
    """
    try:
        return topic.decode().split("/")
    except UnicodeDecodeError as exc:
        raise PayloadError(Reject.BAD_TOPIC, f"topic {shown(topic)} is not UTF-8") from exc


def split_native(levels: Sequence[str]) -> tuple[DeviceKey, str]:
    """Split `wm/{tenant}/{device}/{channel}` into device and channel.

    Raises:
        PayloadError: BAD_TOPIC or BAD_DEVICE_NAME.
    """
    if len(levels) != 4 or not all(levels):
        raise PayloadError(
            Reject.BAD_TOPIC,
            f"topic {shown('/'.join(levels))} is not wm/TENANT/DEVICE/CHANNEL",
        )
    _, tenant, device, channel = levels
    if not TENANT_NAME.fullmatch(tenant):
        raise PayloadError(
            Reject.BAD_TOPIC,
            f"tenant {shown(tenant)} is not 1..64 of A-Z a-z 0-9 . _ - starting with one of A-Z "
            "a-z 0-9",
        )
    return DeviceKey(tenant, device_name(device)), channel


def device_name(text: str) -> str:
    """Return a device name unchanged.

    Raises:
        PayloadError: BAD_DEVICE_NAME, for wildcards, control characters, slashes and length.
    """
    if not DEVICE_NAME.fullmatch(text):
        raise PayloadError(
            Reject.BAD_DEVICE_NAME,
            f"device name {shown(text)} is not 1..128 of A-Z a-z 0-9 . _ : @ -",
        )
    return text
