"""`waymark fence` as a process, on a real database."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_fences_api import UTRECHT, square

KML = (
    b'<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>Yard</name><Polygon>'
    b"<outerBoundaryIs><LinearRing><coordinates>5,52 5.2,52 5.2,52.2 5,52</coordinates>"
    b"</LinearRing></outerBoundaryIs></Polygon></Placemark></kml>"
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def fence(database_url: str, tmp_path: Path) -> Run:
    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "waymark", "fence", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={
                **os.environ,
                "WAYMARK_DATABASE_URL": database_url,
                "COLUMNS": "200",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )

    return run


def feature(geometry: dict[str, Any] | None, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def file_of(tmp_path: Path, *features: dict[str, Any]) -> Path:
    path = tmp_path / "fences.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def listed(fence: Run, *arguments: str) -> list[dict[str, Any]]:
    done = fence("list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    items: list[dict[str, Any]] = json.loads(done.stdout)
    return items


def test_a_file_is_imported_once_however_often(fence: Run, tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        feature(UTRECHT, name="Café Noord", dwell_s=600, colour="red"),
        feature(UTRECHT, name="Café Noord"),
        feature({"type": "Point", "coordinates": [5, 52]}, id="yard", radius_m=200),
    )
    first = fence("import", path, "--layer", "sites", "--effective-from", "2026-01-01T00:00:00Z")
    assert (first.returncode, first.stdout) == (0, "3 created\n"), first.stderr
    items = listed(fence)
    assert [(item["id"], item["name"], item["layer"]) for item in items] == [
        ("Cafe-Noord", "Café Noord", "sites"),
        ("Cafe-Noord-2", "Café Noord", "sites"),
        ("yard", "yard", "sites"),
    ]
    assert items[0]["dwell_s"] == 600
    assert items[0]["attrs"] == {"colour": "red"}
    assert items[0]["effective_from"] == "2026-01-01T00:00:00Z"
    assert items[2]["shape"]["radius_m"] == 200
    again = fence("import", path, "--layer", "sites")
    assert again.stdout == "3 unchanged\n"
    moved = fence("import", path)
    assert moved.stdout == "3 changed\n"


def test_what_was_repaired_or_refused_is_told_with_its_place(fence: Run, tmp_path: Path) -> None:
    bow = {"type": "Polygon", "coordinates": [[[5, 52], [5, 152], [6, 52], [5, 52]]]}
    open_ring = {"type": "Polygon", "coordinates": [UTRECHT["coordinates"][0][:-1]]}
    path = file_of(
        tmp_path,
        feature(UTRECHT, id="good"),
        feature(bow, id="swapped"),
        feature(open_ring, id="open"),
        feature(None, id="nowhere"),
        feature(UTRECHT, id="limit", speed_limit_mps=-1),
    )
    refused = fence("import", path)
    assert refused.returncode == 1
    assert refused.stdout == "3 refused, 1 repaired; nothing was saved\n"
    told = refused.stderr.splitlines()
    assert told[0].split(maxsplit=2)[:2] == ["repaired", "open"]
    assert "features[2]" in told[0]
    assert "ring closed" in told[0]
    assert [line.split(maxsplit=2)[:2] for line in told[1:]] == [
        ["refused", "swapped"],
        ["refused", "nowhere"],
        ["refused", "limit"],
    ]
    assert "features[1].coordinates[0][1]: latitude 152" in told[1]
    assert "features[4].speed_limit_mps" in told[3]
    assert listed(fence) == []
    partly = fence("import", path, "--partial", "--json")
    assert partly.returncode == 0
    document = json.loads(partly.stdout)
    assert (document["created"], document["refused"], document["repaired"]) == (2, 3, 1)
    assert [item["id"] for item in listed(fence)] == ["good", "open"]


def test_a_dry_run_says_what_would_be_and_saves_nothing(fence: Run, tmp_path: Path) -> None:
    fence("import", file_of(tmp_path, feature(UTRECHT, id="a"), feature(UTRECHT, id="b")))
    path = file_of(
        tmp_path,
        feature(UTRECHT, id="a"),
        feature(square(1, 1), id="b"),
        feature(UTRECHT, id="c"),
    )
    done = fence("import", path, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "would be: 1 created, 1 changed, 1 unchanged\n")
    assert [(item["id"], item["version"]) for item in listed(fence)] == [("a", 1), ("b", 1)]


def test_a_refusal_of_the_database_holds_everything_back(fence: Run, tmp_path: Path) -> None:
    fence("import", file_of(tmp_path, feature(UTRECHT, id="a")))
    path = file_of(tmp_path, feature(square(1, 1), id="a"), feature(UTRECHT, id="b"))
    done = fence("import", path, "--effective-from", "2020-01-01T00:00:00Z")
    assert done.returncode == 1
    assert "version 1 of fence 'a' starts at" in done.stderr
    assert [item["id"] for item in listed(fence)] == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.wkt", b"POLYGON ((5 52, 5.2 52, 5.2 52.2, 5 52))", "Polygon"),
        (
            "a.kml",
            KML,
            "Polygon",
        ),
        (
            "a.geojson.gz",
            gzip.compress(json.dumps({"type": "Feature", **feature(UTRECHT)}).encode()),
            "Polygon",
        ),
    ],
)
def test_other_formats_are_understood(
    fence: Run, tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = fence("import", path, "--prefix", "x-")
    assert done.returncode == 0, done.stderr
    (item,) = listed(fence)
    assert item["id"].startswith("x-")
    assert item["shape"]["type"] == kind


def test_the_zones_of_a_city_are_imported_in_seconds(fence: Run, shared_data: Path) -> None:
    done = fence(
        "import",
        shared_data / "data" / "nyc_taxi_zones" / "taxi_zones.geojson.gz",
        "--layer",
        "zones",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("263 created")
    assert len(listed(fence, "--layer", "zones")) == 263


def test_fences_are_listed_shown_and_deleted(fence: Run, tmp_path: Path) -> None:
    assert fence("list").stdout == "no fences\n"
    path = file_of(tmp_path, feature(UTRECHT, id="a", name="Yard [1]"), feature(UTRECHT, id="b"))
    fence("import", path)
    assert "Yard [1]" in fence("list").stdout
    assert [item["id"] for item in listed(fence, "--name", "yard")] == ["a"]
    shown = json.loads(fence("show", "a").stdout)
    assert (shown["id"], shown["version"], shown["updated_by"]) == ("a", 1, "waymark fence import")
    gone = fence("delete", "a", "nothing")
    assert gone.stdout == "fence a is deleted\n"
    assert (gone.returncode, gone.stderr) == (2, "waymark: there is no fence 'nothing'\n")
    assert [item["id"] for item in listed(fence)] == ["b"]
    assert [item["id"] for item in listed(fence, "--deleted")] == ["a"]
    fence("import", path)
    assert json.loads(fence("show", "a").stdout)["version"] == 2
    assert json.loads(fence("show", "a", "--version", "1").stdout)["effective_to"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "none"], "there is no fence 'none'"),
        (["list", "--tenant", "acme"], "there is no tenant 'acme'; there are: default"),
        (["import", "broken.json"], "broken.json is not whole JSON"),
        (["import", "broken.json.gz"], "broken.json.gz cannot be read"),
        (["import", "fine.json", "--effective-from", "2026-01-01"], "--effective-from"),
        (["import", "fine.json", "--format", "kml"], "fine.json is not well-formed XML"),
    ],
)
def test_a_mistake_is_one_line(
    fence: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "broken.json").write_text('{"type": "Feat')
    (tmp_path / "broken.json.gz").write_bytes(gzip.compress(b"x" * 1_000)[:-20])
    (tmp_path / "fine.json").write_text(json.dumps(feature(UTRECHT)))
    done = fence(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("waymark: ")
    assert message in done.stderr


def test_help_teaches_with_examples(fence: Run) -> None:
    for command in ("import", "list", "show", "delete"):
        done = fence(command, "--help")
        assert f"waymark fence {command}" in done.stdout.partition("For example")[2]
