"""The gRPC service: the same answers as REST, the same refusals, the same streams as the feed."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from api.rpc import tracking_pb2 as pb
from api.rpc.tracking_pb2_grpc import TrackingServiceStub
from tests.integration.api_site import Rows, Site, api_site, later
from tests.integration.feed_source import publish, publish_position
from tests.services import TIMEOUT_FACTOR, free_port
from tracking.feed import Publisher
from tracking.store.keys import list_keys, revoke_key

if TYPE_CHECKING:
    from api.rpc.tracking_pb2_grpc import TrackingServiceAsyncStub

ROOT = Path(__file__).parents[2]


class Rpc:
    """A connection to the service of a site, with the site's key unless another is given."""

    def __init__(self, port: int, site: Site) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.stub: TrackingServiceAsyncStub = TrackingServiceStub(self.channel)
        self.site = site

    def auth(self, key: str | None = None) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {key or self.site.key}")]


@pytest.fixture
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats of the api that `rpc` starts after this come at once."""
    assert "rpc" not in request.node.funcargs
    monkeypatch.setattr("api.feed.fanout._HEARTBEAT_S", 0.05)


@pytest.fixture
async def rpc(database_url: str, valkey_url: str) -> AsyncIterator[Rpc]:
    port = free_port()
    async with api_site(database_url, valkey_url, grpc_port=port) as site:
        rpc = Rpc(port, site)
        async with rpc.channel:
            yield rpc


def at(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(later(seconds))
    return moment


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401 -- a call of any kind
    """The status of a call that fails, and the field it blames."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailing = dict(caught.value.trailing_metadata() or ())
    return caught.value.code(), str(trailing.get("waymark-field", ""))


def test_the_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT}",
            f"--python_out={tmp_path}",
            f"--grpc_python_out={tmp_path}",
            "api/rpc/tracking.proto",
        ],
        cwd=ROOT,
        check=True,
    )
    for made in sorted((tmp_path / "api" / "rpc").iterdir()):
        # The first lines name the versions of the compilers.
        kept = (ROOT / "api" / "rpc" / made.name).read_text()
        assert _body(kept) == _body(made.read_text()), f"compile the proto again: {made.name}"


def _body(code: str) -> str:
    return code.partition("\nDESCRIPTOR =")[2] or code.partition("\nclass ")[2]


