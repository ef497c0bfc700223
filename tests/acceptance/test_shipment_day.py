"""A simulated day, driven by `firmware-sim` over MQTT and kept by whole processes.

Once as it happens, and once late, shuffled and with duplicates: the same bytes, the same record.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
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
from tests.acceptance.rig import World, environment
from tests.services import wait_until
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant

# Simulated seconds in a real one; five hours within some ten seconds.
SPEED = 1_800
LATE = [
    "--fast", "--reorder", "1", "--reorder-window-s", "86400",
    "--duplicates", "0.2", "--duplicate-late-s", "86400",
]  # fmt: skip


class Office:
    """Who plans and attaches in one tenant, and what the api tells them."""

    def __init__(self, world: World, api: Api, tenant: str, day: Day) -> None:
        self.world = world
        self.tenant = tenant
        self.day = day
        create_tenant(world.postgres.url(), tenant)
        key = create_key(world.postgres.url(), tenant, "office", "dispatcher")
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{api.port}/v1",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=30,
        )

    def post(self, path: str, body: dict[str, Any]) -> None:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 201, answer.text

    def get(self, path: str, **params: str | int) -> Any:  # noqa: ANN401 -- JSON
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def open(self) -> None:
        """What is there before the day begins: things and a plan."""
        for device in ("gps-a", "gps-b", "gps-c"):
            self.post("/devices", {"name": device})
        for asset in ("truck-a", "truck-b", "pallet-1"):
            self.post("/assets", {"id": asset, "kind": asset[:-2]})
        self.post("/shipments", self.day.plan())

    def drive(self, manifest: Path, *options: str) -> subprocess.Popen[bytes]:
        """Start the lorries."""
        command = [sys.executable, "-m", "firmware_sim", "journey", *self.day.options]
        where = ["--mqtt", self.world.broker.url, "--tenant", self.tenant]
        with manifest.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [*command, *where, "--manifest", str(manifest), *options],
                env=environment(), stdout=log, stderr=log,
            )  # fmt: skip

    def has_seen(self, device: str, moment: datetime) -> bool:
        """Whether a device is known to have been somewhere at or after a moment."""
        answer = self.client.get(f"/devices/{device}/position")
        if answer.status_code == 404:
            return False
        return datetime.fromisoformat(answer.json()["fix_time"]) >= moment

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


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Office]]:
    """The day as it was told to two tenants: as it happened, and late and in any order."""
    folder = tmp_path_factory.mktemp("day")
    day = Day(folder)
    with World(folder / "world", workers=1) as world, ExitStack() as stack:
        for process in (api := Api(world, folder / "api.log"), Monitor(world, folder / "mon.log")):
            process.start()
            stack.callback(process.stop)
        live, late = (Office(world, api, tenant, day) for tenant in ("live", "late"))
        for office in (live, late):
            stack.callback(office.client.close)
            office.open()
        tell_as_it_happens(live, folder / "live.jsonl")
        tell_late(late, folder / "late.jsonl")
        live.settle(folder / "live.jsonl")
        sent = [
            sorted(line["payload_sha256"] for line in lines(folder / f"{name}.jsonl"))
            for name in ("live", "late")
        ]
        assert sent[0] == sent[1], "the same bytes"
        yield live, late


def tell_as_it_happens(office: Office, manifest: Path) -> None:
    lorries = office.drive(manifest, "--speed", str(SPEED))
    for moment, device, body in office.day.said():
        wait_until(lambda d=device, m=moment: office.has_seen(d, m), f"{device} at {moment}", 60)  # type: ignore[misc]
        office.post("/attachments", body)
    assert lorries.wait(60) == 0
    office.settle(manifest)


def tell_late(office: Office, manifest: Path) -> None:
    said = office.day.said()
    random.Random(5).shuffle(said)
    lorries = office.drive(manifest, *LATE)
    for _, _, body in said:
        office.post("/attachments", body)
    assert lorries.wait(60) == 0
    office.settle(manifest)


def test_a_shipment_goes_through_every_status_with_no_manual_call(
    offices: Sequence[Office],
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


def test_stops_are_reached_and_left_when_they_truly_were(offices: Sequence[Office]) -> None:
    live, _ = offices
    early, late = timedelta(seconds=60), timedelta(seconds=90)
    for stop, stood in zip(live.shipment()["stops"], live.day.stood(), strict=True):
        arrived, left = (moment_of(stop[what]["actual"]) for what in ("arrive", "depart"))
        assert stood.start - early <= arrived <= stood.start + timedelta(seconds=15), stop
        assert stood.end <= left <= stood.end + late, stop


def test_it_leaves_its_route_once_and_neither_tunnel_nor_jam_are_trouble(
    offices: Sequence[Office],
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


def test_what_was_waited_is_what_it_truly_stood(offices: Sequence[Office]) -> None:
    live, _ = offices
    waited = live.get("/shipments/parcel-1/detention")["items"]
    for stop, stood in zip(waited, live.day.stood(), strict=True):
        beyond_s = max((stood.end - stood.start).total_seconds() - FREE_S, 0.0)
        assert stop["dwell"]["billable_s"] == pytest.approx(beyond_s, abs=120), stop["name"]
    started = [data["stop"] for type_, _, data in live.events() if "detention" in type_]
    assert started == [0, 1]


def test_its_track_goes_on_through_the_swap_and_the_transfer(offices: Sequence[Office]) -> None:
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
    offices: Sequence[Office],
) -> None:
    live, late = offices
    # Its worker may not have heard of the last fence yet.
    with suppress(TimeoutError):
        wait_until(lambda: late.truth() == live.truth(), "the same is told", 10)
    assert late.truth() == live.truth()
