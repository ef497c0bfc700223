"""OwnTracks: the published samples where they are at hand, and messages of our own."""

import base64
import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.decode import Decoder
from ingest.mqtt import Message
from ingest.readings import DeviceKey, Readings, Status
from tracking.quality import Reject

NOW_US = 1_780_000_000_000_000
TST = 1_779_999_990
_SHARED = Path(os.environ.get("WAYMARK_TEST_DATA") or Path(__file__).parents[4] / "shared")
SAMPLES = sorted((_SHARED / "payloads" / "owntracks").glob("*.json"))
NO_SAMPLES = pytest.mark.skipif(not SAMPLES, reason=f"no OwnTracks samples below {_SHARED}")


def decode(
    payload: object, *, topic: str = "owntracks/jo/phone", retained: bool = False
) -> tuple[Readings, list[DeviceKey]]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    decoder = Decoder(formats={"owntracks/#": "owntracks"}, foreign_tenant="phones")
    return decoder.decode(
        [Message(topic.encode(), body, 1, NOW_US, retained=retained)]
    ), decoder.devices


def location(**members: Any) -> dict[str, Any]:  # noqa: ANN401  -- any JSON value is a test
    return {"_type": "location", "tst": TST, "lat": 47.25, "lon": 7.5} | members


def found_in(readings: Readings) -> dict[str, Any]:
    """The one reading of a message, under the names the samples use."""
    rows = readings.positions
    found: dict[str, Any] = {"sensors": dict(zip(*_measured(readings), strict=True))}
    if len(rows):
        assert len(rows) == 1
        attrs = json.loads(rows.attrs[0] or b"{}") if rows.attrs else {}
        found |= {
            name: _or_none(getattr(rows, name)[0])
            for name in ("lon", "lat", "alt_m", "speed_mps", "course_deg", "accuracy_m")
        }
        battery = _or_none(rows.battery[0])
        found |= {
            "time_us": int(rows.fix_time_us[0]),
            "battery_pct": None if battery is None else battery * 100,
            "vertical_accuracy_m": attrs.get("vertical_accuracy_m"),
            "event": attrs.get("event"),
        }
    if len(readings.tags):
        assert len(readings.tags) == 1
        found |= {
            "time_us": int(readings.tags.fix_time_us[0]),
            "tag_id": readings.tags.epc[0],
            "rssi_dbm": _or_none(readings.tags.rssi_dbm[0]),
            "lat": None,
            "lon": None,
        }
    return found


def _measured(readings: Readings) -> tuple[list[str], list[float]]:
    return readings.measurements.metric, readings.measurements.value.tolist()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


@NO_SAMPLES
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_published_sample_gives_what_a_human_reads_in_it(path: Path) -> None:
    sample = json.loads(path.read_text())
    payload = sample["payload"]
    body = base64.b64decode(payload) if sample["encoding"] == "base64" else payload
    readings, devices = decode(body, topic=sample["topic"], retained=sample.get("retain", False))
    expect = sample.get("expect_without_secret") or sample["expect"]
    reasons = [reject.reason for reject in readings.rejects]
    assert reasons == ([Reject.ENCRYPTED] if expect["kind"] == "encrypted" else [])
    if expect["kind"] == "status":
        assert [status.online for status in readings.statuses] == [expect["online"]]
    else:
        assert readings.statuses == []
    if expect["readings"] or expect["kind"] == "status":
        assert [device.name for device in devices] == [expect["device_id"].replace("/", ":")]
    else:
        assert found_in(readings) == {"sensors": {}}
    for reading in expect["readings"]:
        _compare(found_in(readings), reading)


def _compare(found: dict[str, Any], reading: dict[str, Any]) -> None:
    tolerance = {"speed_mps": 1e-3, "lat": 1e-7, "lon": 1e-7}
    for name, value in reading.items():
        if name == "time":
            moment_s = NOW_US / 1e6 if value is None else datetime.fromisoformat(value).timestamp()
            assert found["time_us"] == moment_s * 1e6
        elif name == "sensors":
            assert found["sensors"] == pytest.approx(value)
        elif isinstance(value, (int, float)):
            # 1e-5, or a 32-bit column's rounding.
            assert found[name] == pytest.approx(value, rel=1e-6, abs=tolerance.get(name, 1e-5))
        else:
            assert found[name] == value, name


