"""A simulated day, and lorries under way, driven by `firmware-sim` and kept by whole processes.

Once as it happens, and once late, shuffled and with duplicates: the same bytes, the same record.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.day import (
    FREE_S,
    HANDED_ON_S,
    INTERVAL_S,
    LOADED_S,
    RADIUS_M,
    START,
    Day,
    at,
    iso_of,
)
from tests.acceptance.fronts import Api, Monitor
from tests.acceptance.line import Line, under_way
from tests.acceptance.office import Office
from tests.acceptance.rig import World, environment
from tests.services import wait_until

# Simulated seconds in a real one; five hours within some ten seconds.
SPEED = 2_400
# The test says when to learn.
SETTINGS = {"WAYMARK_ETA_TRAIN_EVERY_S": "0"}
LATE = [
    "--fast", "--reorder", "1", "--reorder-window-s", "86400",
    "--duplicates", "0.2", "--duplicate-late-s", "86400",
]  # fmt: skip


class DayOffice(Office):
    """An office that is told of the day."""

    def __init__(self, stage: "Stage", tenant: str, day: Day) -> None:
        super().__init__(stage.world, stage.api, tenant)
        self.day = day

    def open(self) -> None:
        """What is there before the day begins: things and a plan."""
        for device in ("gps-a", "gps-b", "gps-c"):
            self.post("/devices", {"name": device})
        for asset in ("truck-a", "truck-b", "pallet-1"):
            self.post("/assets", {"id": asset, "kind": asset[:-2]})
        self.post("/shipments", self.day.plan())

    def settle(self, manifest: Path) -> None:
        """Wait until all that was published is stored and repaired, and the parcel followed."""
        sent = {line["payload_sha256"] for line in lines(manifest)}
        of_tenant = f"(SELECT id FROM tenant WHERE name = '{self.tenant}')"  # noqa: S608 -- ours
        done = (
            "SELECT (SELECT count(*) FROM position p JOIN device d ON d.id = p.device_id "  # noqa: S608
            f"WHERE d.tenant_id = {of_tenant}), "
            f"(SELECT count(*) FROM repair r JOIN device d ON d.id = r.device_id "
            f"WHERE d.tenant_id = {of_tenant}), "
            f"(SELECT count(*) FROM shipment WHERE dirty AND tenant_id = {of_tenant}), "
            "(SELECT t.feed_cursor - c.cursor FROM shipment_cursor c JOIN tenant t "
            f"ON t.id = c.tenant_id WHERE t.id = {of_tenant})"
        )
        wait_until(
            lambda: self.world.rows(done) == [(len(sent), 0, 0, 0)] and self.is_followed(),
            "all is kept",
            30,
        )

    def is_followed(self) -> bool:
        """Whether the parcel is delivered, and its route followed until then."""
        record = self.shipment()
        if record["status"] != "delivered" or record["route"]["as_of"] is None:
            return False
        left = moment_of(record["delivered_at"]) - moment_of(record["route"]["as_of"])
        return left <= timedelta(seconds=2 * INTERVAL_S)

    def shipment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/shipments/parcel-1")
        return found

    def events(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Type, time and content of what holds, in the order it happened; not when it was made."""
        told = self.get("/shipments/parcel-1/events", limit=500)
        assert told["next"] is None
        found = [
            (one["type"], one["time"], {k: v for k, v in one["data"].items() if k != "cause"})
            for one in told["items"]
            if one["status"] == "active" and one["data"].get("to") != "planned"
        ]
        return sorted(found, key=lambda one: (moment_of(one[1]), one[0], json.dumps(one[2])))

    def track(self) -> dict[str, Any]:
        """The whole track: who carried it when, and their fixes."""
        asked: dict[str, str | int] = {
            "from": iso_of(START), "to": iso_of(self.day.end), "limit": 1_000,
        }  # fmt: skip
        pages = [self.get("/shipments/parcel-1/track", **asked)]
        while (cursor := pages[-1]["next"]) is not None:
            pages.append(self.get("/shipments/parcel-1/track", **asked, cursor=cursor))
        told = ("device", "fix_time", "lon", "lat")
        return {
            "parts": pages[0]["parts"],
            "items": [{k: fix[k] for k in told} for page in pages for fix in page["items"]],
        }

    def truth(self) -> dict[str, Any]:
        """All that may not depend on the order in which it became known."""
        record = self.shipment()
        kept = ("status", "since", "exceptions", "picked_up_at", "delivered_at", "stops", "route")
        waited = self.get("/shipments/parcel-1/detention")
        told = {"events": self.events(), "detention": without(waited, "event")}
        return {name: record[name] for name in kept} | told


def lines(manifest: Path) -> Iterator[dict[str, Any]]:
    with manifest.open() as told:
        yield from (line for line in map(json.loads, told) if line.get("published"))


