"""The native channels: members, units, ranges, times, arrays."""

import json
import math
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from ingest.decode import Decoder
from ingest.decoders.faults import PayloadError
from ingest.decoders.times import time_us
from ingest.mqtt import Message
from ingest.readings import Readings, Rejection, Status
from tracking.quality import Reject

NOW_US = 1_780_000_000_000_000
T_MS = 1_779_999_990_000
T_US = T_MS * 1_000


def decode(channel: str, payload: object, *, retained: bool = False) -> Readings:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    topic = f"wm/acme/truck/{channel}".encode()
    return Decoder().decode([Message(topic, body, 1, NOW_US, retained=retained)])


def pos(**members: Any) -> dict[str, Any]:  # noqa: ANN401  -- any JSON value is a test
    return {"t": T_MS, "lon": 7.5, "lat": 47.25} | members


def rejects(readings: Readings) -> list[tuple[Reject, str]]:
    return [(reject.reason, reject.detail) for reject in readings.rejects]


def test_a_position_with_every_member_fills_every_column() -> None:
    readings = decode(
        "pos",
        b'{"t":1779999990000,"lon":-122.4194,"lat":37.7749,"alt_m":12.5,"speed_mps":13.25,'
        b'"course_deg":271.5,"accuracy_m":4.5,"battery":0.75,"seq":42,"valid":false,'
        b'"attrs":{"ignition": true, "driver":"Zo\xc3\xab"},"new_member":[1]}',
    )
    assert readings.rejects == []
    row = readings.positions
    assert len(row) == 1
    assert (row.fix_time_us[0], row.received_us[0]) == (T_US, NOW_US)
    assert (row.lon[0], row.lat[0]) == (-122.4194, 37.7749)
    assert (row.alt_m[0], row.speed_mps[0], row.course_deg[0]) == (12.5, 13.25, 271.5)
    assert (row.accuracy_m[0], row.battery[0], row.seq[0]) == (4.5, 0.75, 42)
    assert not row.valid[0]
    assert row.attrs == ['{"ignition": true, "driver":"Zoë"}'.encode()]


@pytest.mark.parametrize("null", [False, True], ids=["absent", "null"])
def test_missing_members_are_nan_and_minus_one_and_the_fix_is_valid(*, null: bool) -> None:
    names = ("alt_m", "speed_mps", "course_deg", "accuracy_m", "battery")
    optional = dict.fromkeys((*names, "seq", "valid", "attrs")) if null else {}
    row = decode("pos", pos(**optional)).positions
    assert all(math.isnan(getattr(row, name)[0]) for name in names)
    assert row.seq[0] == -1
    assert row.valid[0]
    assert row.attrs is None


def test_null_island_is_not_the_decoders_to_refuse() -> None:
    readings = decode("pos", pos(lon=0, lat=0))
    assert readings.rejects == []
    assert (readings.positions.lon[0], readings.positions.lat[0]) == (0, 0)


@pytest.mark.parametrize("course_deg", [360, 359.9999999], ids=["360", "rounds to 360"])
def test_a_full_circle_is_north(course_deg: float) -> None:
    assert decode("pos", pos(course_deg=course_deg)).positions.course_deg[0] == 0


