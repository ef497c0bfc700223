"""Topics, framing and bad input: what becomes of each message as a whole."""

from pathlib import Path

import numpy as np
import pytest

from ingest import decode
from ingest.decode import Decoder
from ingest.mqtt import Message
from ingest.readings import DeviceKey, Readings
from tracking.errors import SettingsError
from tracking.quality import Reject

NOW_US = 1_780_000_000_000_000
POS = b'{"t":1779999990000,"lon":7.5,"lat":47.5}'


def message(topic: str | bytes, payload: bytes, **more: bool) -> Message:
    raw_topic = topic.encode() if isinstance(topic, str) else topic
    return Message(raw_topic, payload, 1, NOW_US, **more)


def only_reject(readings: Readings) -> tuple[Reject, str]:
    assert len(readings.positions) == len(readings.measurements) == len(readings.tags) == 0
    assert readings.statuses == []
    assert len(readings.rejects) == 1, readings.rejects
    return readings.rejects[0].reason, readings.rejects[0].detail


def nothing(readings: Readings) -> bool:
    return not (
        len(readings.positions)
        or len(readings.measurements)
        or len(readings.tags)
        or readings.statuses
        or readings.rejects
    )


@pytest.mark.parametrize(
    ("topic", "reason", "said"),
    [
        pytest.param("wm/acme/truck", Reject.BAD_TOPIC, "wm/TENANT/", id="too few levels"),
        pytest.param("wm/acme/truck/pos/1", Reject.BAD_TOPIC, "wm/TENANT/", id="too many levels"),
        pytest.param("wm//truck/pos", Reject.BAD_TOPIC, "wm/TENANT/", id="empty tenant"),
        pytest.param("wm/acme//pos", Reject.BAD_TOPIC, "wm/TENANT/", id="empty device"),
        pytest.param("wm", Reject.BAD_TOPIC, "wm/TENANT/", id="the prefix alone"),
        pytest.param("wm/-a/truck/pos", Reject.BAD_TOPIC, "tenant '-a'", id="impossible tenant"),
        pytest.param(b"wm/\xff/t/pos", Reject.BAD_TOPIC, "UTF-8", id="not UTF-8"),
        pytest.param("wm/acme/+/pos", Reject.BAD_DEVICE_NAME, "'+'", id="wildcard +"),
        pytest.param("wm/acme/a#/pos", Reject.BAD_DEVICE_NAME, "'a#'", id="wildcard #"),
        pytest.param("wm/acme/a\nb/pos", Reject.BAD_DEVICE_NAME, r"'a\nb'", id="control character"),
        pytest.param("wm/acme/a\0b/pos", Reject.BAD_DEVICE_NAME, r"'a\x00b'", id="NUL"),
        pytest.param("wm/acme/a b/pos", Reject.BAD_DEVICE_NAME, "'a b'", id="space"),
        pytest.param("wm/acme/lüge/pos", Reject.BAD_DEVICE_NAME, r"'l\xfcge'", id="letter"),
        pytest.param(f"wm/acme/{'x' * 129}/pos", Reject.BAD_DEVICE_NAME, "...", id="long"),
        pytest.param("wm/acme/truck/gps", Reject.UNKNOWN_CHANNEL, "pos, sensor", id="channel"),
        pytest.param("wm/acme/truck/", Reject.BAD_TOPIC, "wm/TENANT/", id="empty channel"),
        pytest.param("wmx/acme/truck/pos", Reject.UNKNOWN_FORMAT, "WAYMARK_FORMATS", id="prefix"),
        pytest.param("$SYS/uptime", Reject.UNKNOWN_FORMAT, "$SYS", id="a broker's own topic"),
    ],
)
def test_a_topic_that_leads_nowhere_is_rejected_by_name(
    topic: str | bytes, reason: Reject, said: str
) -> None:
    found, detail = only_reject(Decoder().decode([message(topic, POS)]))
    assert found == reason
    assert said in detail
    assert detail.isprintable()
    assert detail.isascii()


