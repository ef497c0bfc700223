import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.unit.replay.support import written
from waymark.replay.command import replay

app = typer.Typer()
app.command()(replay)
CSV = "device,t,lon,lat\nvan,1700000000,1,2\nvan,1700000000,1,2\n,1700000000,1,2\nvan,x,1,2\n"


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_a_check_needs_no_broker_and_prints_messages_and_summary(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", CSV)
    code, out, error = invoke(str(path), "--check", "--print", "1")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        'wm/default/van/pos {"t":"2023-11-14T22:13:20Z","lon":1.0,"lat":2.0}',
        f"{path} (csv plain): 4 rows, 3 readings, 1 skipped",
        "rows:             4, 1 of them skipped",
        "skipped:          1 no_device",
        "readings:         3 of 1 devices",
        "distinct:         1 by device and time; 1 exact repeats, 0 with other content",
        "will be rejected: 1 bad_time",
        "fixes:            2023-11-14T22:13:20Z to 2023-11-14T22:13:20Z",
    ]


def test_a_check_shows_the_order_of_a_paced_replay_without_its_waits(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "device,t,lon,lat\nb,1700009999,1,2\na,1700000000,1,2\n")
    _, out, _ = invoke(str(path), "--check", "--print", "2", "--speed", "1")
    assert [line.split()[0] for line in out.splitlines()[:2]] == [
        "wm/default/a/pos",
        "wm/default/b/pos",
    ]


def test_the_summary_as_json_accounts_for_every_row(tmp_path: Path) -> None:
    _, out, _ = invoke(str(written(tmp_path, "a.csv", CSV)), "--check", "--json")
    summary = json.loads(out)
    assert summary["rows"] == 4
    assert summary["skipped"] == {"no_device": 1}
    assert summary["expected_rejects"] == {"bad_time": 1}
    assert (summary["readings"], summary["distinct_readings"], summary["complete"]) == (3, 1, True)


def test_rejects_are_written_with_file_row_reason_and_content(tmp_path: Path) -> None:
    path, rejects = written(tmp_path, "a.csv", CSV), tmp_path / "rejects.csv"
    invoke(str(path), "--check", "--rejects", str(rejects))
    assert rejects.read_text().splitlines() == [
        "file,row,fate,reason,content",
        f'{path},4,skipped,no_device,",1700000000,1,2"',
        f'{path},5,published,bad_time,"{{""t"":""x"",""lon"":1.0,""lat"":2.0}}"',
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mapping", "capmetr"], "no mapping 'capmetr': one of capmetro, porto"),
        (["--column", "lon"], "'lon' is no pair"),
        (["--column", "longitude=x"], "no field 'longitude': one of t, lon, lat"),
        (["--unit", "speed=knots"], "speed has no unit 'knots': one of mps, kmh, mph, kn"),
        (["--unit", "device=x"], "'device' has no unit"),
        (["--timezone", "Europe/Cairo"], "no time zone 'Europe/Cairo'"),
        (["--time-format", "dd/mm"], "'dd/mm' is neither"),
        (["--device-column", "device", "--device", "x"], "not both"),
        (["--device-column", "van"], "no column for device"),
        (["--speed", "fast"], "--speed is max or a number above 0"),
        (["--speed", "-1"], "--speed is max or a number above 0"),
        (["--tenant", "a/b"], "'a/b' is no tenant's name"),
        (["--rejects", "/nowhere/x.csv"], "/nowhere/x.csv cannot be written"),
    ],
)
def test_mistakes_end_with_one_line_that_says_what_to_do(
    tmp_path: Path, options: list[str], words: str
) -> None:
    path = written(tmp_path, "a.csv", "device,t,lon,lat,speed_mps\nvan,1700000000,1,2,3\n")
    code, out, error = invoke(str(path), "--check", *options)
    assert (code, out) == (2, "")
    assert words in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["localhost:1883", "http://localhost", "mqtt://", "mqtt://h:99999", "mqtt://h:x"]
)
def test_a_broker_url_that_is_none_is_one_line(tmp_path: Path, url: str) -> None:
    code, _, error = invoke(str(written(tmp_path, "a.csv", CSV)), "--mqtt", url)
    assert code == 2
    assert error.startswith("error: the ")
    assert error.count("\n") == 1