@pytest.mark.parametrize(
    "edge",
    [
        pytest.param({"lon": -180, "lat": -90}, id="south-west corner"),
        pytest.param({"lon": 180, "lat": 90}, id="north-east corner"),
        pytest.param({"battery": 0, "speed_mps": 0, "accuracy_m": 0, "course_deg": 0}, id="zeros"),
        pytest.param({"battery": 1, "seq": 2**63 - 1}, id="largest"),
        pytest.param({"seq": 0, "alt_m": -430}, id="first seq, Dead Sea"),
    ],
)
def test_the_ends_of_each_range_are_inside_it(edge: dict[str, Any]) -> None:
    readings = decode("pos", pos(**edge))
    assert readings.rejects == []
    for name, value in edge.items():
        assert getattr(readings.positions, name)[0] == value


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        pytest.param(
            {"lat": 95.2}, Reject.COORDINATES_OUT_OF_RANGE, "lat 95.2 is outside -90..90", id="lat"
        ),
        pytest.param(
            {"lon": -180.001},
            Reject.COORDINATES_OUT_OF_RANGE,
            "lon -180.001 is outside -180..180",
            id="lon",
        ),
        pytest.param({"lat": None}, Reject.MISSING_FIELD, "lat is missing", id="lat null"),
        pytest.param({"t": None}, Reject.MISSING_FIELD, "t is missing", id="t null"),
        pytest.param(
            {"lat": "47.2"}, Reject.BAD_FIELD, "lat '47.2' is text, not a number", id="lat text"
        ),
        pytest.param(
            {"lon": True}, Reject.BAD_FIELD, "lon True is true or false, not a number", id="bool"
        ),
        pytest.param(
            {"battery": 87}, Reject.BAD_FIELD, "battery 87 is outside 0..1", id="battery in %"
        ),
        pytest.param(
            {"speed_mps": -1}, Reject.BAD_FIELD, "speed_mps -1 is outside 0..1e+09", id="speed"
        ),
        pytest.param(
            {"course_deg": 361}, Reject.BAD_FIELD, "course_deg 361 is outside 0..360", id="course"
        ),
        pytest.param(
            {"accuracy_m": -0.1}, Reject.BAD_FIELD, "accuracy_m -0.1 is outside 0..1e+09", id="acc"
        ),
        pytest.param({"seq": -1}, Reject.BAD_FIELD, "seq -1 is outside", id="seq"),
        pytest.param({"seq": 2**63}, Reject.BAD_FIELD, "seq 9223372036854775808 is", id="big seq"),
        pytest.param(
            {"seq": 1.5}, Reject.BAD_FIELD, "seq 1.5 is a number, not a whole number", id="half"
        ),
        pytest.param({"alt_m": 10**400}, Reject.BAD_FIELD, "more than 64 bits", id="huge"),
        pytest.param({"valid": 1}, Reject.BAD_FIELD, "valid 1 is a number, not true", id="valid"),
        pytest.param({"t": True}, Reject.BAD_TIME, "t True is", id="t bool"),
        pytest.param({"t": {}}, Reject.BAD_TIME, "t {} is an object", id="t object"),
        pytest.param({"attrs": 5}, Reject.BAD_FIELD, "attrs b'5' is not an object", id="attrs"),
        pytest.param({"attrs": [1]}, Reject.BAD_FIELD, "is not an object", id="attrs array"),
        pytest.param(
            {"attrs": {"x": "y" * 8_192}}, Reject.BAD_FIELD, "attrs is 8201 bytes", id="attrs size"
        ),
        pytest.param({"attrs": {"x": "a\0"}}, Reject.BAD_FIELD, "NUL", id="attrs with NUL"),
    ],
)
def test_a_bad_member_is_named_alone_and_in_an_array(
    bad: dict[str, Any], reason: Reject, said: str
) -> None:
    alone = decode("pos", pos(**bad))
    assert len(alone.positions) == 0
    [(found, detail)] = rejects(alone)
    assert found == reason
    assert said in detail
    among = decode("pos", [pos(), pos(lat=1), pos(**bad), pos(lat=2)])
    assert among.positions.lat.tolist() == [47.25, 1, 2]
    assert rejects(among) == [(reason, f"element 2: {detail}")]


