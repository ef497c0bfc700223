"""The gRPC service: the same answers as REST, the same refusals, the same streams as the feed."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
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
from tests.services import free_port

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
def rows(database_url: str) -> Iterator[Rows]:
    with Rows(database_url) as rows:
        yield rows


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


def calls(rpc: Rpc, metadata: list[tuple[str, str]]) -> list[Any]:
    """A call of each kind there is; a new one in the proto is covered by being there."""
    service = pb.DESCRIPTOR.services_by_name["TrackingService"]
    return [
        getattr(rpc.stub, method.name)(getattr(pb, method.input_type.name)(), metadata=metadata)
        for method in service.methods
    ]
