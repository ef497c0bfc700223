"""Counts what a store must hold after Capmetro files: `python count_capmetro.py FILE.csv.gz...`.

An independent witness: csv, gzip and datetime only, nothing of Waymark.
"""

import csv
import gzip
import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path


def count(paths: Iterable[Path | str]) -> dict[str, int]:
    """Rows and distinct readings over all `paths` together; times are compared as instants."""
    rows = null = out_of_range = null_island = bad_time = 0
    keys: set[tuple[str, float]] = set()
    contents: set[tuple[object, ...]] = set()
    for path in paths:
        with gzip.open(path, "rt", newline="") as text:
            for row in csv.DictReader(text):
                rows += 1
                if not (row["vehicle_id"] and row["longitude"] and row["latitude"]):
                    null += 1
                    continue
                lon, lat = float(row["longitude"]), float(row["latitude"])
                null_island += lon == 0 and lat == 0
                if not (-180 <= lon <= 180 and -90 <= lat <= 90):
                    out_of_range += 1
                    continue
                try:
                    moment = datetime.strptime(row["timestamp"], "%Y-%m-%dT%H:%M:%S%z")
                except ValueError:
                    bad_time += 1
                    continue
                key = (row["vehicle_id"], moment.timestamp())
                keys.add(key)
                rest = (row[name] for name in ("speed", "route_id", "trip_id", "trip_headsign"))
                contents.add((*key, lon, lat, *rest))
    return {
        "rows": rows,
        "distinct_vehicle_time": len(keys),
        "distinct_content": len(contents),
        "null": null,
        "out_of_range": out_of_range,
        "null_island": null_island,
        "bad_time": bad_time,
        "vehicles": len({vehicle for vehicle, _ in keys}),
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, json.dumps(count([name])))  # noqa: T201  -- its output
    print("together", json.dumps(count(sys.argv[1:])))  # noqa: T201  -- as above