class TestGetAndList:
    async def test_a_device_is_told_as_rest_tells_it(self, rpc: Rpc, rows: Rows) -> None:
        rows.device("van-1")
        told = await rpc.stub.GetDevice(pb.GetDeviceRequest(name="van-1"), metadata=rpc.auth())
        rest = (await rpc.site.get("/v1/devices/van-1")).json()
        position = rest["position"]
        assert told.name == rest["name"]
        assert told.online is rest["online"]
        assert told.motion == rest["motion"]
        assert told.odometer_m == rest["odometer_m"]
        assert (told.position.lon, told.position.lat) == (position["lon"], position["lat"])
        assert told.position.speed_mps == position["speed_mps"]
        assert told.position.fix_time == at(0)
        assert told.position.h3 == position["h3"]
        assert not told.position.HasField("alt_m")
        assert not told.HasField("silent_since")

    async def test_pages_of_devices_hold_each_once(self, rpc: Rpc, rows: Rows) -> None:
        for n in range(5):
            rows.device(f"van-{n}")
        names, token = [], ""
        while True:
            page = await rpc.stub.ListDevices(
                pb.ListDevicesRequest(page_size=2, page_token=token), metadata=rpc.auth()
            )
            names += [device.name for device in page.devices]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"van-{n}" for n in range(5)]

    async def test_filters_limit_the_devices(self, rpc: Rpc, rows: Rows) -> None:
        rows.device("van-1", lon=5.1, motion=2)
        rows.device("van-2", lon=6.1, motion=2)
        rows.device("van-3", lon=5.1, motion=1, online=False)
        box = pb.BoundingBox(min_lon=5, min_lat=52, max_lon=5.5, max_lat=53)

        async def names(request: pb.ListDevicesRequest) -> list[str]:
            found = await rpc.stub.ListDevices(request, metadata=rpc.auth())
            return [device.name for device in found.devices]

        assert await names(pb.ListDevicesRequest(bbox=box)) == ["van-1", "van-3"]
        assert await names(pb.ListDevicesRequest(motion="moving")) == ["van-1", "van-2"]
        assert await names(pb.ListDevicesRequest(online=False)) == ["van-3"]
        assert await names(pb.ListDevicesRequest(name_prefix="van-2")) == ["van-2"]

    async def test_history_comes_in_pages_without_hole_or_repeat(
        self, rpc: Rpc, rows: Rows
    ) -> None:
        rows.fixes(rows.device("van-1"), 7)
        request = pb.ListPositionsRequest(device="van-1", page_size=3)
        fixes: list[pb.Position] = []
        while True:
            page = await rpc.stub.ListPositions(request, metadata=rpc.auth())
            fixes += page.positions
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert [round((fix.lon - 5) * 1e4) for fix in fixes] == list(range(7))
        assert MessageToDict(fixes[0].attrs) == {"i": 1}

    async def test_history_is_limited_to_a_time(self, rpc: Rpc, rows: Rows) -> None:
        rows.fixes(rows.device("van-1"), 10)
        request = pb.ListPositionsRequest(device="van-1", start_time=at(2), end_time=at(3))
        page = await rpc.stub.ListPositions(request, metadata=rpc.auth())
        assert [fix.fix_time for fix in page.positions] == [at(2), at(2)]

    async def test_events_are_told_by_cursor_and_one_by_id(self, rpc: Rpc, rows: Rows) -> None:
        made = [
            rows.event("van-1", time=later(n), data={"distance_m": 12.5, "via": ["a"]})
            for n in range(3)
        ]
        page = await rpc.stub.ListEvents(
            pb.ListEventsRequest(since=made[0].cursor), metadata=rpc.auth()
        )
        assert [event.cursor for event in page.events] == [made[1].cursor, made[2].cursor]
        last = await rpc.stub.GetEvent(pb.GetEventRequest(id=made[2].id), metadata=rpc.auth())
        assert last == page.events[1]
        assert MessageToDict(last.data) == {"distance_m": 12.5, "via": ["a"]}
        assert last.time == at(2)
        assert last.source == "/waymark/default"
        down = await rpc.stub.ListEvents(
            pb.ListEventsRequest(descending=True, page_size=1), metadata=rpc.auth()
        )
        assert [event.cursor for event in down.events] == [made[2].cursor]
        assert down.next_page_token


