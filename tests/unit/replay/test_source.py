import gzip
import zipfile
from pathlib import Path

import pytest

from tests.unit.replay.support import replayed, rows_of, written
from tracking.errors import InputError
from waymark.replay.source import Format, find

CSV = "device,t,lon,lat\n" + "".join(f"v{n},{1_700_000_000 + n},1,2\n" for n in range(20_000))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        replayed(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("a.csv", b"", "is empty", id="no bytes"),
        pytest.param("a.csv", b"\xef\xbb\xbf \r\n", "is empty", id="only a mark and white space"),
        pytest.param("a.csv.gz", gzip.compress(b""), "is empty", id="empty inside gzip"),
        pytest.param("a.csv.gz", gzip.compress(CSV.encode())[:5_000], "cut short", id="truncated"),
        pytest.param("a.csv.gz", b"\x1f\x8b\x08\x00garbage" * 9, "damaged", id="not really gzip"),
        pytest.param("a.zip", b"PK\x03\x04" + b"\x00" * 90, "binary", id="not really zip"),
        pytest.param("a.gpx", bytes(range(256)) * 20, "binary", id="binary"),
        pytest.param("a.csv", b"hello world\n", "no CSV header", id="prose"),
        pytest.param("a.csv", b"a,b\n1,2\n", "no column for", id="wrong columns"),
        pytest.param("a.kml", b"<kml/>", "gpsbabel", id="another XML"),
    ],
)
def test_unusable_files_are_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    assert words in refused(written(tmp_path, name, content))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "nowhere.csv")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "is a folder" in refused(folder)


def test_a_gzip_that_breaks_late_is_told_after_the_rows_before_the_break(tmp_path: Path) -> None:
    # Incompressible enough that the break lies behind the part looked at first.
    whole = gzip.compress(CSV.encode(), compresslevel=1)
    path = written(tmp_path, "late.csv.gz", whole[:-3_000])
    assert "cut short" in refused(path)


def test_an_archive_holds_a_recording_for_each_member(tmp_path: Path) -> None:
    path = tmp_path / "fleet.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.md", "about")
        archive.writestr("__MACOSX/._a.csv", "\0")
        archive.writestr("day/a.csv", "device,t,lon,lat\nv,1700000000,1,2\n")
        archive.writestr("day/b.gpx", '<gpx><wpt lon="1" lat="2"/></gpx>')
    found = find([path])
    assert [(recording.member, recording.format) for recording in found] == [
        ("day/a.csv", Format.CSV),
        ("day/b.gpx", Format.GPX),
    ]
    assert len(rows_of(path)) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<?xml version='1.0'?>\n<gpx></gpx>", Format.GPX),
        ('  {"type": "FeatureCollection"}', Format.GEOJSON),
        ("2026-01-01T00:00:00Z\t*\t{}\n", Format.REC),
        ("a,b\n", Format.CSV),
    ],
)
def test_the_content_decides_the_format_not_the_name(
    tmp_path: Path, content: str, expected: Format
) -> None:
    assert [recording.format for recording in find([written(tmp_path, "x.txt", content)])] == [
        expected
    ]


def test_the_format_can_be_forced(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", "2026-01-01T00:00:00Z\t*\t{}\n")
    assert find([path], Format.CSV)[0].format is Format.CSV