@pytest.mark.parametrize(
    ("attrs", "reason", "said"),
    [
        pytest.param(rb'{"a":"\ud800x"}', Reject.NOT_JSON, "", id="lone surrogate"),
        pytest.param(b'{"a":1e20000}', Reject.BAD_FIELD, "out of range", id="beyond numeric"),
        pytest.param(b'{"a":1E-20000}', Reject.BAD_FIELD, "out of range", id="below numeric"),
        pytest.param(
            b'{"a":' + b"[" * 31 + b'"\\u0000"' + b"]" * 31 + b"}",
            Reject.BAD_FIELD,
            "NUL",
            id="NUL, deep inside",
        ),
    ],
)
def test_attrs_that_jsonb_would_refuse_are_refused_here(
    attrs: bytes, reason: Reject, said: str
) -> None:
    # One such row would fail the COPY of the whole batch. Framed in an array: one level is spent.
    payload = b'{"t":1779999990000,"lon":1,"lat":2,"attrs":%s}' % attrs
    if attrs.count(b"[") > 30:
        payload = payload.replace(b"[", b"", 2).replace(b"]", b"", 2)
    [(found, detail)] = rejects(decode("pos", payload))
    assert found == reason
    assert said in detail


@pytest.mark.parametrize(
    "attrs",
    [
        pytest.param(b"{}", id="empty"),
        pytest.param(rb'{"a":"\\u0000"}', id="an escaped backslash before u0000"),
        pytest.param(rb'{"mac":"3e1234567"}', id="a text that looks like a power of ten"),
        pytest.param(rb'{"a":1e300,"b":"\ud83d\ude9a"}', id="large number, surrogate pair"),
    ],
)
def test_harmless_attrs_are_kept_byte_for_byte(attrs: bytes) -> None:
    readings = decode("pos", b'{"t":1779999990000,"lon":1,"lat":2,"attrs":%s}' % attrs)
    assert readings.rejects == []
    assert readings.positions.attrs == [attrs]


def test_attrs_stay_with_their_row() -> None:
    readings = decode("pos", [pos(), pos(attrs={"n": 1}), pos(lat=99, attrs={}), pos()])
    assert readings.positions.attrs == [None, b'{"n": 1}', None]


@pytest.mark.parametrize(
    ("value", "expected_us"),
    [
        pytest.param("2026-05-28T20:26:30Z", T_US, id="Z"),
        pytest.param("2026-05-28T20:26:30.000Z", T_US, id="ms"),
        pytest.param("2026-05-28T22:26:30+02:00", T_US, id="+hh:mm"),
        pytest.param("2026-05-28T22:26:30+0200", T_US, id="+hhmm"),
        pytest.param("2026-05-28 16:56:30-0330", T_US, id="a space, -hhmm"),
        pytest.param("20260528T202630Z", T_US, id="basic"),
        pytest.param("2026-05-28T20:26:30.123456789Z", T_US + 123_456, id="ns are cut"),
        pytest.param(1_779_999_990, T_US, id="s"),
        pytest.param(1_779_999_990.25, T_US + 250_000, id="s with a fraction"),
        pytest.param(T_MS, T_US, id="ms number"),
        pytest.param(T_MS + 0.5, T_US + 500, id="ms with a fraction"),
        pytest.param(float(T_MS), T_US, id="ms as a float"),
        pytest.param(T_US, T_US, id="us"),
        pytest.param(T_US * 1_000 + 999, T_US, id="ns"),
        pytest.param("1779999990", T_US, id="s as text"),
        pytest.param("1779999990.5", T_US + 500_000, id="s with a fraction as text"),
        pytest.param("1779999990000", T_US, id="ms as text"),
        # Thirteen digits that fromisoformat reads as the year 1712.
        pytest.param("1712010412345", 1_712_010_412_345_000, id="ms that pass for a date"),
        pytest.param("2040-01-01T00:00:00Z", 2_208_988_800_000_000, id="ahead of our clock"),
        pytest.param("2005-01-01T00:00:00Z", 1_104_537_600_000_000, id="first moment"),
        pytest.param(4_133_980_799_999, 4_133_980_799_999_000, id="last ms"),
    ],
)
def test_a_time_is_read_in_every_usual_form(value: object, expected_us: int) -> None:
    readings = decode("pos", pos(t=value))
    assert readings.rejects == []
    assert readings.positions.fix_time_us.tolist() == [expected_us]


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        pytest.param("2026-05-28T20:26:30", Reject.BAD_TIME, "add Z", id="no zone"),
        pytest.param("2026-05-28", Reject.BAD_TIME, "add Z", id="a date"),
        pytest.param("yesterday", Reject.BAD_TIME, "not ISO-8601", id="words"),
        pytest.param("", Reject.BAD_TIME, "not ISO-8601", id="empty"),
        pytest.param("28.05.2026 20:26", Reject.BAD_TIME, "not ISO-8601", id="local form"),
        pytest.param("٢٠٢٦", Reject.BAD_TIME, "not ISO-8601", id="other digits"),
        pytest.param("1e9", Reject.BAD_TIME, "not ISO-8601", id="exponent as text"),
        pytest.param("nan", Reject.BAD_TIME, "not ISO-8601", id="nan as text"),
        pytest.param(0, Reject.TIME_OUT_OF_RANGE, "1970-01-01", id="zero"),
        pytest.param(-5, Reject.TIME_OUT_OF_RANGE, "1969", id="negative"),
        pytest.param(5.01, Reject.TIME_OUT_OF_RANGE, "1970-01-01", id="uptime"),
        pytest.param("1970-01-01T00:00:07Z", Reject.TIME_OUT_OF_RANGE, "1970", id="1970"),
        pytest.param("2000-01-01T00:00:00Z", Reject.TIME_OUT_OF_RANGE, "2000", id="2000"),
        pytest.param(1_072_915_200_000, Reject.TIME_OUT_OF_RANGE, "2004-01-01", id="2004"),
        pytest.param("2101-01-01T00:00:00Z", Reject.TIME_OUT_OF_RANGE, "2101", id="2101"),
        pytest.param("0001-01-01T00:00:00+23:59", Reject.TIME_OUT_OF_RANGE, "", id="year 1"),
        pytest.param(10**300, Reject.TIME_OUT_OF_RANGE, "calendar", id="beyond any calendar"),
        pytest.param(1e300, Reject.TIME_OUT_OF_RANGE, "calendar", id="as a float"),
    ],
)
def test_a_time_that_cannot_be_used_says_why(value: object, reason: Reject, said: str) -> None:
    [(found, detail)] = rejects(decode("pos", pos(t=value)))
    assert found == reason
    assert said in detail
    assert detail.isascii()