def without(told: Any, name: str) -> Any:  # noqa: ANN401 -- JSON
    """The same with no member of that name anywhere: ids are each tenant's own."""
    if isinstance(told, dict):
        return {key: without(value, name) for key, value in told.items() if key != name}
    return [without(one, name) for one in told] if isinstance(told, list) else told


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Stage(NamedTuple):
    """Whole processes on real servers, and a folder."""

    world: World
    api: Api
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("day")
    with World(folder / "world", workers=1) as world, ExitStack() as stack:
        api = Api(world, folder / "api.log", SETTINGS)
        for process in (api, Monitor(world, folder / "monitor.log", SETTINGS)):
            process.start()
            stack.callback(process.stop)
        yield Stage(world, api, folder)


@pytest.fixture(scope="module")
def offices(stage: Stage) -> Iterator[Sequence[DayOffice]]:
    """The day as it was told to two tenants: as it happened, and late and in any order."""
    day = Day(stage.folder)
    manifests = stage.folder / "live.jsonl", stage.folder / "late.jsonl"
    with DayOffice(stage, "live", day) as live, DayOffice(stage, "late", day) as late:
        for office in (live, late):
            office.open()
        late_lorries = tell_late(late, manifests[1])
        tell_as_it_happens(live, manifests[0])
        assert late_lorries.wait(60) == 0
        for office, manifest in zip((live, late), manifests, strict=True):
            office.settle(manifest)
        sent = [sorted(line["payload_sha256"] for line in lines(one)) for one in manifests]
        assert sent[0] == sent[1], "the same bytes"
        yield live, late


def tell_as_it_happens(office: DayOffice, manifest: Path) -> None:
    lorries = office.drive(office.day.options, manifest, "--speed", str(SPEED))
    for moment, device, body in office.day.said():
        wait_until(lambda d=device, m=moment: office.has_seen(d, m), f"{device} at {moment}", 60)  # type: ignore[misc]
        office.post("/attachments", body)
    assert lorries.wait(60) == 0


def tell_late(office: DayOffice, manifest: Path) -> subprocess.Popen[bytes]:
    said = office.day.said()
    random.Random(5).shuffle(said)
    lorries = office.drive(office.day.options, manifest, *LATE)
    for _, _, body in said:
        office.post("/attachments", body)
    return lorries


def test_a_shipment_goes_through_every_status_with_no_manual_call(
    offices: Sequence[DayOffice],
) -> None:
    live, _ = offices
    told = live.events()
    assert [data["to"] for type_, _, data in told if type_ == "shipment.status_changed"] == [
        "at_stop", "picked_up", "in_transit", "arriving", "at_stop", "in_transit", "arriving",
        "at_stop", "delivered",
    ]  # fmt: skip
    record = live.shipment()
    assert (record["status"], record["exceptions"]) == ("delivered", ["delayed"])
    assert live.get("/shipments/parcel-1/overrides")["items"] == []


def test_stops_are_reached_and_left_when_they_truly_were(offices: Sequence[DayOffice]) -> None:
    live, _ = offices
    early, late = timedelta(seconds=60), timedelta(seconds=90)
    for stop, stood in zip(live.shipment()["stops"], live.day.stood(), strict=True):
        arrived, left = (moment_of(stop[what]["actual"]) for what in ("arrive", "depart"))
        assert stood.start - early <= arrived <= stood.start + timedelta(seconds=15), stop
        assert stood.end <= left <= stood.end + late, stop


def test_it_leaves_its_route_once_and_neither_tunnel_nor_jam_are_trouble(
    offices: Sequence[DayOffice],
) -> None:
    live, _ = offices
    [wrong] = live.day.truly("truck-a", "wrong_turn")
    told = {
        type_: moment_of(time) for type_, time, _ in live.events() if type_.startswith("route.")
    }
    assert list(told) == ["route.deviated", "route.rejoined"]
    # It has to be 150 m beside it first, and may be back a fix later than it is near.
    late = timedelta(seconds=45)
    assert wrong.start < told["route.deviated"] <= wrong.start + late
    assert wrong.end - late <= told["route.rejoined"] <= wrong.end + timedelta(seconds=INTERVAL_S)
    types = Counter(type_ for type_, _, _ in live.events())
    assert types["route.deviated"] == types["route.rejoined"] == types["shipment.delayed"] == 1
    # It was kept in Barneveld for half an hour longer than planned, and nowhere else.
    assert types["shipment.not_departed"] == 1
    assert types.keys().isdisjoint({"shipment.stalled", "shipment.overdue"})
    route = live.shipment()["route"]
    assert route["progress_m"] == pytest.approx(route["length_m"], abs=RADIUS_M)


def test_what_was_waited_is_what_it_truly_stood(offices: Sequence[DayOffice]) -> None:
    live, _ = offices
    waited = live.get("/shipments/parcel-1/detention")["items"]
    for stop, stood in zip(waited, live.day.stood(), strict=True):
        beyond_s = max((stood.end - stood.start).total_seconds() - FREE_S, 0.0)
        assert stop["dwell"]["billable_s"] == pytest.approx(beyond_s, abs=120), stop["name"]
    started = [data["stop"] for type_, _, data in live.events() if "detention" in type_]
    assert started == [0, 1]


