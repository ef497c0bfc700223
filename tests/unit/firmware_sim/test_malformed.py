import json
import math
from collections import Counter
from typing import Any

import pytest

from firmware_sim import Faults, Options, Reading, plan
from firmware_sim.malformed import KINDS


def spoilt() -> list[Reading]:
    options = Options(devices=6, duration_s=200, readers=4, faults=Faults(malformed=1.0))
    return [d.reading for d in plan(options).deliveries if d.reading.malformed]


def is_reading(channel: str, payload: bytes) -> bool:
    """Whether *payload* meets the contract of *channel*, by a plain reading of it."""
    try:
        message: dict[str, Any] = json.loads(payload.decode(), parse_constant=float)
    except ValueError:
        return False
    t = message.get("t")
    if not isinstance(t, int):
        return False
    if channel == "pos":
        lon, lat = message.get("lon"), message.get("lat")
        return _in(lon, -180, 180) and _in(lat, -90, 90)
    if channel == "sensor":
        values = message.get("values")
        return isinstance(values, dict) and all(_in(v, -1e9, 1e9) for v in values.values())
    epc = message.get("epc")
    return isinstance(epc, str) and _in(message.get("rssi_dbm"), -200, 50)


def _in(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and low <= value <= high


def test_the_check_of_this_file_accepts_what_is_well_formed() -> None:
    made = plan(Options(devices=6, readers=4, duration_s=200))
    seen = Counter[str]()
    for delivery in made.deliveries:
        assert is_reading(delivery.reading.channel, delivery.reading.payload)
        seen[delivery.reading.channel] += 1
    assert seen.keys() == {"pos", "sensor", "tag"}


def test_no_malformed_message_passes_for_a_reading() -> None:
    kinds = Counter[tuple[str, str | None]]()
    for reading in spoilt():
        assert not is_reading(reading.channel, reading.payload), reading.payload
        kinds[reading.channel, reading.malformed] += 1
    assert {kind for channel, kind in kinds if channel == "pos"} == set(KINDS)
    assert {channel for channel, _ in kinds} == {"pos", "sensor", "tag"}


def test_no_two_malformed_messages_of_a_device_are_alike() -> None:
    seen = [(reading.device, reading.payload) for reading in spoilt()]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("not_json", json.JSONDecodeError),
        ("truncated", json.JSONDecodeError),
        ("not_utf8", UnicodeDecodeError),
    ],
)
def test_a_kind_is_broken_in_the_way_its_name_says(kind: str, error: type[Exception]) -> None:
    for reading in spoilt():
        if reading.malformed == kind:
            with pytest.raises(error):
                json.loads(reading.payload.decode())
