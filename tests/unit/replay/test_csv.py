import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.replay.support import replayed, rows_of, written
from tracking.errors import InputError
from waymark.replay.dispatch import TableOptions
from waymark.replay.mapping import RowMapper
from waymark.replay.named import choose, load
from waymark.replay.readers import csv_rows
from waymark.replay.reading import Row, SkipReason

PLAIN = "device,time,lon,lat,speed_kmh,note\n"


def skips(path: Path) -> list[tuple[int, SkipReason, str]]:
    return [(row.number, row.skipped, row.content) for row in rows_of(path) if row.skipped]


def test_a_plain_header_explains_itself(tmp_path: Path) -> None:
    path = written(
        tmp_path, "fleet.csv", PLAIN + "van 1,2026-01-01T00:00:00+01:00,4.5,52.25,36,hello\n"
    )
    messages, _ = replayed(path)
    assert messages == [
        (
            "wm/default/van_1/pos",
            {
                "t": "2025-12-31T23:00:00Z",
                "lon": 4.5,
                "lat": 52.25,
                "speed_mps": 10.0,
                "attrs": {"note": "hello"},
            },
        )
    ]


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text.encode("utf-8-sig"), id="utf-8 with mark"),
        pytest.param(lambda text: text.encode("utf-16"), id="utf-16 with mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="carriage returns"),
        pytest.param(lambda text: text.replace(",", ";").encode(), id="semicolons"),
        pytest.param(lambda text: text.replace(",", "\t").encode(), id="tabs"),
        pytest.param(lambda text: ("\n" + text).encode(), id="blank line first"),
        pytest.param(lambda text: gzip.compress(text.encode()), id="gzip under another name"),
    ],
)
def test_dialects_and_encodings_read_alike(tmp_path: Path, encode: object) -> None:
    assert callable(encode)
    text = PLAIN + "van,2026-01-01T00:00:00Z,4.5,52.25,36,caf\u00e9\n"
    messages, tally = replayed(written(tmp_path, "fleet.csv", encode(text)))
    assert [message["attrs"] for _, message in messages] == [{"note": "caf\u00e9"}]
    assert (tally.rows, tally.readings) == (1, 1)


def test_bytes_outside_the_encoding_stay_visible(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.csv", PLAIN.encode() + b"van,2026-01-01T00:00:00Z,4.5,52.25,36,caf\xe9\n"
    )
    messages, _ = replayed(path)
    assert messages[0][1]["attrs"] == {"note": "caf\\xe9"}


def test_a_row_without_device_or_of_another_width_is_skipped_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.csv",
        PLAIN
        + ",2026-01-01T00:00:00Z,4.5,52.25,36,nobody\n"
        + "\n"
        + "van,2026-01-01T00:00:00Z,4.\n"
        + "van,2026-01-01T00:00:00Z,4.5,52.25,36,x,surplus\n"
        + "van,2026-01-01T00:00:00Z,4.5,52.25,36,x,,\n"
        + ",,,,,\n",
    )
    assert skips(path) == [
        (2, SkipReason.NO_DEVICE, ",2026-01-01T00:00:00Z,4.5,52.25,36,nobody"),
        (3, SkipReason.EMPTY, ""),
        (4, SkipReason.BROKEN_LINE, "van,2026-01-01T00:00:00Z,4."),
        (5, SkipReason.BROKEN_LINE, "van,2026-01-01T00:00:00Z,4.5,52.25,36,x,surplus"),
        (7, SkipReason.EMPTY, ",,,,,"),
    ]


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    good = "van,2026-01-01T00:00:00Z,4.5,52.25,36,x\n"
    path = written(tmp_path, "f.csv", PLAIN + good + 'van,"2026,1,2,3,4\n' + good * 5_000)
    rows = rows_of(path)
    assert [row.number for row in rows] == list(range(2, 5_004))
    assert [row.number for row in rows if row.skipped] == [3]