def test_a_rejection_names_the_device_only_when_its_name_is_well_formed() -> None:
    rejects = (
        Decoder()
        .decode(
            [
                message("wm/acme/truck/gps", POS),
                message("wm/acme/truck/pos", b"x"),
                message("wm/acme/a#/pos", POS),
            ]
        )
        .rejects
    )
    assert [(r.message, r.tenant, r.device) for r in rejects] == [
        (0, "acme", "truck"),
        (1, "acme", "truck"),
        (2, None, None),
    ]


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        pytest.param(b"", Reject.EMPTY, "empty", id="empty"),
        pytest.param(b" \r\n", Reject.EMPTY, "empty", id="white space"),
        pytest.param(b"[]", Reject.EMPTY, "array is empty", id="empty array"),
        pytest.param(b"lat=1&lon=2", Reject.NOT_JSON, "not JSON", id="a form"),
        pytest.param(POS[:-1], Reject.NOT_JSON, "not JSON", id="cut off"),
        pytest.param(POS + b"x", Reject.NOT_JSON, "trailing", id="trailing"),
        pytest.param(b"[" + POS + b",]", Reject.NOT_JSON, "not JSON", id="trailing comma"),
        pytest.param(b"\xef\xbb\xbf" + POS, Reject.NOT_JSON, "byte-order mark", id="BOM"),
        pytest.param(POS.replace(b"7.5", b"NaN", 1), Reject.NOT_JSON, "NaN and Inf", id="NaN"),
        pytest.param(POS.replace(b"7.5", b"-Infinity", 1), Reject.NOT_JSON, "NaN", id="Infinity"),
        pytest.param(b'{"t":"\xff"}', Reject.NOT_UTF8, "byte 6", id="Latin-1"),
        pytest.param(POS[:-1] + b',"x":"\xe9"}', Reject.NOT_UTF8, "UTF-8", id="in an extra"),
        pytest.param(POS[:-1] + b',"x":"\xed\xa0\x80"}', Reject.NOT_UTF8, "UTF-8", id="surrogate"),
        pytest.param(b"5", Reject.BAD_FIELD, "5 is a number, not an object", id="number"),
        pytest.param(b'"pos"', Reject.BAD_FIELD, "'pos' is text, not an object", id="text"),
        pytest.param(b"null", Reject.BAD_FIELD, "null, not an object", id="null"),
        pytest.param(b"[" * 100_000, Reject.TOO_DEEP, "32", id="100,000 opened"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, Reject.TOO_DEEP, "32", id="100,000 arrays"),
        pytest.param(b'{"a":' * 100_000, Reject.TOO_DEEP, "32", id="100,000 objects"),
        pytest.param(
            POS[:-1] + b',"x":' + b"[" * 32 + b"]" * 32 + b"}",
            Reject.TOO_DEEP,
            "32",
            id="33 levels in an extra member",
        ),
        pytest.param(
            POS[:-1] + b',"x":[' + b'"]",[' * 2_000 + b"]" * 2_000 + b"]}",
            Reject.TOO_DEEP,
            "32",
            id="depth hidden behind brackets in strings",
        ),
        pytest.param(b"[" + b"0," * 10_000 + b"0]", Reject.TOO_LARGE, "split it", id="10,001"),
    ],
)
def test_a_payload_that_cannot_be_read_is_rejected_by_name(
    payload: bytes, reason: Reject, said: str
) -> None:
    found, detail = only_reject(Decoder().decode([message("wm/acme/truck/pos", payload)]))
    assert found == reason, detail
    assert said in detail
    assert detail.isprintable()
    assert detail.isascii()


@pytest.mark.timeout(5)
def test_a_payload_made_to_be_slow_is_refused_in_one_pass() -> None:
    # A pattern that tries each quote anew takes 10 s for 40 kB of this.
    payload = b"[" * 40 + b'"' + rb"\"" * 500_000
    [reject] = Decoder().decode([message("wm/acme/truck/pos", payload)]).rejects
    assert reject.reason == Reject.TOO_DEEP


def test_32_levels_are_read_whatever_brackets_its_strings_hold() -> None:
    extra = b',"x":' + b"[" * 31 + b"]" * 31 + b',"y":"' + b"[{" * 100 + b'"}'
    readings = Decoder().decode([message("wm/acme/truck/pos", POS[:-1] + extra)])
    assert readings.rejects == []
    assert len(readings.positions) == 1


def test_10_mb_are_refused_unread_and_so_is_a_payload_the_client_cut() -> None:
    decoder = Decoder(max_payload_bytes=1_048_576)
    big = POS[:-1] + b',"x":"' + b"x" * 10_000_000 + b'"}'
    for refused in (
        message("wm/acme/truck/pos", big),
        message("wm/acme/truck/pos", POS, truncated=True),
    ):
        reason, detail = only_reject(decoder.decode([refused]))
        assert reason == Reject.TOO_LARGE
        assert "1048576" in detail


def test_a_payload_of_exactly_the_limit_is_read() -> None:
    decoder = Decoder(max_payload_bytes=1_024)
    assert len(decoder.decode([message("wm/acme/t/pos", POS.ljust(1_024))]).positions) == 1


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param(message("wm/acme/truck/cmd", b"\xff\xff"), id="command"),
        pytest.param(message("wm/acme/truck/cmd", b""), id="empty command"),
        pytest.param(message("wm/acme/truck/pos", b"", retained=True), id="retained deleted"),
        pytest.param(message("any/thing", b"", retained=True), id="foreign retained deleted"),
        pytest.param(message("wm/acme/truck/status", b""), id="status deleted, seen live"),
        pytest.param(message("wm/a/t/sensor", b'{"t":1779999990,"values":{"x":null}}'), id="nulls"),
    ],
)
def test_what_is_on_the_ignore_list_gives_neither_reading_nor_reject(ignored: Message) -> None:
    decoder = Decoder()
    assert nothing(decoder.decode([ignored]))
    assert decoder.devices == []


