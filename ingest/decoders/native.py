"""The native channels `pos`, `sensor`, `tag`, `status` and `ack`: the hot path of ingest.

A payload is decoded straight into a Struct that checks types and ranges in C. Only when that
fails is it taken apart element by element, to keep the good ones and name each fault; an element
goes through the same code whether it came alone or in an array.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from ingest.decoders.diagnose import diagnose
from ingest.decoders.faults import PayloadError, shown
from ingest.decoders.gather import Fix, Gather, Read, Value
from ingest.decoders.payload import (
    MAX_ELEMENTS,
    attrs_text,
    check_not_empty,
    not_json,
    read_any,
    too_deep,
)
from ingest.decoders.times import EARLIEST_US, LATEST_US, time_us
from ingest.readings import Ack, Rejection, Status
from ingest.topics import Reader, Route
from tracking.broker_access import DOWNLINK
from tracking.commands import Word
from tracking.quality import Reject

if TYPE_CHECKING:
    from ingest.mqtt import Message

_EARLIEST_MS = EARLIEST_US // 1_000
_LATEST_MS = LATEST_US // 1_000
_METRIC = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MAX_VALUES = 1_000
_EPC_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){1,248}")
_EPC_URI = re.compile(r"urn:epc:[!-~]{1,504}")
_INT32_MAX = 2**31 - 1
_WORDS: dict[str, Word] = {word: word for word in get_args(Word)}
_STATUS_WORDS = {b"online": True, b"true": True, b"offline": False, b"false": False}
# How msgspec refuses a payload: not JSON or not of the type, not UTF-8, nested too deep.
REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])

# Adds the readings of one element, or raises; returns the faults of parts it left out.
Keep = Callable[[Gather, Route, "Message", Any], Sequence[PayloadError]]


class SensorReading(msgspec.Struct, gc=False):
    """An element of the `sensor` channel."""

    t: int | float | str
    values: dict[str, float | bool | None]


class LooseSensorReading(msgspec.Struct, gc=False):
    """The same with any values: read when one of them is not a number, to keep the others."""

    t: int | float | str
    values: dict[str, msgspec.Raw]


class TagReading(msgspec.Struct, gc=False):
    """An element of the `tag` channel."""

    t: int | float | str
    epc: str
    antenna: Annotated[int, Meta(ge=0, le=_INT32_MAX)] | None = None
    rssi_dbm: Annotated[float, Meta(ge=-200, le=100)] | None = None
    count: Annotated[int, Meta(ge=1, le=_INT32_MAX)] | None = None


class AckReading(msgspec.Struct, gc=False):
    """An element of the `ack` channel."""

    id: str
    status: str
    result: msgspec.Raw = msgspec.Raw()


class StatusReading(msgspec.Struct, gc=False):
    """An element of the `status` channel."""

    online: bool


class Channel:
    """The `Reader` of one native channel, whose payloads are an object or an array of them."""

    def __init__(
        self,
        struct: type[msgspec.Struct],
        keep: Keep,
        loose: type[msgspec.Struct] | None = None,
    ) -> None:
        self._struct = struct
        self.keep = keep
        self.read: Callable[[bytes | msgspec.Raw], object] = msgspec.json.Decoder(struct).decode
        self._read_all = msgspec.json.Decoder(list[struct]).decode  # type: ignore[valid-type]
        self._read_loose = None if loose is None else msgspec.json.Decoder(loose).decode

    def read_apart(self, gather: Gather, route: Route, index: int, message: "Message") -> None:
        """Add what an array holds, or what else is good in a payload that was refused."""
        payload = message.payload
        if not payload.lstrip(b" \t\r\n").startswith(b"["):
            check_not_empty(payload)
            for fault in self._add_raw(gather, route, message, payload):
                reject(gather, route, index, fault)
            return
        add: Callable[[Gather, Route, Message, Any], Sequence[PayloadError]]
        elements: Sequence[object]
        try:
            add, elements = self._add, self._read_all(payload)
        except REFUSED:
            add, elements = self._add_raw, _raw_elements(payload)
        _check_length(elements)
        for at, element in enumerate(elements):
            for fault in add(gather, route, message, element):
                reject(gather, route, index, fault, at)

    def _add(
        self, gather: Gather, route: Route, message: "Message", element: object
    ) -> Sequence[PayloadError]:
        try:
            return self.keep(gather, route, message, element)
        except PayloadError as fault:
            return (fault,)

    def _add_raw(
        self, gather: Gather, route: Route, message: "Message", raw: bytes | msgspec.Raw
    ) -> Sequence[PayloadError]:
        for read in (self.read, self._read_loose):
            try:
                if read is not None:
                    return self._add(gather, route, message, read(raw))
            except REFUSED:
                continue
        return (diagnose(raw, self._struct),)


def _raw_elements(payload: bytes) -> list[msgspec.Raw]:
    try:
        return _raw_list.decode(payload)
    except msgspec.DecodeError as exc:
        raise not_json(payload, exc) from exc
    except RecursionError as exc:
        raise too_deep() from exc


def reject(
    gather: Gather, route: Route, index: int, fault: PayloadError, at: int | None = None
) -> None:
    """Note a rejection of the message at `index`, or of its element `at`."""
    detail = fault.detail if at is None else f"element {at}: {fault.detail}"
    gather.rejects.append(
        Rejection(index, route.device.tenant, route.device.name, fault.reason, detail)
    )


def _check_length(elements: Sequence[object]) -> None:
    if not elements:
        raise PayloadError(Reject.EMPTY, "the array is empty")
    if len(elements) > MAX_ELEMENTS:
        raise PayloadError(
            Reject.TOO_LARGE,
            f"the array has {len(elements)} elements, more than {MAX_ELEMENTS}: split it",
        )


def keep_fix(gather: Gather, route: Route, message: "Message", fix: Fix) -> Sequence[PayloadError]:
    """Add a position.

    Raises:
        PayloadError: when its time or its attrs cannot be used.
    """
    t = fix.t
    # Most devices send epoch milliseconds; the comparison spares them a call of 0.2 us.
    fix_time_us = t * 1_000 if type(t) is int and _EARLIEST_MS <= t < _LATEST_MS else time_us(t)
    if fix.attrs:
        attrs = attrs_text(fix.attrs)
        if attrs is not None:
            gather.attrs[len(gather.fixes)] = attrs
    key_id = route.key_id
    gather.keys.append(key_id if key_id >= 0 else route.intern())
    gather.times_us.append(fix_time_us)
    gather.received_us.append(message.received_us)
    gather.fixes.append(fix)
    return ()


def keep_values(
    gather: Gather, route: Route, message: "Message", reading: SensorReading | LooseSensorReading
) -> Sequence[PayloadError]:
    """Add one measurement per numeric value; a bad name or value costs only itself."""
    values: Mapping[str, object] = reading.values
    if not values:
        raise PayloadError(Reject.EMPTY, "values is empty")
    if len(values) > MAX_VALUES:
        raise PayloadError(
            Reject.BAD_FIELD, f"values has {len(values)} members, more than {MAX_VALUES}"
        )
    fix_time_us = time_us(reading.t)
    faults = []
    for metric, value in values.items():
        try:
            number = _number(metric, value)
        except PayloadError as fault:
            faults.append(fault)
            continue
        if number is not None:
            gather.values.append(
                Value(route.intern(), fix_time_us, message.received_us, metric, number)
            )
    return faults


def _number(metric: str, value: object) -> float | None:
    if not _METRIC.fullmatch(metric):
        raise PayloadError(
            Reject.BAD_FIELD, f"metric name {shown(metric)} is not 1..64 of A-Z a-z 0-9 _ . : -"
        )
    if isinstance(value, msgspec.Raw):
        try:
            value = read_any(value)
        except PayloadError as fault:
            raise PayloadError(fault.reason, f"values.{metric}: {fault.detail}") from fault
    if value is None:
        return None
    if not isinstance(value, (bool, int, float)):
        raise PayloadError(Reject.BAD_FIELD, f"values.{metric} {shown(value)} is not a number")
    try:
        return float(value)
    except OverflowError as exc:
        raise PayloadError(Reject.BAD_FIELD, f"values.{metric} is out of range") from exc


def keep_read(
    gather: Gather, route: Route, message: "Message", reading: TagReading
) -> Sequence[PayloadError]:
    """Add a tag read; hex is upper-cased and keeps its leading zeros.

    Raises:
        PayloadError: when its time or its EPC cannot be used.
    """
    fix_time_us = time_us(reading.t)
    epc = reading.epc
    if _EPC_HEX.fullmatch(epc):
        epc = epc.upper()
    elif not _EPC_URI.fullmatch(epc):
        raise PayloadError(
            Reject.BAD_FIELD, f"epc {shown(epc)} is neither whole bytes in hex nor urn:epc:..."
        )
    gather.reads.append(
        Read(
            route.intern(),
            fix_time_us,
            message.received_us,
            epc,
            -1 if reading.antenna is None else reading.antenna,
            math.nan if reading.rssi_dbm is None else reading.rssi_dbm,
            1 if reading.count is None else reading.count,
        )
    )
    return ()


def keep_status(
    gather: Gather, route: Route, message: "Message", reading: StatusReading
) -> Sequence[PayloadError]:
    """Add a status."""
    gather.statuses.append(
        Status(route.intern(), reading.online, message.received_us, message.retained)
    )
    return ()


def keep_ack(
    gather: Gather, route: Route, message: "Message", reading: AckReading
) -> Sequence[PayloadError]:
    """Add a word on a command.

    Raises:
        PayloadError: when it names no command, or says nothing we know.
    """
    try:
        command = UUID(reading.id)
    except ValueError as exc:
        raise PayloadError(Reject.BAD_FIELD, f"id {shown(reading.id)} is no command's") from exc
    if reading.status not in _WORDS:
        raise PayloadError(
            Reject.BAD_FIELD, f"status {shown(reading.status)} is none of {', '.join(_WORDS)}"
        )
    result = attrs_text(reading.result, "result") if reading.result else None
    gather.acks.append(Ack(route.intern(), command, _WORDS[reading.status], result, message))
    return ()


class StatusChannel(Channel):
    """The `status` channel, which also takes the words online, offline, true and false."""

    def __init__(self) -> None:
        super().__init__(StatusReading, keep_status)
        self._read_json = self.read
        self.read = self._read_word_or_json

    def _read_word_or_json(self, payload: bytes | msgspec.Raw) -> object:
        online = None
        if len(payload) <= 16:
            online = _STATUS_WORDS.get(bytes(payload).strip(b' \t\r\n"').lower())
        return self._read_json(payload) if online is None else StatusReading(online)


# What we publish ourselves shares the tree.
IGNORED_CHANNELS = frozenset({DOWNLINK})
CHANNELS: dict[str, Reader] = {
    "pos": Channel(Fix, keep_fix),
    "sensor": Channel(SensorReading, keep_values, LooseSensorReading),
    "tag": Channel(TagReading, keep_read),
    "status": StatusChannel(),
    "ack": Channel(AckReading, keep_ack),
}