def test_a_location_is_converted_to_our_units() -> None:
    readings, devices = decode(
        location(
            vel=90,
            cog=360,
            acc=8,
            alt=431,
            vac=3,
            batt=55,
            bs=2,
            p=96.5,
            t="p",
            conn="m",
            m=1,
            SSID="yard\0",
            created_at=TST + 9,
            inregions=["Depot", "Stadt Zürich"],
        )
    )
    assert readings.rejects == []
    assert devices == [DeviceKey("phones", "jo:phone")]
    rows = readings.positions
    assert rows.fix_time_us[0] == TST * 1_000_000
    assert (rows.lon[0], rows.lat[0], rows.alt_m[0]) == (7.5, 47.25, 431)
    assert (rows.speed_mps[0], rows.course_deg[0], rows.accuracy_m[0]) == (25, 0, 8)
    assert rows.battery[0] == pytest.approx(0.55)
    assert rows.seq[0] == -1
    assert _measured(readings) == (["pressure_hpa"], [965])
    assert rows.attrs is not None
    assert json.loads(rows.attrs[0] or b"") == {
        "event": "p",
        "regions": ["Depot", "Stadt Zürich"],
        "mode": 1,
        "battery_state": 2,
        "conn": "m",
        "ssid": "yard",
        "vertical_accuracy_m": 3,
    }


def test_missing_markers_and_nonsense_in_optional_members_do_not_cost_the_fix() -> None:
    readings, _ = decode(
        location(vel=-1, cog=-1, batt=-1, vac=-1, acc=-5, alt="high", p=10**400, SSID=[1, None])
    )
    assert readings.rejects == []
    rows = readings.positions
    for name in ("speed_mps", "course_deg", "battery", "accuracy_m", "alt_m"):
        assert math.isnan(getattr(rows, name)[0]), name
    assert _measured(readings) == ([], [])


def test_numbers_sent_as_text_are_read() -> None:
    readings, _ = decode(location(lat="47.25", lon="-7.5", tst=str(TST), vel="36"))
    assert readings.rejects == []
    assert (readings.positions.lat[0], readings.positions.lon[0]) == (47.25, -7.5)
    assert readings.positions.fix_time_us[0] == TST * 1_000_000
    assert readings.positions.speed_mps[0] == 10


@pytest.mark.parametrize(
    ("times", "expected_us", "source"),
    [
        pytest.param({"tst": None}, NOW_US, "received_at", id="none"),
        pytest.param({"tst": 1}, NOW_US, "received_at", id="never set"),
        pytest.param({"tst": {}}, NOW_US, "received_at", id="not a time"),
        pytest.param({"tst": 1, "created_at": TST}, TST * 1_000_000, "created_at", id="created"),
    ],
)
def test_without_a_usable_fix_time_the_next_best_is_taken_and_said(
    times: dict[str, Any], expected_us: int, source: str
) -> None:
    readings, _ = decode(location(**times))
    assert readings.rejects == []
    assert readings.positions.fix_time_us.tolist() == [expected_us]
    assert readings.positions.attrs == [f'{{"time_source":"{source}"}}'.encode()]


def test_a_retained_location_without_a_time_is_of_unknown_age() -> None:
    for tst, reason in ((None, Reject.MISSING_FIELD), (1, Reject.TIME_OUT_OF_RANGE)):
        readings, _ = decode(location(tst=tst), retained=True)
        assert len(readings.positions) == 0
        [reject] = readings.rejects
        assert reject.reason == reason
        assert "age is unknown" in reject.detail
        assert "tst" in reject.detail


def test_a_transition_is_a_fix_and_says_which_region() -> None:
    transition = location(_type="transition", event="enter", desc="Depot", wtst=5, t="c", acc=20)
    readings, _ = decode(transition, topic="owntracks/jo/phone/event")
    assert readings.positions.lat.tolist() == [47.25]
    assert readings.positions.attrs is not None
    assert json.loads(readings.positions.attrs[0] or b"") == {"event": "enter", "region": "Depot"}


def test_a_beacons_transition_has_no_place() -> None:
    readings, devices = decode(location(_type="transition", event="leave", lat=0, lon=0, acc=0))
    assert (len(readings.positions), readings.rejects, devices) == (0, [], [])


def test_a_lost_phone_goes_offline_now_and_not_when_it_connected() -> None:
    readings, _ = decode({"_type": "lwt", "tst": TST - 99}, retained=True)
    assert readings.statuses == [Status(0, online=False, received_us=NOW_US, retained=True)]


def test_a_beacon_is_a_tag_read() -> None:
    uuid = "b9407f30-f5f8-466e-aff9-25556b57fe6d"
    beacon = {"_type": "beacon", "uuid": uuid, "major": 7, "minor": 9, "rssi": -70, "tst": TST}
    readings, _ = decode(beacon, topic="owntracks/jo/phone/beacon")
    assert readings.tags.epc == [f"{uuid.upper()}:7:9"]
    assert readings.tags.rssi_dbm.tolist() == [-70]
    assert readings.tags.fix_time_us.tolist() == [TST * 1_000_000]