def test_a_quoted_line_break_belongs_to_its_row(tmp_path: Path) -> None:
    row = 'van,2026-01-01T00:00:00Z,4.5,52.25,36,"two\nlines"\n'
    rows = rows_of(written(tmp_path, "f.csv", PLAIN + row + row))
    assert [(row.number, row.readings[0].values["attrs"]) for row in rows] == [
        (2, {"note": "two\nlines"}),
        (4, {"note": "two\nlines"}),
    ]


def test_faults_a_message_can_carry_are_published_as_found(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.csv",
        PLAIN
        + "van,whenever,4.5,52.25,36,\n"
        + "van,,4.5,52.25,36,\n"
        + "van,2026-01-01T00:00:00Z,4.5,,36,\n"
        + "van,2026-01-01T00:00:00Z,4.5,north,36,\n"
        + "van,2026-01-01T00:00:00Z,181,91,36,\n"
        + "van,2026-01-01T00:00:00Z,4.5,52.25,-36,\n"
        + "van,2026-01-01T00:00:00Z,0,0,0,\n",
    )
    messages, tally = replayed(path)
    t = "2026-01-01T00:00:00Z"
    assert [message for _, message in messages] == [
        {"t": "whenever", "lon": 4.5, "lat": 52.25, "speed_mps": 10.0},
        {"lon": 4.5, "lat": 52.25, "speed_mps": 10.0},
        {"t": t, "lon": 4.5, "speed_mps": 10.0},
        {"t": t, "lon": 4.5, "lat": "north", "speed_mps": 10.0},
        {"t": t, "lon": 181.0, "lat": 91.0, "speed_mps": 10.0},
        {"t": t, "lon": 4.5, "lat": 52.25, "speed_mps": -10.0},
        {"t": t, "lon": 0.0, "lat": 0.0, "speed_mps": 0.0},
    ]
    assert tally.summary()["expected_rejects"] == {
        "bad_field": 2,
        "bad_time": 1,
        "coordinates_out_of_range": 1,
        "missing_field": 2,
    }
    assert tally.summary()["distinct_readings"] == 1


def test_missing_columns_are_told_with_those_found(tmp_path: Path) -> None:
    path = written(tmp_path, "fleet.csv", "wann,wo\n1,2\n")
    with pytest.raises(InputError, match=r"no column for t .* lon .* lat .* device .*wann, wo"):
        rows_of(path)


def test_a_speed_without_unit_is_refused_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "fleet.csv", "device,t,lon,lat,speed\nv,1700000000,1,2,36\n")
    with pytest.raises(InputError, match="--unit speed"):
        rows_of(path)
    messages, _ = replayed(path, TableOptions(units={"speed": "kmh"}))
    assert messages[0][1]["speed_mps"] == 10.0


def test_columns_and_units_can_be_given(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "a,b,c,d,e\n20260101 12:00,5.5,52,bus,10\n")
    options = TableOptions(
        columns={"t": "a", "lon": "b", "lat": "c", "device": "d", "speed_kn": "e"},
        time_format="%Y%m%d %H:%M",
        timezone="Europe/Amsterdam",
    )
    messages, _ = replayed(path, options)
    assert messages == [
        (
            "wm/default/bus/pos",
            {"t": "2026-01-01T11:00:00Z", "lon": 5.5, "lat": 52.0, "speed_mps": 5.144444},
        )
    ]


def test_one_device_can_be_named_for_all_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "t,lon,lat\n1700000000,1,2\n")
    messages, _ = replayed(path, TableOptions(device="my boat"))
    assert messages[0][0] == "wm/default/my_boat/pos"


