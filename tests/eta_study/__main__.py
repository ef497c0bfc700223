"""The table of docs/eta.md: `python -m tests.eta_study ../shared`."""

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tests.eta_study.recordings import Files, austin, austin_shipments, chicago, porto


def main() -> None:
    """Run everything; about two minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path, help="the folder of recordings")
    # Other days and other cities, in files of the same forms.
    parser.add_argument("--stops", type=Path, help="of the timetable")
    parser.add_argument("--schedule", type=Path, help="of the timetable")
    parser.add_argument("--train-days", type=Path, nargs="+", help="of buses, two days or more")
    parser.add_argument("--test-day", type=Path, help="of buses")
    parser.add_argument("--chicago", type=Path, help="trips with a given path, a ZIP of `x y t`")
    parser.add_argument("--chicago-zone", type=int, help="the UTM zone of `x y`, north (16)")
    parser.add_argument("--chicago-utc-offset-h", type=float, help="of the local day (-5)")
    parser.add_argument("--chicago-train-n", type=int, help="of the trips by time (500)")
    parser.add_argument("--chicago-test-n", type=int, help="of those after them (166)")
    parser.add_argument("--porto", type=Path, help="trips to a given destination, as UCI 339")
    given = vars(parser.parse_args())
    files = Files.of(given["shared"])
    for name in (field.name for field in fields(Files)):
        if given[name] is not None:
            value: Any = tuple(given[name]) if name == "train_days" else given[name]
            files = replace(files, **{name: value})
    whole = [chicago(files, whole=True), porto(files, whole=True), *austin_shipments(files)]
    for score in [*austin(files), chicago(files), porto(files), *whole]:
        told = ", ".join(f"{name} {value:,.3g}" for name, value in score.figures().items())
        sys.stdout.write(f"{score.name}: {told}\n")


main()