def test_its_track_goes_on_through_the_swap_and_the_transfer(offices: Sequence[DayOffice]) -> None:
    live, late = offices
    day = live.day
    track = live.track()
    parts = [(one["device"], moment_of(one["from"]), one["to"]) for one in track["parts"]]
    assert [(device, start) for device, start, _ in parts] == [
        ("gps-a", START), ("gps-a", at(LOADED_S)), ("gps-b", at(HANDED_ON_S)),
        ("gps-c", day.swapped_at),
    ]  # fmt: skip
    ends = [None if end is None else moment_of(end) for *_, end in parts]
    assert ends[:-1] == [start for _, start, _ in parts[1:]], "no gap in custody"
    # Between two fixes lies an interval, but for the tunnel and the broken tracker.
    fixes = [moment_of(one["fix_time"]) for one in track["items"]]
    assert fixes == sorted(fixes)
    [tunnel], [broken] = day.truly("truck-a", "tunnel"), day.truly("truck-b", "broken")
    holes = [(a, b) for a, b in pairwise(fixes) if b - a > timedelta(seconds=2 * INTERVAL_S)]
    for (start, end), (before, after) in zip((tunnel, broken), holes, strict=True):
        assert max(abs(before - start), abs(after - end)) <= timedelta(seconds=INTERVAL_S)
    assert late.track() == track


def test_the_order_and_the_time_in_which_all_becomes_known_change_nothing(
    offices: Sequence[DayOffice],
) -> None:
    live, late = offices
    # Its worker may not have heard of the last fence yet.
    with suppress(TimeoutError):
        wait_until(lambda: late.truth() == live.truth(), "the same is told", 10)
    assert late.truth() == live.truth()


@pytest.fixture(scope="module")
def line(stage: Stage) -> Iterator[Line]:
    """Lorries under way on a road that others drove before, which was learned from them."""
    with Office(stage.world, stage.api, "line") as office:
        line = Line(office, stage.folder)
        line.drive_in_the_morning()
        learned = subprocess.run(
            [sys.executable, "-m", "waymark", "eta", "train", "--tenant", "line", "--json"],
            env=environment(WAYMARK_DATABASE_URL=stage.world.postgres.url(), **SETTINGS),
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        assert json.loads(learned.stdout)["legs"] == len(line.morning.arrives)
        line.set_off()
        try:
            yield line
        finally:
            line.fall_silent()


def test_estimates_are_near_the_truth(line: Line) -> None:
    arrives = line.under_way.arrives

    def expected() -> bool:
        told = under_way(line.office).values()
        # Not as they were before it was known that they had left the dock.
        return [len(one["eta"]["stops"]) for one in told] == [1] * len(arrives)

    wait_until(expected, "all are expected in Zwolle", 30)
    told = under_way(line.office)
    now = datetime.now(UTC)
    off_s, left_s = [], []
    for name, truly in arrives.items():
        [stop] = told[name]["eta"]["stops"]
        p10, p50, p90, arrive = (moment_of(stop[at]) for at in ("p10", "p50", "p90", "arrive"))
        assert p10 <= truly <= p90, name
        assert abs(arrive - p50) <= timedelta(seconds=90), name
        assert told[name]["stops"][1]["arrive"]["estimated"] == stop["arrive"]
        off_s.append(abs((p50 - truly).total_seconds()))
        left_s.append((truly - now).total_seconds())
    # Some 20 minutes are left on average, on a road where all drove alike before.
    assert sum(off_s) < 0.1 * sum(left_s), off_s
    token = line.office.post("/shipments/now-1/share", {})["token"]
    shown = line.office.get(f"/share/{token}")["stops"][1]
    assert shown["estimated_at"] == told["now-1"]["stops"][1]["arrive"]["estimated"]


def test_nothing_is_expected_of_who_is_not_seen(stage: Stage, line: Line) -> None:
    line.fall_silent()
    # Who asks here is told so after seconds, where the others would be after a quarter of an hour.
    strict = Api(stage.world, stage.folder / "strict.log", {"WAYMARK_SILENT_AFTER_S": "5"})
    strict.start()
    try:
        with Office(stage.world, strict, "line") as office:

            def unexpected() -> bool:
                told = under_way(office).values()
                return all(one["eta"]["state"] == "last_seen" for one in told)

            wait_until(unexpected, "nothing is expected", 20)
            told = under_way(office)
    finally:
        strict.stop()
    assert len(told) == len(line.under_way.arrives)
    for one in told.values():
        assert one["eta"]["stops"] == []
        assert one["stops"][1]["arrive"]["estimated"] is None
        assert one["last_seen"]["position"] is not None