def test_a_time_of_another_type_is_refused_with_the_members_name() -> None:
    with pytest.raises(PayloadError, match="bad_time: tst \\[\\] is neither"):
        time_us([], "tst")


def test_a_sensor_message_gives_one_measurement_per_numeric_value() -> None:
    readings = decode(
        "sensor",
        {
            "t": T_MS,
            "values": {"temperature_c": -4.25, "door": True, "n": 3, "gone": None, "lid": False},
            "seq": 9,
        },
    )
    assert readings.rejects == []
    assert readings.measurements.metric == ["temperature_c", "door", "n", "lid"]
    assert readings.measurements.value.tolist() == [-4.25, 1, 3, 0]
    assert readings.measurements.fix_time_us.tolist() == [T_US] * 4
    assert readings.measurements.received_us.tolist() == [NOW_US] * 4


def test_a_bad_value_or_name_costs_only_itself() -> None:
    values = {"a": 1, "b": "warm", "c d": 2, "e": [1], "f": 2.5, "x" * 65: 1, "g": 10**400}
    readings = decode("sensor", [{"t": T_MS, "values": values}, {"t": T_MS, "values": {"h": 1}}])
    assert readings.measurements.metric == ["a", "f", "h"]
    assert [reason for reason, _ in rejects(readings)] == [Reject.BAD_FIELD] * 5
    assert [detail.split(" is ")[0] for _, detail in rejects(readings)] == [
        "element 0: values.b 'warm'",
        "element 0: metric name 'c d'",
        "element 0: values.e [1]",
        f"element 0: metric name '{'x' * 50}'...",
        "element 0: values.g",
    ]