class TestRefusals:
    @pytest.mark.parametrize("metadata", [[], [("authorization", "Bearer wmk_wrong")]])
    async def test_every_call_needs_a_credential(
        self, rpc: Rpc, metadata: list[tuple[str, str]]
    ) -> None:
        for call in calls(rpc, metadata):
            code, _ = await refusal(call)
            assert code is grpc.StatusCode.UNAUTHENTICATED

    async def test_every_call_needs_the_scope_to_read(
        self, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracking.access.Principal.may", lambda *_: False)
        for call in calls(rpc, rpc.auth()):
            code, _ = await refusal(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED

    async def test_what_is_another_tenants_is_not_there(self, rpc: Rpc, database_url: str) -> None:
        with Rows(database_url, "other") as others:
            others.fixes(others.device("theirs"), 3)
            event = others.event("theirs")
        for call in (
            rpc.stub.GetDevice(pb.GetDeviceRequest(name="theirs"), metadata=rpc.auth()),
            rpc.stub.ListPositions(pb.ListPositionsRequest(device="theirs"), metadata=rpc.auth()),
            rpc.stub.GetEvent(pb.GetEventRequest(id=event.id), metadata=rpc.auth()),
        ):
            code, _ = await refusal(call)
            assert code is grpc.StatusCode.NOT_FOUND
        devices = await rpc.stub.ListDevices(pb.ListDevicesRequest(), metadata=rpc.auth())
        events = await rpc.stub.ListEvents(pb.ListEventsRequest(), metadata=rpc.auth())
        assert not devices.devices
        assert not events.events

    async def test_a_wrong_field_is_named(self, rpc: Rpc, rows: Rows) -> None:
        rows.device("van-1")
        stub, auth = rpc.stub, rpc.auth()
        wrong = {
            "page_size": stub.ListDevices(pb.ListDevicesRequest(page_size=-1), metadata=auth),
            "page_token": stub.ListDevices(pb.ListDevicesRequest(page_token="no"), metadata=auth),  # noqa: S106 -- none
            "motion": stub.ListDevices(pb.ListDevicesRequest(motion="flying"), metadata=auth),
            "bbox": stub.ListDevices(
                pb.ListDevicesRequest(bbox=pb.BoundingBox(min_lon=200)), metadata=auth
            ),
            "quality": stub.ListPositions(
                pb.ListPositionsRequest(device="van-1", quality="fine"), metadata=auth
            ),
            "start_time": stub.ListPositions(
                pb.ListPositionsRequest(device="van-1", start_time=at(2), end_time=at(1)),
                metadata=auth,
            ),
            "end_time": stub.ListPositions(
                pb.ListPositionsRequest(device="van-1", end_time=Timestamp(seconds=2**62)),
                metadata=auth,
            ),
            "id": stub.GetEvent(pb.GetEventRequest(id="17"), metadata=auth),
            "name": stub.GetDevice(pb.GetDeviceRequest(name=""), metadata=auth),
            "device": stub.ListPositions(pb.ListPositionsRequest(), metadata=auth),
        }
        for field, call in wrong.items():
            assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def messages(call: Any, n: int) -> list[Any]:  # noqa: ANN401 -- a stream of any kind
    """The next `n` messages of a stream."""
    async with asyncio.timeout(10 * TIMEOUT_FACTOR):
        return [await call.read() for _ in range(n)]


async def told_of(stream: Any, device: str, fix_time: Timestamp) -> pb.Position:  # noqa: ANN401
    """The fix of a device and time, once it comes; devices that are there may be told again."""
    while True:
        (batch,) = await messages(stream, 1)
        assert not batch.snapshot
        for position in batch.positions:
            assert position.device in {device, "van-1", "van-2"}
            if (position.device, position.fix_time) == (device, fix_time):
                found: pb.Position = position
                return found


class TestStreams:
    async def test_positions_are_a_snapshot_and_then_what_moves(
        self, rpc: Rpc, rows: Rows, publisher: Publisher
    ) -> None:
        for name in ("van-1", "van-2"):
            rows.device(name)
        stream = rpc.stub.StreamPositions(pb.StreamPositionsRequest(), metadata=rpc.auth())
        (first,) = await messages(stream, 1)
        assert first.snapshot
        assert [position.device for position in first.positions] == ["van-1", "van-2"]
        await publish_position(publisher, "van-2", 5.3, 60)
        moved = await told_of(stream, "van-2", at(60))
        assert (moved.lon, moved.speed_mps) == (5.3, 1.0)

    async def test_a_filter_limits_positions(
        self, rpc: Rpc, rows: Rows, publisher: Publisher
    ) -> None:
        rows.device("here", lon=5.1)
        rows.device("there", lon=9.0)
        box = pb.BoundingBox(min_lon=5, min_lat=51, max_lon=6, max_lat=53)
        wanted = pb.StreamPositionsRequest(filter=pb.StreamFilter(bbox=box))
        stream = rpc.stub.StreamPositions(wanted, metadata=rpc.auth())
        (first,) = await messages(stream, 1)
        assert [position.device for position in first.positions] == ["here"]
        await publish_position(publisher, "there", 9.1, 60)
        await publish_position(publisher, "here", 5.2, 61)
        assert (await told_of(stream, "here", at(61))).lon == 5.2

    async def test_events_resume_behind_the_cursor_and_go_on_live(
        self, rpc: Rpc, rows: Rows, publisher: Publisher
    ) -> None:
        made = [rows.event("van-1", time=later(n)) for n in range(4)]
        wanted = pb.StreamEventsRequest(since=made[1].cursor)
        stream = rpc.stub.StreamEvents(wanted, metadata=rpc.auth())
        begin, third, fourth = await messages(stream, 3)
        assert begin.heartbeat_cursor == made[1].cursor
        assert [third.event.cursor, fourth.event.cursor] == [made[2].cursor, made[3].cursor]
        assert third.event == await rpc.stub.GetEvent(
            pb.GetEventRequest(id=made[2].id), metadata=rpc.auth()
        )
        (caught_up,) = await messages(stream, 1)
        assert caught_up.heartbeat_cursor == made[3].cursor
        await publish(publisher, rows.event("van-1", "trip.ended"))
        (live,) = await messages(stream, 1)
        assert live.event.type == "trip.ended"

    async def test_a_stream_cut_at_random_and_resumed_misses_nothing_and_repeats_nothing(
        self, rpc: Rpc, rows: Rows, publisher: Publisher
    ) -> None:
        rng = random.Random(11)
        made: list[int] = []
        told: list[int] = []

        async def write() -> None:
            for n in range(300):
                event = rows.event("van-1", time=later(n))
                made.append(event.cursor)
                # Some that Redis never tells must be found in the database.
                if rng.random() < 0.8:
                    await publish(publisher, event)
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        async with asyncio.timeout(60 * TIMEOUT_FACTOR):
            while not (writing.done() and told and told[-1] == made[-1]):
                since = told[-1] if told else 0
                wanted = pb.StreamEventsRequest(since=since)
                stream = rpc.stub.StreamEvents(wanted, metadata=rpc.auth())
                for _ in range(rng.randrange(1, 40)):
                    (message,) = await messages(stream, 1)
                    if message.HasField("event"):
                        told.append(message.event.cursor)
                    if writing.done() and told and told[-1] == made[-1]:
                        break
                stream.cancel()
        await writing
        assert told == made

    async def test_a_cursor_of_another_database_is_a_gap(self, rpc: Rpc, rows: Rows) -> None:
        last = rows.event("van-1")
        stream = rpc.stub.StreamEvents(pb.StreamEventsRequest(since=10**9), metadata=rpc.auth())
        begin, gap = await messages(stream, 2)
        assert begin.heartbeat_cursor == gap.gap_cursor == last.cursor

    @pytest.mark.usefixtures("impatient")
    async def test_an_idle_stream_tells_how_far_it_is(self, rpc: Rpc, rows: Rows) -> None:
        last = rows.event("van-1")
        stream = rpc.stub.StreamEvents(pb.StreamEventsRequest(), metadata=rpc.auth())
        told = await messages(stream, 3)
        assert {message.heartbeat_cursor for message in told} == {last.cursor}

    async def test_another_tenant_hears_nothing(
        self, rpc: Rpc, rows: Rows, publisher: Publisher, database_url: str
    ) -> None:
        with Rows(database_url, "other") as others:
            others.device("theirs")
            await publish(publisher, others.event("theirs"))
        stream = rpc.stub.StreamEvents(pb.StreamEventsRequest(since=0), metadata=rpc.auth())
        _begun, _caught_up = await messages(stream, 2)
        with Rows(database_url, "other") as others:
            await publish(publisher, others.event("theirs"))
        own = rows.event("van-1")
        await publish(publisher, own)
        (only,) = await messages(stream, 1)
        assert only.event.tenant == "default"
        assert only.event.id == own.id

    async def test_a_revoked_key_ends_a_stream(
        self, rpc: Rpc, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.feed.session._GUARD_S", 0.05)
        monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
        stream = rpc.stub.StreamEvents(pb.StreamEventsRequest(), metadata=rpc.auth())
        await messages(stream, 1)
        revoke_key(database_url, list_keys(database_url)[0].id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await messages(stream, 1)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

    async def test_a_reader_that_does_not_read_is_sent_away_to_come_back_with_its_cursor(
        self, rpc: Rpc, rows: Rows, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.feed.hub.MAX_EVENTS", 20)
        monkeypatch.setattr("api.rpc.streams._ROOM_BYTES", 100)
        stream = rpc.stub.StreamEvents(pb.StreamEventsRequest(since=0), metadata=rpc.auth())
        _begun, _caught_up = await messages(stream, 2)
        padding = {"padding": "x" * 60_000}
        for _ in range(200):
            await publish(publisher, rows.event("van-1", data=padding))
        told = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 -- whichever read meets it
            while True:
                (message,) = await messages(stream, 1)
                told.append(message.event.cursor)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told == list(range(1, len(told) + 1))
        again = pb.StreamEventsRequest(since=told[-1])
        rest = await messages(rpc.stub.StreamEvents(again, metadata=rpc.auth()), 2)
        assert rest[1].event.cursor == told[-1] + 1

    async def test_events_have_no_place_in_a_stream_of_positions(self, rpc: Rpc) -> None:
        request = pb.StreamPositionsRequest(filter=pb.StreamFilter(types=["trip.*"]))
        stream = rpc.stub.StreamPositions(request, metadata=rpc.auth())
        assert await refusal(stream.read()) == (grpc.StatusCode.INVALID_ARGUMENT, "filter")


def calls(rpc: Rpc, metadata: list[tuple[str, str]]) -> list[Any]:
    """A call of each kind there is; a new one in the proto is covered by being there."""
    service = pb.DESCRIPTOR.services_by_name["TrackingService"]
    made = []
    for method in service.methods:
        call = getattr(rpc.stub, method.name)(
            getattr(pb, method.input_type.name)(), metadata=metadata
        )
        made.append(call.read() if method.server_streaming else call)
    return made
