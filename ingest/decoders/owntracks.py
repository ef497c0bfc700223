"""OwnTracks: JSON of the phone apps, and the CSV of Greenwich trackers.

https://owntracks.org/booklet/tech/json/. The device is `user:device`, from the topic; `_type`
decides what a message is, whatever the topic's suffix. Optional members out of range are left
out rather than cost the fix: no one can repair an app in the field. -1 marks missing ones.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ingest.decoders.faults import PayloadError, shown
from ingest.decoders.gather import Fix, Gather, Read, Value
from ingest.decoders.native import keep_fix
from ingest.decoders.payload import check_not_empty, read_any
from ingest.decoders.times import time_us
from ingest.readings import Status
from ingest.topics import Route, TopicFilter, device_name
from tracking.errors import SettingsError
from tracking.quality import Reject

if TYPE_CHECKING:
    from ingest.mqtt import Message

Body = Mapping[str, object]

# Member, unit factor, metric. `p`, `ubatt`, `uext`, `odometer` and `hmc` come from qtripp
# (Queclink devices), `dist` and `trip` from Greenwich.
_MEASURED = (
    ("p", 10.0, "pressure_hpa"),
    ("odometer", 1_000.0, "odometer_m"),
    ("hmc", 1.0, "engine_s"),
    ("ubatt", 1.0, "battery_v"),
    ("uext", 1.0, "external_v"),
    ("dist", 1.0, "dist_m"),
    ("trip", 1.0, "trip_m"),
)
_STEPS = (
    ("steps", 1.0, "steps"),
    ("distance", 1.0, "step_distance_m"),
    ("floorsup", 1.0, "floors_up"),
    ("floorsdown", 1.0, "floors_down"),
)
# Kept in `attrs`, under names that say what they are.
_KEPT = {
    "t": "event",
    "event": "event",
    "desc": "region",
    "inregions": "regions",
    "m": "mode",
    "bs": "battery_state",
    "conn": "conn",
    "SSID": "ssid",
    "BSSID": "bssid",
    "tid": "tid",
}
_MAX_TEXT = 200
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_CSV = re.compile(
    r"(?P<tid>[^,]{0,8}),(?P<tst>[0-9A-Fa-f]{1,8}),(?P<t>[^,]?),"
    r"(?P<lat>-?[0-9]{1,9}),(?P<lon>-?[0-9]{1,9}),(?P<cog>-?[0-9]{0,5}),(?P<vel>-?[0-9]{0,5}),"
    r"(?P<alt>-?[0-9]{0,5}),(?P<dist>-?[0-9]{0,9}),(?P<trip>-?[0-9]{0,9})\s*"
)
# What Greenwich divides by to save bytes.
_CSV_SCALE = {"lat": 1e-6, "lon": 1e-6, "cog": 10, "vel": 1, "alt": 10, "dist": 1, "trip": 1_000}


class OwnTracks:
    """Reads the messages of one topic filter, whose trailing wildcards are user and device."""

    def __init__(self, topic_filter: TopicFilter) -> None:
        self._user_at = topic_filter.tail_at
        tail = topic_filter.levels[self._user_at :]
        if tail[-1:] != ["#"] and len(tail) < 2:
            raise SettingsError(
                f"WAYMARK_FORMATS: {topic_filter.text!r} does not say where user and device are: "
                "end it with `#` or `+/+`"
            )

    def device_name(self, levels: Sequence[str]) -> str:
        """Return `user:device`.

        Raises:
            PayloadError: BAD_TOPIC or BAD_DEVICE_NAME.
        """
        user, device = [*levels[self._user_at : self._user_at + 2], "", ""][:2]
        if not user or not device:
            raise PayloadError(
                Reject.BAD_TOPIC, f"topic {shown('/'.join(levels))} lacks OwnTracks' USER/DEVICE"
            )
        if ":" in user:
            # `a:b/c` and `a/b:c` would be one device.
            raise PayloadError(
                Reject.BAD_DEVICE_NAME, f"OwnTracks user {shown(user)} contains a colon"
            )
        return device_name(f"{user}:{device}")

    def read(self, payload: bytes) -> Body:
        """Decode the JSON or CSV of one message.

        Raises:
            PayloadError: when it is neither.
        """
        check_not_empty(payload)
        if not payload.lstrip().startswith((b"{", b"[")):
            match = _CSV.fullmatch(payload.decode())
            if match is not None:
                return _csv_body(match.groupdict())
        body = read_any(payload)
        if not isinstance(body, dict):
            raise PayloadError(Reject.BAD_FIELD, f"{shown(body)} is not an object")
        return body

    def keep(
        self, gather: Gather, route: Route, message: "Message", element: Body
    ) -> Sequence[PayloadError]:
        """Add the readings of one message; there are none in the types to ignore.

        Raises:
            PayloadError: when it holds none and is of no type known to hold none.
        """
        kind = element.get("_type")
        if kind is None:
            raise PayloadError(Reject.MISSING_FIELD, "_type is missing")
        keep = _KEEP.get(kind) if isinstance(kind, str) else None
        if keep is None:
            raise PayloadError(Reject.BAD_FIELD, f"_type {shown(kind)} is not one of OwnTracks")
        keep(gather, route, message, element)
        return ()

    def read_apart(self, gather: Gather, route: Route, index: int, message: "Message") -> None:
        """Never called: `read` raises PayloadError alone."""


def _csv_body(members: Mapping[str, str]) -> Body:
    body: dict[str, object] = {
        name: float(members[name]) * scale for name, scale in _CSV_SCALE.items() if members[name]
    }
    return body | {
        "_type": "location",
        "tst": int(members["tst"], 16),
        "t": members["t"] or None,
        "tid": members["tid"] or None,
    }


def _keep_fix(gather: Gather, route: Route, message: "Message", body: Body) -> None:
    lon, lat = _coordinate(body, "lon", 180), _coordinate(body, "lat", 90)
    if body["_type"] == "transition" and lon == lat == 0:
        # A beacon's transition: the app had no fix and says so with zeros.
        return
    fix_time_us, source = _fix_time(body, message)
    vel_kmh = _number(body, "vel", 0, 1e9)
    batt_pct = _number(body, "batt", 0, 100)
    fix = Fix(
        t=fix_time_us,
        lon=lon,
        lat=lat,
        alt_m=_number(body, "alt", -1e9, 1e9),
        speed_mps=None if vel_kmh is None else vel_kmh / 3.6,
        course_deg=_number(body, "cog", 0, 360),
        accuracy_m=_number(body, "acc", 0, 1e9),
        battery=None if batt_pct is None else batt_pct / 100,
        attrs=_attrs(body, source),
    )
    keep_fix(gather, route, message, fix)
    _keep_values(gather, route, message, fix_time_us, _values(body, _MEASURED))


def _keep_beacon(gather: Gather, route: Route, message: "Message", body: Body) -> None:
    uuid = body.get("uuid")
    if uuid is None:
        raise PayloadError(Reject.MISSING_FIELD, "uuid is missing")
    if not isinstance(uuid, str) or not re.fullmatch(r"[0-9A-Fa-f-]{1,64}", uuid):
        raise PayloadError(Reject.BAD_FIELD, f"uuid {shown(uuid)} is not a UUID")
    major, minor = (int(_number(body, name, 0, 65_535) or 0) for name in ("major", "minor"))
    fix_time_us, _ = _fix_time(body, message)
    rssi_dbm = _number(body, "rssi", -200, 100)
    gather.reads.append(
        Read(
            route.intern(),
            fix_time_us,
            message.received_us,
            f"{uuid.upper()}:{major}:{minor}",
            -1,
            math.nan if rssi_dbm is None else rssi_dbm,
            1,
        )
    )


def _keep_values(
    gather: Gather,
    route: Route,
    message: "Message",
    fix_time_us: int,
    values: Mapping[str, float],
) -> None:
    for metric, number in values.items():
        gather.values.append(
            Value(route.intern(), fix_time_us, message.received_us, metric, number)
        )


def _values(body: Body, members: Sequence[tuple[str, float, str]]) -> Mapping[str, float]:
    numbers = ((metric, factor, _number(body, name, 0, 1e12)) for name, factor, metric in members)
    return {metric: number * factor for metric, factor, number in numbers if number is not None}


def _fix_time(body: Body, message: "Message") -> tuple[int, str | None]:
    """Return the time and, unless it is the fix's own, where it comes from."""
    fault = PayloadError(Reject.MISSING_FIELD, "tst is missing")
    for name, source in (("tst", None), ("created_at", "created_at")):
        value = body.get(name)
        if value is not None:
            try:
                return time_us(value, name), source
            except PayloadError as exc:
                fault = exc
    if message.retained:
        # It comes again at every subscription; each would be a new fix at a new place in time.
        raise PayloadError(fault.reason, f"{fault.detail}; retained, so its age is unknown")
    return message.received_us, "received_at"