def test_a_number_no_float_can_hold_costs_only_itself() -> None:
    readings = decode("sensor", b'{"t":1779999990,"values":{"a":1e400,"b":2}}')
    assert readings.measurements.metric == ["b"]
    assert rejects(readings) == [(Reject.BAD_FIELD, "values.a: a number is out of range")]


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        pytest.param({"values": {"a": 1}}, Reject.MISSING_FIELD, "t is missing", id="no t"),
        pytest.param({"t": T_MS}, Reject.MISSING_FIELD, "values is missing", id="no values"),
        pytest.param({"t": T_MS, "values": 4}, Reject.BAD_FIELD, "not an object", id="number"),
        pytest.param({"t": T_MS, "values": {}}, Reject.EMPTY, "values is empty", id="empty"),
        pytest.param({"t": 0, "values": {"a": 1}}, Reject.TIME_OUT_OF_RANGE, "1970", id="1970"),
        pytest.param(
            {"t": 0, "values": {"a": "x"}}, Reject.TIME_OUT_OF_RANGE, "1970", id="1970 and text"
        ),
        pytest.param(
            {"t": T_MS, "values": {f"m{n}": n for n in range(1_001)}},
            Reject.BAD_FIELD,
            "1001 members",
            id="too many",
        ),
    ],
)
def test_a_sensor_message_that_cannot_be_used_says_why(
    payload: object, reason: Reject, said: str
) -> None:
    readings = decode("sensor", payload)
    assert len(readings.measurements) == 0
    [(found, detail)] = rejects(readings)
    assert found == reason
    assert said in detail


def test_a_tag_read_keeps_leading_zeros_and_upper_cases_hex() -> None:
    readings = decode(
        "tag",
        [
            {"t": T_MS, "epc": "00b07a14", "antenna": 3, "rssi_dbm": -61.5, "count": 7},
            {"t": T_MS, "epc": "urn:epc:id:sgtin:0614141.107346.2017"},
            {"t": T_MS, "epc": "AB", "antenna": None, "rssi_dbm": None, "count": None},
        ],
    )
    assert readings.rejects == []
    tags = readings.tags
    assert tags.epc == ["00B07A14", "urn:epc:id:sgtin:0614141.107346.2017", "AB"]
    assert tags.antenna.tolist() == [3, -1, -1]
    assert tags.count.tolist() == [7, 1, 1]
    np.testing.assert_array_equal(tags.rssi_dbm, [-61.5, math.nan, math.nan])
    assert tags.fix_time_us.tolist() == [T_US] * 3


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        pytest.param({"epc": None}, Reject.MISSING_FIELD, "epc is missing", id="no epc"),
        pytest.param({"epc": ""}, Reject.BAD_FIELD, "hex", id="empty"),
        pytest.param({"epc": "ABC"}, Reject.BAD_FIELD, "'ABC'", id="half a byte"),
        pytest.param({"epc": "ZZ"}, Reject.BAD_FIELD, "'ZZ'", id="not hex"),
        pytest.param({"epc": "urn:epc:a b"}, Reject.BAD_FIELD, "urn:epc", id="space"),
        pytest.param({"epc": 12}, Reject.BAD_FIELD, "epc 12 is a number, not text", id="number"),
        pytest.param({"rssi_dbm": -6150}, Reject.BAD_FIELD, "-200..100", id="hundredths"),
        pytest.param({"count": 0}, Reject.BAD_FIELD, "count 0 is outside 1..", id="no reads"),
        pytest.param({"antenna": -1}, Reject.BAD_FIELD, "antenna -1", id="antenna"),
        pytest.param({"t": "noon"}, Reject.BAD_TIME, "'noon'", id="time"),
    ],
)
def test_a_bad_tag_read_says_why(bad: dict[str, Any], reason: Reject, said: str) -> None:
    readings = decode("tag", {"t": T_MS, "epc": "00FF"} | bad)
    assert len(readings.tags) == 0
    [(found, detail)] = rejects(readings)
    assert found == reason
    assert said in detail


