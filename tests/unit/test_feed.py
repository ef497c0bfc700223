"""The JSON of positions and events, as every interface writes it."""

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.feed import (
    EventRecord,
    PositionUpdate,
    decode_event,
    decode_positions,
    encode_event,
    encode_position,
    encode_positions,
    events_channel,
    live_event,
    position_update,
    position_updates,
    positions_channel,
    split_positions,
)
from tracking.quality import Quality
from tracking.times import from_us

TIME_US = 1_772_971_200_123_456
CELL = 0x8A1969C9949FFFF


def update(**changes: object) -> PositionUpdate:
    time = from_us(TIME_US)
    given_ = position_update(
        "t1", time, time, 5.123456789, 52.1, None, 12.3456, 359.96, 4.04, 0.55555, 0, CELL, None
    )
    return msgspec.structs.replace(given_, **changes)


def event(**changes: object) -> EventRecord:
    return msgspec.structs.replace(
        EventRecord(
            id="6d1c1f5e-7c0a-5d0e-9a55-77617961726b",
            tenant="acme",
            type="trip.started",
            subject="t1",
            time_us=TIME_US,
            recorded_at_us=TIME_US + 1,
            revision=2,
            status="active",
            late=True,
            cursor=7,
            data={"lon": 5.1, "lat": 52.1, "n": [1, None]},
        ),
        **changes,
    )


def test_channels_are_named_by_tenant() -> None:
    assert positions_channel("acme") == "wm:acme:positions"
    assert events_channel("acme") == "wm:acme:events"


def test_a_position_has_every_member_with_nulls_for_what_is_missing() -> None:
    assert json.loads(encode_position(update(attrs=msgspec.Raw(b'{"a":[1]}')))) == {
        "device": "t1",
        "fix_time": "2026-03-08T12:00:00.123456Z",
        "received_at": "2026-03-08T12:00:00.123456Z",
        "lon": 5.1234568,
        "lat": 52.1,
        "alt_m": None,
        "speed_mps": 12.35,
        "course_deg": 360.0,
        "accuracy_m": 4.0,
        "battery": 0.556,
        "quality": "ok",
        "h3": "8a1969c9949ffff",
        "attrs": {"a": [1]},
    }


def test_positions_survive_the_wire() -> None:
    updates = [update(), update(device="ü", attrs=msgspec.Raw(b"{}"), quality="stale")]
    assert decode_positions(encode_positions(updates)) == updates
    assert decode_positions(encode_positions([])) == []


def test_fan_out_keeps_the_json_as_it_came() -> None:
    updates = [update(), update(device="t2", lon=6.0)]
    split = split_positions(encode_positions(updates))
    assert [p.raw for p in split] == [encode_position(u) for u in updates]
    assert [(p.device, p.fix_time, p.lon, p.lat, p.quality) for p in split] == [
        (u.device, u.fix_time, u.lon, u.lat, u.quality) for u in updates
    ]


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"updates":[{}]}', b'{"updates":7}', b"\xff"])
def test_another_message_is_no_positions(payload: bytes) -> None:
    for read in (decode_positions, split_positions):
        with pytest.raises(msgspec.DecodeError):
            read(payload)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4_000_000_000_000_000),
            st.floats(-180, 180),
            st.floats(-90, 90),
            st.one_of(st.just(math.nan), st.floats(0, 1_000, width=32)),
            st.sampled_from(Quality),
        ),
        max_size=8,
    )
)
def test_columns_and_rows_make_the_same_positions(
    rows: list[tuple[int, float, float, float, Quality]],
) -> None:
    n = len(rows)
    times = np.array([r[0] for r in rows], dtype=np.int64)
    speeds = np.array([r[3] for r in rows], dtype=np.float32)
    by_columns = position_updates(
        [f"d{i}" for i in range(n)],
        times,
        times,
        np.array([r[1] for r in rows], dtype=np.float64),
        np.array([r[2] for r in rows], dtype=np.float64),
        [r[4] for r in rows],
        np.full(n, -1, dtype=np.int64),
        [b"{}"] * n,
        speed_mps=speeds,
    )
    for i, (time_us, lon, lat, speed, quality) in enumerate(rows):
        row = position_update(
            f"d{i}",
            from_us(time_us),
            from_us(time_us),
            lon,
            lat,
            None,
            None if math.isnan(speed) else float(speeds[i]),
            None,
            None,
            None,
            quality,
            -1,
            "{}",
        )
        column = by_columns[i]
        assert column.h3 == "f" * 16
        assert column.lon == pytest.approx(row.lon, abs=1.1e-7)
        assert column.lat == pytest.approx(row.lat, abs=1.1e-7)
        assert (column.speed_mps is None) == math.isnan(speed)
        if row.speed_mps is not None:
            assert column.speed_mps == pytest.approx(row.speed_mps, abs=0.011)
        same = {"lon": 0.0, "lat": 0.0, "speed_mps": None}
        assert msgspec.structs.replace(column, **same) == msgspec.structs.replace(row, **same)


def test_an_event_is_a_cloudevent_with_our_extensions() -> None:
    assert json.loads(encode_event(event())) == {
        "specversion": "1.0",
        "id": "6d1c1f5e-7c0a-5d0e-9a55-77617961726b",
        "source": "/waymark/acme",
        "type": "trip.started",
        "subject": "t1",
        "time": "2026-03-08T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "data": {"lon": 5.1, "lat": 52.1, "n": [1, None]},
        "tenant": "acme",
        "recorded_at": "2026-03-08T12:00:00.123457Z",
        "revision": 2,
        "status": "active",
        "late": True,
        "cursor": 7,
        "origin": "live",
    }


@given(st.integers(0, 253_402_300_799_999_999))
def test_an_event_survives_the_wire_to_the_microsecond(time_us: int) -> None:
    record = event(time_us=time_us)
    assert decode_event(encode_event(record)) == record


def test_fan_out_sees_an_event_s_place() -> None:
    raw = encode_event(event())
    live = live_event(raw)
    assert (live.cursor, live.type, live.subject, live.lon, live.lat) == (
        7,
        "trip.started",
        "t1",
        5.1,
        52.1,
    )
    assert live.raw is raw


@pytest.mark.parametrize("data", [{}, {"lon": "5"}, {"lon": None, "lat": 1}, {"lat": [1]}])
def test_a_place_that_is_no_place_is_none(data: dict[str, object]) -> None:
    live = live_event(encode_event(event(data=data)))
    assert live.lon is None


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b'{"cursor":"x"}'])
def test_another_message_is_no_event(payload: bytes) -> None:
    for read in (decode_event, live_event):
        with pytest.raises(msgspec.DecodeError):
            read(payload)
