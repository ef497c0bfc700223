import json
from typing import Any

import pytest

from firmware_sim import Faults, Options
from firmware_sim.cli import main
from firmware_sim.connection import Broker
from firmware_sim.declarations import START_UNSET, started
from firmware_sim.link import Pace


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit status."""
    monkeypatch.setattr("sys.argv", ["firmware-sim", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "--loss", "1.5"], "loss: 1.5 is not within 0 to 1"),
        (["plan", "--offline", "nan"], "offline: nan is not within 0 to 0.5"),
        (["plan", "--center", "somewhere"], "lon,lat"),
        (["plan", "--center", "13.4,99"], "center latitude"),
        (["plan", "--start", "tomorrow"], "neither ISO 8601 nor epoch ms"),
        (["plan", "--tenant", "a/b"], "tenant"),
        (["plan", "--prefix", "#"], "prefix"),
        (["plan", "--devices", "0", "--readers", "0", "--sensors", "0"], "nothing to simulate"),
        (["run", "--mqtt", "http://localhost"], "is not like mqtt://"),
        (["run", "--mqtt", "mqtt://localhost:port"], "is not a URL"),
        (["run", "--fast", "--for", "0"], "needs --for or --start"),
        (["run", "--window", "0"], "window"),
        (["run", "--for", "1", "--manifest", "/nowhere/at/all"], "cannot write"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert told in output.err
    assert output.err.count("\n") == 1


def test_plan_prints_json_lines_that_never_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for _ in range(2):
        assert command(monkeypatch, "plan", "--for", "3", "--faults", "harsh") == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    first = json.loads(printed[0].splitlines()[0])
    assert first["topic"].startswith("wm/default/")
    assert json.loads(first["payload"])["t"]


def test_an_option_overrides_the_preset_and_the_rest_of_it_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ["plan", "--devices", "30", "--for", "30", "--faults", "harsh", "--malformed", "0"]
    assert command(monkeypatch, *shown) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not any(line["malformed"] for line in lines)
    assert any(line["copy"] for line in lines)


def test_depots_are_closed_polygons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "depots") == 0
    collection = json.loads(capsys.readouterr().out)
    rings = [feature["geometry"]["coordinates"][0] for feature in collection["features"]]
    assert len(rings) == 4
    assert all(ring[0] == ring[-1] and len(ring) == 5 for ring in rings)


@pytest.mark.parametrize("page", ["run", "plan", "depots"])
def test_help_shows_the_shared_options(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, page, "--help") == 0
    shown = capsys.readouterr().out
    assert "--seed" in shown
    assert "--backlog" in shown


def test_clean_drops_delivery_faults_and_no_others() -> None:
    harsh = Faults.preset("harsh")
    left = Options(faults=harsh, clean=True).delivery_faults
    assert (left.loss, left.jitter_m, left.tunnels) == (harsh.loss, 8.0, 0.1)
    assert left.duplicates == left.reorder == left.offline == left.malformed == 0
    assert Options(faults=harsh).delivery_faults == harsh


@pytest.mark.parametrize(
    ("speed", "lead_s"), [(1.0, 0), (0.0, 100), (2.0, 50), (0.5, -100)], ids=str
)
def test_a_run_without_a_start_ends_at_the_present(speed: float, lead_s: float) -> None:
    options = started(Options(start_ms=START_UNSET, duration_s=100), speed)
    now_ms = started(Options(start_ms=START_UNSET, duration_s=100), 1.0).start_ms
    assert (now_ms - options.start_ms) / 1000 == pytest.approx(lead_s, abs=1)
    given = Options(start_ms=5_000)
    assert started(given, speed) is given


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://h", Broker("h", 1883)),
        ("mqtts://h", Broker("h", 8883, tls=True)),
        ("mqtt://u:p%40ss@h:99", Broker("h", 99, "u", "p@ss")),
    ],
)
def test_a_broker_url_is_read(url: str, broker: Broker) -> None:
    assert Broker.parse(url) == broker


@pytest.mark.parametrize(
    ("devices", "connections", "expected"), [(50, 0, 50), (51, 0, 8), (3, 8, 3), (1000, 20, 20)]
)
def test_devices_have_connections_of_their_own_up_to_fifty(
    devices: int, connections: int, expected: int
) -> None:
    assert Pace(connections=connections).connections_for(devices) == expected


def test_options_describe_themselves_with_only_the_faults_that_are_on() -> None:
    described: dict[str, Any] = Options(faults=Faults(loss=0.1)).describe()
    assert described["faults"] == {"loss": 0.1}
    assert json.loads(json.dumps(described)) == described
