"""The feed as server-sent events: the same promises as over the websocket."""

import httpx
import pytest

from api.feed import session
from tests.integration.api_site import Rows, Site, api_site
from tests.integration.event_stream import event_stream
from tests.integration.feed_client import feed_client
from tests.integration.feed_source import closed_slow, publish, publish_position
from tracking.feed import Publisher
from tracking.store.keys import create_key, list_keys, revoke_key


async def test_a_snapshot_comes_first_then_what_happens(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    rows.device("t1", 5.0)
    rows.event("t1")
    async with event_stream(site) as stream:
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        snapshot = await stream.next("snapshot")
        assert [p["device"] for p in snapshot["positions"]] == ["t1"]
        assert stream.retry_ms is not None
        assert stream.last_id == "1"
        await publish(publisher, rows.event("t1"))
        assert await stream.events(1) == [2]
        assert stream.last_id == "2"
        await publish_position(publisher, "t1", 5.5, 1)
        assert [u["lon"] for u in (await stream.next("positions"))["updates"]] == [5.5]
        assert stream.last_id == "2"


async def test_the_last_event_id_brings_exactly_what_was_missed(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    async with event_stream(site, since=0) as stream:
        await publish(publisher, rows.event("t1"))
        await stream.events(1)
    for _ in range(3):
        rows.event("t1")
    async with event_stream(site, last_id=stream.last_id, since=0) as resumed:
        assert await resumed.events(3) == [2, 3, 4]
        await publish(publisher, rows.event("t1"))
        assert await resumed.events(1) == [5]


async def test_filters_are_those_of_the_websocket(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    async with (
        event_stream(site, device=["t1", "t9"], type=["trip.*"]) as by_device,
        event_stream(site, bbox="6.5,50,7.5,54") as by_place,
        event_stream(site, fence="depot", positions="false") as by_fence,
    ):
        streams = (by_device, by_place, by_fence)
        for stream in streams:
            await stream.next("snapshot")
        await publish_position(publisher, "t1", 5.0, 1)
        await publish_position(publisher, "t2", 7.0, 1)
        assert [u["device"] for u in (await by_device.next("positions"))["updates"]] == ["t1"]
        assert [u["device"] for u in (await by_place.next("positions"))["updates"]] == ["t2"]
        await publish(
            publisher,
            rows.event("t1", data={"lon": 5.0, "lat": 52.0}),
            rows.event("t2", "fence.entered", data={"lon": 7.0, "lat": 52.0, "fence": "depot"}),
            rows.event("t1", data={"lon": 7.0, "lat": 52.0, "fence": "depot"}),
        )
        assert [await stream.events(2) for stream in streams] == [[1, 3], [2, 3], [2, 3]]
        assert by_fence.of("positions") == []


async def test_heartbeats_are_comments_that_move_the_last_event_id(
    database_url: str,
    valkey_url: str,
    rows: Rows,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.feed.fanout._HEARTBEAT_S", 0.05)
    async with (
        api_site(database_url, valkey_url) as site,
        event_stream(site, type="trip.ended") as stream,
    ):
        await stream.next("snapshot")
        await publish(publisher, rows.event("t1"))
        while stream.last_id != "1":
            await stream.comment()
        assert stream.of("event") == []


@pytest.mark.parametrize(
    ("params", "headers", "field"),
    [
        pytest.param({"bbox": "1,2,3"}, {}, "bbox", id="short box"),
        pytest.param({"colour": "red"}, {}, "colour", id="unknown parameter"),
        pytest.param({"since": "-1"}, {}, "since", id="negative cursor"),
        pytest.param({}, {"Last-Event-ID": "x"}, "Last-Event-ID", id="an id of another stream"),
    ],
)
async def test_a_wrong_request_is_a_problem_that_names_the_field(
    site: Site, params: dict[str, str], headers: dict[str, str], field: str
) -> None:
    answer = await site.client.get("/v1/feed/sse", params=params, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


async def test_without_a_credential_there_is_no_stream(site: Site) -> None:
    answer = await site.client.get("/v1/feed/sse", headers={"Authorization": "Bearer wmk_x"})
    assert answer.status_code == 401


async def test_another_tenant_hears_nothing(
    site: Site, database_url: str, publisher: Publisher
) -> None:
    with Rows(database_url, "other") as others:
        key = create_key(database_url, "other", "test")
        async with event_stream(site, since=0) as mine:
            await mine.next("snapshot")
            others.device("theirs")
            async with feed_client(site, header=False, token=key) as theirs:
                await theirs.subscribe(since=0)
                await publish(publisher, others.event("theirs"))
                assert await theirs.events(1) == [1]
            with Rows(database_url) as ours:
                await publish(publisher, ours.event("ours"))
            assert (await mine.next("event"))["event"]["subject"] == "ours"
        assert len(mine.of("event")) == 1


async def test_a_revoked_key_ends_the_stream(
    site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_GUARD_S", 0.05)
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    async with event_stream(site) as stream:
        await stream.next("snapshot")
        revoke_key(database_url, list_keys(database_url)[0].id)
        assert (await stream.next("closing"))["code"] == session.UNAUTHORIZED
        with pytest.raises(StopAsyncIteration):
            await stream.next("event")


async def test_a_restart_ends_the_stream_and_says_so(database_url: str, valkey_url: str) -> None:
    async with api_site(database_url, valkey_url) as site, event_stream(site) as stream:
        await stream.next("snapshot")
        site.stop()
        assert (await stream.next("closing"))["code"] == session.GOING_AWAY


async def test_one_that_never_reads_is_let_go_and_resumes_without_loss(
    site: Site, rows: Rows, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.feed.event_stream._FAREWELL_WITHIN_S", 0.2)
    padding = {"p": "x" * 20_000}
    async with event_stream(site, since=0) as slow:
        await slow.next("snapshot")
        while await closed_slow(site) == 0:
            await publish(publisher, *(rows.event("t1", data=padding) for _ in range(10)))
        seen: list[int] = []
        # Reset, or ended, whichever it meets first.
        with pytest.raises((httpx.TransportError, StopAsyncIteration)):  # noqa: PT012 -- as said
            while True:
                seen += await slow.events(1)
    last = rows.event("t1").cursor
    async with event_stream(site, last_id=str(seen[-1])) as resumed:
        seen += await resumed.events(last - seen[-1])
    assert seen == list(range(1, last + 1))
