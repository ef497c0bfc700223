"""Messages that are no reading, made from one that is: what a broken device or bug would send."""

import json
from collections.abc import Callable
from typing import Any

from firmware_sim.noise import Noise
from firmware_sim.readings import Reading


def _not_json(payload: bytes, _: float) -> bytes:
    return b"AT+FIX " + payload.replace(b'"', b"")


def _truncated(payload: bytes, share: float) -> bytes:
    # `t` comes first and differs from reading to reading, so the stump does too.
    return payload[: int(len(payload) * (0.5 + 0.45 * share))]


def _not_utf8(payload: bytes, _: float) -> bytes:
    return payload[:-1] + b',"note":"\xff\xfe\xc3\x28"}'


def _with(**members: Any) -> Callable[[bytes, float], bytes]:  # noqa: ANN401  -- any JSON value
    def change(payload: bytes, _: float) -> bytes:
        message = {**json.loads(payload), **members}
        return json.dumps(message, separators=(",", ":")).encode()

    return change


def _without(*names: str) -> Callable[[bytes, float], bytes]:
    def change(payload: bytes, _: float) -> bytes:
        message = json.loads(payload)
        for name in names:
            del message[name]
        return json.dumps(message, separators=(",", ":")).encode()

    return change


def _bad_time(payload: bytes, _: float) -> bytes:
    message = json.loads(payload)
    message["t"] = f"around {message['t']}"
    return json.dumps(message, separators=(",", ":")).encode()


_ANY: dict[str, Callable[[bytes, float], bytes]] = {
    "not_json": _not_json,
    "truncated": _truncated,
    "not_utf8": _not_utf8,
    "bad_time": _bad_time,
}
# By channel: kind -> how to spoil a good payload. No result may pass for a reading.
_KINDS: dict[str, dict[str, Callable[[bytes, float], bytes]]] = {
    "pos": {
        **_ANY,
        "nan": _with(lon=float("nan")),
        "out_of_range": _with(lat=123.456),
        "wrong_type": _with(lon="east"),
        "missing_field": _without("lat"),
    },
    "sensor": {
        **_ANY,
        "nan": _with(values={"temperature_c": float("nan")}),
        "wrong_type": _with(values="cold"),
        "missing_field": _without("values"),
    },
    "tag": {
        **_ANY,
        "nan": _with(rssi_dbm=float("nan")),
        "wrong_type": _with(epc=["E2", 80]),
        "missing_field": _without("epc"),
    },
}
KINDS = tuple(_KINDS["pos"])


def spoil(reading: Reading, noise: Noise) -> Reading:
    """A malformed message as the device of *reading* might have sent it at the same moment."""
    kinds = _KINDS[reading.channel]
    kind = noise.pick(2 * reading.seq, tuple(kinds))
    payload = kinds[kind](reading.payload, noise.unit(2 * reading.seq + 1))
    return reading._replace(payload=payload, malformed=kind, body={}, faults=())
