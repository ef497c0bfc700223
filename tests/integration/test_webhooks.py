"""Webhooks end to end: real receivers, a real api, real deliverers."""

import time

import pytest

from tests.integration.api_site import Rows
from tests.integration.hooks_rig import (
    admin_site,
    deliverer,
    deliveries,
    hook,
    hook_of,
    hook_settings,
    receiver,
)
from tests.integration.standard_webhooks import NotVerifiedError, verify


async def test_an_event_arrives_signed_as_the_specification_says(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        made = await hook(site.client, there.url, headers={"X-Team": "logistics"})
        with Rows(database_url) as rows:
            event = rows.event("van-7", "fence.entered", data={"fence": "depot"})
        async with deliverer(hook_settings(database_url, valkey_url)):
            await there.until(1)
        got = there.received[0]
        verify(made["secret"], got.headers, got.body, time.time())
        with pytest.raises(NotVerifiedError):
            verify(made["secret"], got.headers, got.body + b" ", time.time())
        assert got.id == f"{event.id}_1"
        assert got.headers["x-team"] == "logistics"
        assert got.headers["content-type"] == "application/cloudevents+json"
        assert got.event["specversion"] == "1.0"
        assert (got.event["id"], got.event["cursor"]) == (event.id, event.cursor)
        [delivery] = await deliveries(site.client, made["id"])
        assert delivery["state"] == "delivered"
        assert delivery["attempts"][0]["status"] == 204
        assert (await hook_of(site.client, made["id"]))["status"]["backlog"] == 0
