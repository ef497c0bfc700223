"""Events in words, for channels that people read. Pure.

A template is text with `$name` or `${name}`: names of the event, or `data.` and a path of its
members. It can say what is in the event and do nothing.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from string import Template
from typing import Any
from zoneinfo import ZoneInfo

from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.schedules import zone_of
from tracking.times import from_us, iso

TITLE = "$subject $what"
TEXT = "$subject $what at $time."
_NAMES = ("id", "type", "subject", "what", "time", "utc", "tenant", "status", "late", "revision")
_MAX_VALUE_CHARS = 500

# What a type says in words; what an event lacks is left out with its preposition.
_WHAT = {
    "fence.entered": "entered {fence}",
    "fence.exited": "left {fence}",
    "fence.dwelled": "has stayed in {fence}",
    "fence.crossed": "crossed {fence}",
    "motion.started": "started to move",
    "motion.stopped": "stopped",
    "trip.started": "started a trip",
    "trip.ended": "ended its trip",
    "speed.exceeded": "is too fast",
    "device.online": "is online",
    "device.offline": "is offline",
    "device.silent": "has fallen silent",
    "device.low_battery": "is low on battery",
    "alert.opened": "raised {severity} alert {rule}",
    "alert.acknowledged": "alert {rule} was acknowledged",
    "alert.snoozed": "alert {rule} was snoozed",
    "alert.escalated": "alert {rule} was escalated",
    "alert.resolved": "alert {rule} is resolved",
    "alert.reopened": "alert {rule} is open again",
    "shipment.status_changed": "is now {to}",
    "shipment.replanned": "was planned anew",
    "shipment.eta_changed": "has another arrival for {stop_kind} {stop_name}, {because}",
    "shipment.at_risk": "will probably be late for {stop_kind} {stop_name}",
    "shipment.safe": "is in time for {stop_kind} {stop_name} after all",
    "shipment.delayed": "is late for {stop_kind} {stop_name}",
    "shipment.overdue": "is overdue for {stop_kind} {stop_name}",
    "shipment.not_departed": "has not left {stop_kind} {stop_name}",
    "shipment.stalled": "stands still",
    "shipment.moving": "moves again",
    "route.deviated": "has left its route",
    "route.rejoined": "is back on its route",
    "route.reversed": "drives its route the wrong way round",
    "route.resumed": "drives along its route again",
    "stop.arrived": "arrived for {stop_kind} {stop_name}",
    "stop.unloaded": "was unloaded for {stop_kind} {stop_name}",
    "stop.departed": "left {stop_kind} {stop_name}",
    "stop.detention_started": "is detained at {stop_kind} {stop_name}",
    "webhook.test": "sends a test",
    "webhook.disabled": "was disabled: {reason}",
}


class _EventTemplate(Template):
    idpattern = r"(?a:[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)"
    flags = re.NOFLAG


class _Words(Mapping[str, str]):
    """The names of an event; a member of its data that is not there is empty."""

    def __init__(self, record: EventRecord, zone: ZoneInfo) -> None:
        self._data = record.data
        self._words = {
            "id": record.id,
            "type": record.type,
            "subject": record.subject,
            "what": _what(record),
            "time": _local(from_us(record.time_us), zone),
            "utc": iso(record.time_us),
            "tenant": record.tenant,
            "status": record.status,
            "late": "late" if record.late else "",
            "revision": str(record.revision),
        }

    def __getitem__(self, name: str) -> str:
        if name in self._words:
            return self._words[name]
        value: Any = self._data
        for part in name.split(".")[1:]:
            value = value.get(part) if isinstance(value, dict) else None
        return "" if value is None else str(value)[:_MAX_VALUE_CHARS]

    def __iter__(self) -> Any:  # noqa: ANN401 -- as Mapping has it
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)


def rendered(template: str, record: EventRecord, time_zone: str) -> str:
    """The text of a template for an event, in a checked time zone."""
    return _EventTemplate(template).substitute(_Words(record, zone_of(time_zone)))


def check_template(template: str | None, field: str) -> None:
    """Refuse what cannot be rendered.

    Raises:
        InputError: naming `field`.
    """
    if template is None:
        return
    parsed = _EventTemplate(template)
    if not parsed.is_valid():
        raise InputError("a $ stands before a name, or is written $$", field=field)
    for name in parsed.get_identifiers():
        if name not in _NAMES and not name.startswith("data."):
            raise InputError(
                f"${name} is unknown: use {', '.join(_NAMES)} or data.<member>", field=field
            )


def _what(record: EventRecord) -> str:
    phrase = _WHAT.get(record.type)
    if phrase is None:
        return record.type.replace(".", " ").replace("_", " ")
    data = {key: str(value) for key, value in record.data.items()}
    # The fence's name where the event tells it.
    data["fence"] = str(record.data.get("fence_name") or record.data.get("fence") or "a fence")
    words = re.sub(r"\{(\w+)\}", lambda found: data.get(found[1], ""), phrase)
    words = " ".join(words.split())
    return f"{words} (taken back)" if record.status == "retracted" else words


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%a %d %b %Y %H:%M:%S %Z")
