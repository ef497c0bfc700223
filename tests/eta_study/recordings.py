"""Which recordings are studied, and what is demanded of each."""

from dataclasses import dataclass
from pathlib import Path

from tests.eta_study import capmetro, lanes, legs, trips
from tests.eta_study.score import Score


@dataclass(frozen=True, slots=True)
class Files:
    """Where the recordings are; other files of the same forms may take their places."""

    stops: Path
    schedule: Path
    train_days: tuple[Path, ...]
    test_day: Path
    chicago: Path
    chicago_zone: int
    chicago_utc_offset_h: float
    chicago_train_n: int
    chicago_test_n: int
    porto: Path

    @classmethod
    def of(cls, shared: Path) -> "Files":
        """Those of the folder of recordings."""
        austin = shared / "data" / "capmetro_austin"
        return cls(
            stops=austin / "stops_20160821_20170121.csv.gz",
            schedule=austin / "schedule_20160821_20170121.csv.gz",
            train_days=(austin / "2016-11-24.csv.gz", austin / "2016-11-25.csv.gz"),
            test_day=austin / "2016-11-26.csv.gz",
            chicago=shared / "data" / "chicago_shuttle" / "tracks_chicago_train.zip",
            chicago_zone=16,
            chicago_utc_offset_h=-5.0,
            chicago_train_n=500,
            chicago_test_n=166,
            porto=shared / "data" / "porto_taxi" / "train.csv.gz",
        )


# The ratios of mean absolute errors to the baseline that are demanded.
WANTED = {
    "capmetro, timetable": 0.80,
    "capmetro, no timetable": 0.55,
    "chicago shuttle": 0.78,
    "porto taxis": 0.76,
    "chicago shuttle, whole engine": 0.78,
    "porto taxis, whole engine": 0.76,
}


def austin(files: Files) -> list[Score]:
    """The buses with their timetable, and as if there were none."""
    table = capmetro.timetable(files.stops, files.schedule)
    train = [capmetro.day(file, table) for file in files.train_days]
    test = capmetro.day(files.test_day, table)
    return [
        lanes.study("capmetro, timetable", train, test, planned=True),
        lanes.study("capmetro, no timetable", train, test, planned=False),
    ]


def austin_shipments(files: Files) -> list[Score]:
    """The buses as shipments: a planned route or the crow's way, without timetable and with it."""
    table = capmetro.timetable(files.stops, files.schedule)
    train = [capmetro.day(file, table) for file in files.train_days]
    test = capmetro.day(files.test_day, table)
    return [
        legs.study(
            f"capmetro as shipments, {way}{' and timetable' if timetable else ''}",
            table, train, test, known_way=known_way, timetable=timetable,
        )
        for timetable in (False, True)
        for way, known_way in (("route known", True), ("crow", False))
    ]  # fmt: skip


def chicago(files: Files, *, whole: bool = False) -> Score:
    """The shuttle, its remaining path given; by the `whole` engine or its forecaster of trips."""
    drives = trips.chicago(files.chicago, files.chicago_zone, files.chicago_utc_offset_h)
    train = drives[: files.chicago_train_n]
    test = drives[files.chicago_train_n :][: files.chicago_test_n]
    return _study("chicago shuttle", train, test, 30.0, whole=whole)


def porto(files: Files, *, whole: bool = False) -> Score:
    """The taxis, their destination given; `whole` as above."""
    train, test = trips.split(trips.porto(files.porto))
    return _study("porto taxis", train, test, 60.0, whole=whole)


def _study(
    name: str, train: list[trips.Drive], test: list[trips.Drive], least_s: float, *, whole: bool
) -> Score:
    if whole:
        name += ", whole engine"
        return trips.study(name, train, test, least_s=least_s, make=trips.Whole)
    return trips.study(name, train, test, least_s=least_s)