def _keep_steps(gather: Gather, route: Route, message: "Message", body: Body) -> None:
    fix_time_us, _ = _fix_time(body, message)
    _keep_values(gather, route, message, fix_time_us, _values(body, _STEPS))


def _keep_lost(gather: Gather, route: Route, message: "Message", body: Body) -> None:
    # Its tst is when the app connected, not when it was lost.
    del body
    gather.statuses.append(
        Status(
            route.intern(), online=False, received_us=message.received_us, retained=message.retained
        )
    )


def _refuse_encrypted(_g: Gather, _r: Route, _m: "Message", _b: Body, /) -> None:
    raise PayloadError(Reject.ENCRYPTED, "the payload is encrypted: remove the secret in the app")


def _ignore(_g: Gather, _r: Route, _m: "Message", _b: Body, /) -> None:
    pass


def _coordinate(body: Body, name: str, limit: float) -> float:
    value = body.get(name)
    if value is None:
        raise PayloadError(Reject.MISSING_FIELD, f"{name} is missing")
    number = _as_float(value)
    if number is None:
        raise PayloadError(Reject.BAD_FIELD, f"{name} {shown(value)} is not a number")
    if not -limit <= number <= limit:
        raise PayloadError(
            Reject.COORDINATES_OUT_OF_RANGE,
            f"{name} {shown(number)} is outside {-limit:g}..{limit:g}",
        )
    return number