def test_devices_are_numbered_by_first_good_reading_and_keep_their_number() -> None:
    decoder = Decoder()
    first = decoder.decode(
        [
            message("wm/acme/bad/pos", b"?"),
            message("wm/acme/a/pos", POS),
            message("wm/other/a/pos", POS),
            message("wm/acme/a/tag", b'{"t":1779999990,"epc":"00ff"}'),
        ]
    )
    assert first.positions.key_id.tolist() == [0, 1]
    assert first.tags.key_id.tolist() == [0]
    second = decoder.decode([message("wm/acme/bad/pos", POS), message("wm/acme/a/pos", POS)])
    assert second.positions.key_id.tolist() == [2, 0]
    assert decoder.devices == [
        DeviceKey("acme", "a"),
        DeviceKey("other", "a"),
        DeviceKey("acme", "bad"),
    ]
    assert decoder.key_id(b"wm/acme/a/status") == 0
    assert decoder.key_id(b"wm/acme/never/pos") == -1
    assert decoder.key_id(b"wm/+/+/pos") == -1


def test_invented_topics_fill_the_cache_no_further_than_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode, "_MAX_ROUTES", 100)
    decoder = Decoder()
    decoder.decode([message("wm/acme/real/pos", POS)])
    decoder.decode([message(f"wm/acme/invented-{n}/pos", b"?") for n in range(1_000)])
    decoder.decode([message(f"nowhere/{n}", b"?") for n in range(1_000)])
    again = decoder.decode([message("wm/acme/real/pos", POS)])
    assert len(decoder._routes) <= 100
    assert again.positions.key_id.tolist() == [0]
    assert decoder.devices == [DeviceKey("acme", "real")]


def test_an_empty_batch_gives_empty_columns_of_the_right_types() -> None:
    readings = Decoder().decode([])
    assert nothing(readings)
    assert readings.positions.lon.dtype == np.float64
    assert readings.positions.key_id.dtype == np.int32
    assert readings.positions.battery.dtype == np.float32
    assert readings.positions.fix_time_us.dtype == np.int64
    assert readings.positions.attrs is None


@pytest.mark.parametrize(
    ("filter_text", "topic", "matches"),
    [
        pytest.param("owntracks/#", "owntracks/u/d", True, id="#"),
        pytest.param("owntracks/#", "owntracks/u/d/event", True, id="# over more levels"),
        pytest.param("owntracks/+/+", "owntracks/u/d", True, id="+"),
        pytest.param("owntracks/+/+", "owntracks/u/d/event", False, id="+ is one level"),
        pytest.param("owntracks/+/+", "owntracks/u", False, id="too short"),
        pytest.param("eu/+/ot/+/+", "eu/ch/ot/u/d", True, id="+ in the middle"),
        pytest.param("#", "u/d", True, id="# alone"),
        pytest.param("#", "$SYS/d", False, id="# spares $ topics"),
        pytest.param("+/+", "$SYS/d", False, id="+ spares $ topics"),
    ],
)
def test_foreign_filters_match_as_mqtt_filters_do(
    filter_text: str, topic: str, *, matches: bool
) -> None:
    decoder = Decoder(formats={filter_text: "owntracks"}, foreign_tenant="phones")
    payload = b'{"_type":"location","tst":1779999990,"lat":1,"lon":2}'
    readings = decoder.decode([message(topic, payload)])
    if matches:
        assert decoder.devices == [DeviceKey("phones", "u:d")]
    else:
        assert only_reject(readings)[0] == Reject.UNKNOWN_FORMAT


def test_native_topics_stay_native_whatever_the_foreign_filters_say() -> None:
    decoder = Decoder(formats={"#": "owntracks"})
    assert len(decoder.decode([message("wm/acme/truck/pos", POS)]).positions) == 1
    assert decoder.devices == [DeviceKey("acme", "truck")]


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        pytest.param({"a/#": "owntrack"}, "there are: owntracks", id="unknown decoder"),
        pytest.param({"a/#/b": "owntracks"}, "a/#/b", id="# in the middle"),
        pytest.param({"a/b+": "owntracks"}, "a/b+", id="+ in part of a level"),
        pytest.param({"": "owntracks"}, "''", id="empty"),
        pytest.param({"owntracks/+": "owntracks"}, "`+/+`", id="no room for user and device"),
        pytest.param({"owntracks/u/d": "owntracks"}, "`+/+`", id="no wildcard"),
    ],
)
def test_formats_that_cannot_work_are_refused_at_the_start(
    formats: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        Decoder(formats=formats)
    assert "WAYMARK_FORMATS" in str(refusal.value)
    assert said in str(refusal.value)


def test_the_page_for_device_developers_explains_every_reject_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "payloads.md").read_text()
    assert [reason for reason in Reject if f"\n| `{reason}` | " not in page] == []