def test_steps_are_measurements_and_minus_one_is_none() -> None:
    steps = {"_type": "steps", "tst": TST, "steps": 4_000, "distance": 2_800, "floorsup": -1}
    readings, _ = decode(steps, topic="owntracks/jo/phone/step")
    assert _measured(readings) == (["steps", "step_distance_m"], [4_000, 2_800])


def test_greenwich_csv_is_scaled_back() -> None:
    # tid, hex tst, t, lat and lon in millionths, cog/10, vel km/h, alt/10, dist m, trip km
    readings, _ = decode(b"K2,6A18A696,v,47250000,-7500000,27,54,43,120,35\n")
    assert readings.rejects == []
    rows = readings.positions
    assert rows.fix_time_us.tolist() == [0x6A18A696 * 1_000_000]
    assert (rows.lat[0], rows.lon[0]) == pytest.approx((47.25, -7.5), abs=1e-9)
    assert (rows.course_deg[0], rows.speed_mps[0], rows.alt_m[0]) == (270, 15, 430)
    assert _measured(readings) == (["dist_m", "trip_m"], [120, 35_000])


@pytest.mark.parametrize(
    "kind",
    ["card", "cmd", "configuration", "dump", "request", "status", "waypoint", "waypoints"],
)
def test_types_that_place_no_device_are_ignored(kind: str) -> None:
    readings, devices = decode(location(_type=kind))
    assert (len(readings.positions), readings.rejects, devices) == (0, [], [])


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        pytest.param({"_type": "encrypted", "data": "x"}, Reject.ENCRYPTED, "secret", id="secret"),
        pytest.param({"lat": 1}, Reject.MISSING_FIELD, "_type is missing", id="no type"),
        pytest.param({"_type": "place"}, Reject.BAD_FIELD, "'place' is not one", id="a new type"),
        pytest.param({"_type": ["location"]}, Reject.BAD_FIELD, "is not one", id="type a list"),
        pytest.param([location()], Reject.BAD_FIELD, "not an object", id="array"),
        pytest.param(location(lat=None), Reject.MISSING_FIELD, "lat is missing", id="half a pair"),
        pytest.param(location(lon="E7"), Reject.BAD_FIELD, "lon 'E7'", id="text"),
        pytest.param(location(lat=10**400), Reject.BAD_FIELD, "lat a number of", id="huge"),
        pytest.param(location(lat=-91), Reject.COORDINATES_OUT_OF_RANGE, "lat -91", id="lat"),
        pytest.param(location(lon=181), Reject.COORDINATES_OUT_OF_RANGE, "lon 181", id="lon"),
        pytest.param(b"K2,zz,v,1,2,3,4,5,6,7", Reject.NOT_JSON, "not JSON", id="not quite CSV"),
        pytest.param(
            b"K2,6A18A696,v,99000000,0,,,,,", Reject.COORDINATES_OUT_OF_RANGE, "lat 99", id="CSV"
        ),
        pytest.param(b" ", Reject.EMPTY, "empty", id="white space"),
        pytest.param(b"{\xff}", Reject.NOT_UTF8, "UTF-8", id="bytes"),
        pytest.param(b"[" * 100_000, Reject.TOO_DEEP, "32", id="deep"),
        pytest.param({"_type": "beacon", "tst": TST}, Reject.MISSING_FIELD, "uuid", id="no uuid"),
        pytest.param(
            {"_type": "beacon", "uuid": "keys", "tst": TST}, Reject.BAD_FIELD, "'keys'", id="uuid"
        ),
    ],
)
def test_what_cannot_be_used_says_why(payload: object, reason: Reject, said: str) -> None:
    readings, _ = decode(payload)
    assert len(readings.positions) == len(readings.tags) == 0
    [reject] = readings.rejects
    assert (reject.reason, reject.tenant, reject.device) == (reason, "phones", "jo:phone")
    assert said in reject.detail


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        pytest.param("owntracks/jo", Reject.BAD_TOPIC, id="no device"),
        pytest.param("owntracks/jo/", Reject.BAD_TOPIC, id="empty device"),
        pytest.param("owntracks//phone", Reject.BAD_TOPIC, id="empty user"),
        pytest.param("owntracks/jo smith/phone", Reject.BAD_DEVICE_NAME, id="a space"),
        pytest.param("owntracks/a:b/c", Reject.BAD_DEVICE_NAME, id="a:b/c and a/b:c stay apart"),
    ],
)
def test_a_topic_without_user_and_device_is_rejected(topic: str, reason: Reject) -> None:
    readings, _ = decode(location(), topic=topic)
    assert [reject.reason for reject in readings.rejects] == [reason]