def _number(body: Body, name: str, low: float, high: float) -> float | None:
    number = _as_float(body.get(name))
    return number if number is not None and low <= number <= high else None


def _as_float(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _attrs(body: Body, time_source: str | None) -> msgspec.Raw:
    attrs: dict[str, object] = {}
    for name, kept_as in _KEPT.items():
        value = body.get(name)
        if isinstance(value, str):
            attrs[kept_as] = _clean(value)
        elif isinstance(value, list):
            attrs[kept_as] = [_clean(item) for item in value[:20] if isinstance(item, str)]
        elif (number := _as_float(value)) is not None:
            attrs[kept_as] = number
    vertical_accuracy_m = _number(body, "vac", 0, 1e9)
    if vertical_accuracy_m is not None:
        attrs["vertical_accuracy_m"] = vertical_accuracy_m
    if time_source is not None:
        attrs["time_source"] = time_source
    return msgspec.Raw(msgspec.json.encode(attrs)) if attrs else msgspec.Raw()


def _clean(text: str) -> str:
    # jsonb cannot hold NUL.
    return text[:_MAX_TEXT].replace("\0", "")


_KEEP: dict[str, Callable[[Gather, Route, "Message", Body], None]] = {
    "location": _keep_fix,
    "transition": _keep_fix,
    "beacon": _keep_beacon,
    "steps": _keep_steps,
    "lwt": _keep_lost,
    "encrypted": _refuse_encrypted,
    # Cards, fences, commands and the apps' own housekeeping: nothing about where the device is.
    "card": _ignore,
    "cmd": _ignore,
    "configuration": _ignore,
    "dump": _ignore,
    "request": _ignore,
    "status": _ignore,
    "waypoint": _ignore,
    "waypoints": _ignore,
}
