"""The feed of what moves from one carrier to another, by credentials that end."""

from collections.abc import AsyncIterator

import pytest

from api.feed import session
from tests.integration.api_site import Rows, Site, api_site, later
from tests.integration.feed_client import feed_client
from tests.integration.feed_source import publish, publish_position
from tests.integration.identity_site import People, people_of
from tests.integration.test_api_feed import close_code
from tests.integration.test_api_shipments import carry, plan
from tracking.feed import Publisher
from tracking.store.keys import create_key


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def test_a_shipment_is_followed_from_carrier_to_carrier(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    for n, name in enumerate(("van", "truck", "other")):
        rows.device(name, 5.0 + n)
    await plan(site)
    await carry(site, "s1", "van")
    async with feed_client(site) as client:
        await client.subscribe("load", filter={"shipments": ["s1"]})
        assert [p["device"] for p in client.of("snapshot")[0]["positions"]] == ["van"]
        for device in ("van", "truck", "other"):
            await publish_position(publisher, device, 6.0, 1)
        assert [u["device"] for u in (await client.next("positions"))["updates"]] == ["van"]

        [made] = (await site.get("/v1/attachments", shipment="s1")).json()["items"]
        path = f"/v1/attachments/{made['id']}"
        ended = await site.client.patch(path, json={"to": later(3600).isoformat()})
        assert ended.status_code == 200, ended.text
        await carry(site, "s1", "truck", later(3600))
        # The notice is on its way; positions go on until it was heard.
        second = 1
        while True:
            second += 1
            for device in ("van", "truck", "other"):
                await publish_position(publisher, device, 6.5, second)
            await client.settle()
            told = [u["device"] for f in client.of("positions")[1:] for u in f["updates"]]
            if "truck" in told:
                break
        client.frames.clear()
        for device in ("van", "truck", "other"):
            await publish_position(publisher, device, 7.0, second + 1)
        assert [u["device"] for u in (await client.next("positions"))["updates"]] == ["truck"]


async def test_of_events_only_those_about_the_shipment_come(
    site: Site, rows: Rows, publisher: Publisher
) -> None:
    await plan(site)
    async with feed_client(site) as client:
        await client.subscribe("load", filter={"shipments": ["s1"]})
        mine = rows.event("shipment/s1", "shipment.delayed", data={"shipment": "s1"})
        await publish(
            publisher,
            rows.event("shipment/s2", "shipment.delayed", data={"shipment": "s2"}),
            mine,
            rows.event("van", "trip.started"),
        )
        await client.settle()
        assert [f["cursor"] for f in client.of("event")][-1:] == [mine.cursor]
        assert {f["event"]["data"]["shipment"] for f in client.of("event")} == {"s1"}


class TestCredentialsThatEnd:
    @pytest.fixture
    async def people(self, database_url: str, valkey_url: str) -> AsyncIterator[People]:
        async with people_of(database_url, valkey_url) as people:
            yield people

    async def test_a_client_is_told_in_time_and_lives_on_by_a_newer_token(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await people.join("ann@example.com")
        monkeypatch.setattr(session, "_EXPIRING_S", 10_000.0)
        token = (await people.sign_in("ann@example.com"))["access_token"]
        async with feed_client(people.site, header=False, token=token) as client:
            told = await client.next("auth_expiring")
            assert 890 < told["left_s"] <= 910
            newer = (await people.sign_in("ann@example.com"))["access_token"]
            await client.send(op="auth", token=newer)
            await client.subscribe()

    async def test_without_one_the_feed_ends_with_the_token(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await people.join("ann@example.com")
        monkeypatch.setattr("tracking.tokens.ACCESS_S", 2)
        monkeypatch.setattr("tracking.tokens.LEEWAY_S", 0)
        token = (await people.sign_in("ann@example.com"))["access_token"]
        async with feed_client(people.site, header=False, token=token) as client:
            await client.next("auth_expiring")
            assert await close_code(client) == session.UNAUTHORIZED
