"""Whatever arrives: decode does not raise, accounts for it, and does not care how it is framed."""

import json
import math
from typing import Any

import numpy as np
from hypothesis import example, given, reject
from hypothesis import strategies as st

from ingest.decode import Decoder
from ingest.mqtt import Message
from ingest.readings import Positions, Readings
from tracking.quality import Reject

NOW_US = 1_780_000_000_000_000
CHANNELS = ("pos", "sensor", "tag", "status")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["online", "00FF", "urn:epc:id:x", "2026-05-28T20:26:30Z", "1779999990"])
)
# Members of every channel and of OwnTracks.
NAMES = (
    *("t", "lon", "lat", "alt_m", "speed_mps", "course_deg", "accuracy_m", "battery", "seq"),
    *("valid", "attrs", "values", "epc", "antenna", "rssi_dbm", "count", "online"),
    *("_type", "tst", "batt", "event"),
)
names = st.sampled_from(NAMES) | st.text(max_size=5)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
# Near misses: a good element with a few members replaced by anything.
GOOD: dict[str, dict[str, Any]] = {
    "pos": {"t": 1_779_999_990_000, "lon": 7.5, "lat": 47.25, "course_deg": 360, "seq": 1},
    "sensor": {"t": 1_779_999_990_000, "values": {"a": 1, "b": True}},
    "tag": {"t": 1_779_999_990_000, "epc": "00ff", "antenna": 1},
    "status": {"online": True},
}


def near_misses(channel: str) -> st.SearchStrategy[dict[str, Any]]:
    changes = st.dictionaries(
        st.sampled_from(list(GOOD[channel])) | names, json_values | st.floats(-200, 200), max_size=2
    )
    return changes.map(lambda change: GOOD[channel] | change)


def as_json(value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError:  # NaN spoils a whole array, and rightly so: it is not JSON
        reject()


def decode(topic: str, *payloads: bytes) -> Readings:
    decoder = Decoder(formats={"owntracks/#": "owntracks"})
    return decoder.decode([Message(topic.encode(), p, 1, NOW_US) for p in payloads])


def count(readings: Readings) -> int:
    return (
        len(readings.positions)
        + len(readings.measurements)
        + len(readings.tags)
        + len(readings.statuses)
        + len(readings.rejects)
    )


def check_columns(readings: Readings) -> None:
    row = readings.positions
    columns = [getattr(row, name) for name in Positions.__slots__ if name != "attrs"]
    assert {len(column) for column in columns} == {len(row)}
    assert row.attrs is None or len(row.attrs) == len(row)
    assert (np.abs(row.lon) <= 180).all()
    assert (np.abs(row.lat) <= 90).all()
    for column, high in ((row.course_deg, 360), (row.battery, 1.0001)):
        assert (np.isnan(column) | ((column >= 0) & (column < high))).all()
    for column in (row.alt_m, row.speed_mps, row.accuracy_m):
        assert not np.isinf(column).any()
    assert (row.seq >= -1).all()
    assert np.isfinite(readings.measurements.value).all()
    for rejection in readings.rejects:
        assert rejection.detail.isprintable()
        assert rejection.detail.isascii()
        assert len(rejection.detail) < 300


topics = st.sampled_from(
    [f"wm/acme/truck/{channel}" for channel in CHANNELS] + ["owntracks/u/d", "elsewhere", "wm/+/a"]
)


@given(topic=topics, payload=st.binary(max_size=200))
@example(topic="wm/acme/truck/pos", payload=b"[" * 5_000)
@example(topic="owntracks/u/d", payload=b"[" * 5_000)
def test_any_bytes_are_accounted_for(topic: str, payload: bytes) -> None:
    readings = decode(topic, payload)
    check_columns(readings)
    deleted = not payload and topic.endswith("/status")
    assert count(readings) >= 1 or deleted


@given(
    topic=topics,
    value=st.one_of(json_values, *(near_misses(channel) for channel in CHANNELS)),
)
def test_any_json_is_accounted_for(topic: str, value: object) -> None:
    # json writes NaN and Infinity, as careless devices do.
    readings = decode(topic, json.dumps(value).encode())
    check_columns(readings)
    elements = value if isinstance(value, list) else [value]
    all_null = any(
        isinstance(element, dict)
        and isinstance(element.get("values"), dict)
        and all(v is None for v in element["values"].values())
        for element in elements
    )
    assert count(readings) >= 1 or (topic.endswith("/sensor") and all_null)


@given(payload=st.binary(max_size=100), topic=st.binary(max_size=40))
def test_any_topic_is_accounted_for(topic: bytes, payload: bytes) -> None:
    readings = Decoder().decode([Message(topic, payload, 1, NOW_US)])
    assert count(readings) >= 1 or (not payload and topic.endswith(b"/status"))


def columns_of(readings: Readings) -> list[object]:
    """Everything but the framing: which message, which element."""

    def plain(values: Any) -> list[object]:  # noqa: ANN401  -- an array or a list
        return ["nan" if isinstance(v, float) and math.isnan(v) else v for v in list(values)]

    row, measured, tags = readings.positions, readings.measurements, readings.tags
    return [
        *(plain(getattr(row, name).tolist()) for name in Positions.__slots__ if name != "attrs"),
        row.attrs,
        plain(measured.fix_time_us.tolist()),
        measured.metric,
        plain(measured.value.tolist()),
        plain(tags.fix_time_us.tolist()),
        tags.epc,
        plain(tags.antenna.tolist()),
        plain(tags.rssi_dbm.tolist()),
        readings.statuses,
    ]


@given(data=st.data(), channel=st.sampled_from(CHANNELS))
def test_an_array_gives_what_its_elements_give_one_by_one(
    data: st.DataObject, channel: str
) -> None:
    elements = data.draw(
        st.lists(st.just(GOOD[channel]) | near_misses(channel), min_size=1, max_size=6)
    )
    texts = [as_json(element) for element in elements]
    together = decode(f"wm/acme/truck/{channel}", b"[" + b",".join(texts) + b"]")
    # An element that is itself an array would be unpacked if sent alone; there are none.
    alone = decode(f"wm/acme/truck/{channel}", *texts)
    assert columns_of(together) == columns_of(alone)
    assert [(r.reason, r.detail) for r in together.rejects] == [
        (r.reason, f"element {r.message}: {r.detail}") for r in alone.rejects
    ]


@given(data=st.data(), channel=st.sampled_from(CHANNELS))
def test_the_slow_path_reads_what_the_fast_path_reads(data: st.DataObject, channel: str) -> None:
    text = as_json(data.draw(near_misses(channel)))
    fast = decode(f"wm/acme/truck/{channel}", text)
    # A bad neighbour sends the whole array the slow way.
    slow = decode(f"wm/acme/truck/{channel}", b"[" + text + b",17]")
    assert columns_of(slow) == columns_of(fast)
    *others, last = slow.rejects
    assert [(r.reason, r.detail) for r in others] == [
        (r.reason, f"element 0: {r.detail}") for r in fast.rejects
    ]
    assert (last.reason, last.detail[:9]) == (Reject.BAD_FIELD, "element 1")


def test_a_batch_gives_what_its_messages_give_one_by_one() -> None:
    texts = [json.dumps(GOOD["pos"] | {"lat": n / 10}).encode() for n in range(100)]
    batch = decode("wm/acme/truck/pos", *texts)
    assert batch.positions.lat.tolist() == [n / 10 for n in range(100)]
    one_by_one = [columns_of(decode("wm/acme/truck/pos", text))[4] for text in texts]
    assert columns_of(batch)[4] == [lon for [lon] in one_by_one]  # type: ignore[misc, has-type]
