"""`waymark eta report` as a process, on a real database."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.integration.test_eta_accuracy import WEEK, Forecast, Past


def waymark(database_url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "waymark", "eta", "report", *arguments],
        check=False, capture_output=True, text=True, timeout=60, cwd=folder,
        env={
            **os.environ, "WAYMARK_DATABASE_URL": database_url, "COLUMNS": "200",
            "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8",
        },
    )  # fmt: skip


def test_the_command_shows_bars_and_says_it_in_words(database_url: str, tmp_path: Path) -> None:
    nothing = waymark(database_url, tmp_path)
    assert nothing.returncode == 0, nothing.stderr
    assert nothing.stdout.startswith("No forecast of that time can be compared")
    week = ("--from", WEEK["from"], "--to", WEEK["to"])
    with Past(database_url) as past:
        past.forecast(
            Forecast(past.shipment(640), p50_s=600, half_s=60, prior_s=800),
            Forecast(past.shipment(2_000), p50_s=1_800, half_s=60, prior_s=1_800),
            Forecast(past.shipment(None)),
        )
    shown = waymark(database_url, tmp_path, *week)
    lines = shown.stdout.splitlines()
    assert [line.split()[:2] for line in lines if "█" in line] == [
        ["10-20", "min"],
        ["30-60", "min"],
    ]
    assert (
        "Of 2 arrivals half were at most 40 s off, nine in ten 3 min 20 s; 50% came within the "
        "range that was told, 2 min 00 s wide. 33% less wrong than the plan or plain distance."
    ) in lines
    assert lines[-1] == "Left out: 1 of stops not reached."
    told = json.loads(waymark(database_url, tmp_path, *week, "--by", "lane", "--json").stdout)
    assert [(item["key"], item["mae_s"]) for item in told["items"]] == [("Depot > Shop", 120.0)]
    refused = waymark(database_url, tmp_path, "--from", "yesterday")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