@pytest.mark.parametrize(
    ("payload", "online"),
    [
        pytest.param(b'{"online": true}', True, id="object"),
        pytest.param(b'{"online":false,"reason":"will"}', False, id="with extras"),
        pytest.param(b"online", True, id="word"),
        pytest.param(b"Offline\n", False, id="any case, new line"),
        pytest.param(b"true", True, id="true"),
        pytest.param(b"false", False, id="false"),
        pytest.param(b'"online"', True, id="quoted"),
    ],
)
@pytest.mark.parametrize("retained", [True, False])
def test_a_status_is_an_object_or_a_word(payload: bytes, *, online: bool, retained: bool) -> None:
    readings = decode("status", payload, retained=retained)
    assert readings.rejects == []
    assert readings.statuses == [Status(0, online, NOW_US, retained)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b'{"online": 1}', Reject.BAD_FIELD, id="number"),
        pytest.param(b"{}", Reject.MISSING_FIELD, id="nothing"),
        pytest.param(b"asleep", Reject.NOT_JSON, id="another word"),
        pytest.param(b"  ", Reject.EMPTY, id="white space"),
    ],
)
def test_a_status_that_says_nothing_is_refused(payload: bytes, reason: Reject) -> None:
    assert [found for found, _ in rejects(decode("status", payload))] == [reason]


ID = "0c1de0b4-3f7a-4a53-9d8e-6f1f5a0b7c22"


@pytest.mark.parametrize(
    ("members", "result"),
    [
        ({}, None),
        ({"result": None}, None),
        ({"result": {"interval_s": 10}, "more": 1}, b'{"interval_s": 10}'),
    ],
)
def test_an_ack_names_a_command_and_says_a_word(
    members: dict[str, Any], result: bytes | None
) -> None:
    for word in ("delivered", "succeeded", "failed"):
        readings = decode("ack", {"id": ID.upper(), "status": word, **members})
        assert readings.rejects == []
        (ack,) = readings.acks
        assert (ack.key_id, ack.command, ack.word, ack.received_us) == (0, UUID(ID), word, NOW_US)
        assert ack.result == result
    several = decode("ack", [{"id": ID, "status": "delivered"}, {"id": ID, "status": "failed"}])
    assert [ack.word for ack in several.acks] == ["delivered", "failed"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"id": "17"}, Reject.BAD_FIELD),
        ({"id": 17}, Reject.BAD_FIELD),
        ({"id": None}, Reject.MISSING_FIELD),
        ({"status": "ok"}, Reject.BAD_FIELD),
        ({"status": None}, Reject.MISSING_FIELD),
        ({"result": [1]}, Reject.BAD_FIELD),
        ({"result": {"a": "\0"}}, Reject.BAD_FIELD),
        ({"result": {"a": "x" * 9_000}}, Reject.BAD_FIELD),
    ],
)
def test_an_ack_that_says_nothing_is_refused(members: dict[str, Any], reason: Reject) -> None:
    readings = decode("ack", {"id": ID, "status": "succeeded", **members})
    assert ([found for found, _ in rejects(readings)], readings.acks) == ([reason], [])


def test_rows_keep_the_order_of_their_messages_and_rejects_point_at_theirs() -> None:
    messages = [
        Message(b"wm/acme/a/pos", json.dumps(body).encode(), n, NOW_US + n)
        for n, body in enumerate([pos(lat=1), pos(lat=91), [pos(lat=2), pos(lon=999), pos(lat=3)]])
    ]
    readings = Decoder().decode(messages)
    assert readings.positions.lat.tolist() == [1, 2, 3]
    assert readings.positions.received_us.tolist() == [NOW_US, NOW_US + 2, NOW_US + 2]
    assert readings.rejects == [
        Rejection(1, "acme", "a", Reject.COORDINATES_OUT_OF_RANGE, "lat 91 is outside -90..90"),
        Rejection(
            2,
            "acme",
            "a",
            Reject.COORDINATES_OUT_OF_RANGE,
            "element 1: lon 999 is outside -180..180",
        ),
    ]