def test_a_mapping_file_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    mapping = written(
        tmp_path,
        "m.json",
        '{"columns": {"t": "when", "lon": "x", "lat": "y", "speed_mph": "v"},'
        ' "device": "d", "missing": {"speed": [99]}, "attrs": []}',
    )
    path = written(tmp_path, "x.csv", "when,x,y,v,z\n1700000000,1,2,10,a\n1700000001,1,2,99,a\n")
    messages, _ = replayed(path, TableOptions(mapping=load(str(mapping))))
    assert [message for _, message in messages] == [
        {"t": "2023-11-14T22:13:20Z", "lon": 1.0, "lat": 2.0, "speed_mps": 4.4704},
        {"t": "2023-11-14T22:13:21Z", "lon": 1.0, "lat": 2.0},
    ]
    with pytest.raises(InputError, match=r"no mapping.*colums"):
        load(str(written(tmp_path, "bad.json", '{"colums": {}}')))
    with pytest.raises(InputError, match="capmetro"):
        load("capmetr")
    with pytest.raises(InputError, match="no field 'longitud'"):
        load(str(written(tmp_path, "field.json", '{"columns": {"longitud": "x"}}')))


def test_times_without_zone_raise_a_notice_unless_the_zone_was_said(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "device,t,lon,lat\nv,2026-07-01 12:00:00,1,2\n")
    messages, tally = replayed(path)
    assert messages[0][1]["t"] == "2026-07-01T12:00:00Z"
    assert "taken as UTC" in tally.notices[0]
    messages, tally = replayed(path, TableOptions(timezone="Europe/Berlin"))
    assert messages[0][1]["t"] == "2026-07-01T10:00:00Z"
    assert tally.notices == []


def test_the_same_row_is_the_same_bytes_and_repeats_are_told_from_conflicts(
    tmp_path: Path,
) -> None:
    row = "v,1700000000,1,2\n"
    path = written(tmp_path, "x.csv", "device,t,lon,lat\n" + row + row + "v,1700000000,1,3\n")
    summary = replayed(path)[1].summary()
    assert (summary["readings"], summary["distinct_readings"]) == (3, 1)
    assert (summary["exact_repeats"], summary["conflicts"]) == (1, 1)


def test_a_bare_id_is_not_taken_for_a_device(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "id,t,lon,lat\n1,1700000000,1,2\n")
    with pytest.raises(InputError, match="--device-column"):
        rows_of(path)


CELL = st.one_of(
    st.sampled_from(["", "-", "NA", "1.5", "200", "nan", "1e400", "2026-01-01T00:00:00Z", "a b"]),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters='\0\r\n"'), max_size=6),
)
HEADER = ["device", "t", "lon", "lat"]


def read(text: str) -> list[Row]:
    source = io.StringIO(text, newline="")
    return list(csv_rows.rows(source, "x", lambda columns: RowMapper(choose(columns), columns)))


def fate(cells: list[str]) -> SkipReason | None:
    if not any(cells):
        return SkipReason.EMPTY
    if len(cells) < 4 or any(cells[4:]):
        return SkipReason.BROKEN_LINE
    nothing = {"", "-", "na", "n/a", "nan", "null", "none", "\\n"}
    if cells[0].strip().lower() in nothing:
        empty = all(cell.strip().lower() in nothing for cell in cells[:4])
        return SkipReason.EMPTY if empty else SkipReason.NO_DEVICE
    return None


@given(st.lists(st.lists(CELL, max_size=6), max_size=12))
def test_every_row_is_published_once_or_skipped_under_its_reason(table: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([HEADER, *table])
    rows = read(text.getvalue())
    assert [row.number for row in rows] == list(range(2, len(table) + 2))
    assert [row.skipped for row in rows] == [fate(cells) for cells in table]
    assert [len(row.readings) for row in rows] == [int(row.skipped is None) for row in rows]


@given(st.text(alphabet='abc1,;"\n\r\t \\', max_size=80))
def test_no_text_below_a_header_raises_or_is_left_unaccounted(text: str) -> None:
    rows = read("device,t,lon,lat\n" + text)
    numbers = [row.number for row in rows]
    assert numbers == sorted(set(numbers))
    assert all((row.skipped is None) == bool(row.readings) for row in rows)
    # Everything that is not a line end or a quote is in a reading or in a skipped row's text.
    lines = [line for line in io.StringIO(text, newline="") if line.strip("\r\n")]
    assert len(rows) >= (1 if lines else 0)
