"""Webhooks end to end: real receivers, a real api, real deliverers."""

import asyncio
import time
import uuid

import pytest
from aiohttp import web

from tests.integration.api_site import Rows, Site
from tests.integration.hooks_rig import (
    Received,
    admin_site,
    deliverer,
    deliveries,
    eventually,
    fine,
    hook,
    hook_of,
    hook_settings,
    receiver,
    status,
    until,
)
from tests.integration.standard_webhooks import NotVerifiedError, verify
from waymark.client import webhooks


async def all_looked_at(site: Site, id_: str) -> None:
    """Wait until a webhook has nothing before it."""
    await eventually(
        lambda: hook_of(site.client, id_),
        lambda told: told["status"]["backlog"] == 0,
        "everything was looked at",
    )


async def tried(site: Site, id_: str, n: int) -> None:
    """Wait until the one letter that is being retried was tried so often."""
    await eventually(
        lambda: deliveries(site.client, id_, state="retrying"),
        lambda found: found and found[0]["tries"] == n,
        f"it was tried {n} times",
    )


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
        read = webhooks.verify(got.headers, got.body, made["secret"])
        assert (read.id, read.cursor, read.fence) == (event.id, event.cursor, "depot")
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


async def test_while_a_secret_is_replaced_both_sign(database_url: str, valkey_url: str) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        made = await hook(site.client, there.url)
        answer = await site.client.post(f"/v1/webhooks/{made['id']}/secret", json={})
        fresh = answer.json()["secret"]
        with Rows(database_url) as rows:
            rows.event("van-7")
        async with deliverer(hook_settings(database_url, valkey_url)):
            await there.until(1)
            got = there.received[0]
            for secret in (made["secret"], fresh):
                verify(secret, got.headers, got.body, time.time())
            await site.client.post(f"/v1/webhooks/{made['id']}/secret", json={"overlap_s": 0})
            await site.client.post(f"/v1/webhooks/{made['id']}/test")
            await there.until(2)
        for secret in (made["secret"], fresh):
            with pytest.raises(NotVerifiedError):
                verify(secret, there.received[1].headers, there.received[1].body, time.time())


async def test_a_subject_waits_for_its_retry_and_the_others_do_not(
    database_url: str, valkey_url: str
) -> None:
    refusals = 2

    async def moody(got: Received) -> web.StreamResponse:
        nonlocal refusals
        if got.event["subject"] == "stuck" and refusals:
            refusals -= 1
            return web.Response(status=503, text="later, please")
        return web.Response()

    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = moody
        made = await hook(site.client, there.url)
        with Rows(database_url) as rows:
            wanted = [rows.event("stuck" if n % 2 else "free").cursor for n in range(40)]
        async with deliverer(hook_settings(database_url, valkey_url)):
            await until(lambda: there.subjects().count("free") == 20, "the others")
            assert there.subjects().count("stuck") == 1
            [held] = await eventually(
                lambda: deliveries(site.client, made["id"], state="retrying"), bool, "it is told"
            )
            assert held["attempts"][0]["response"] == "later, please"
            assert (await hook_of(site.client, made["id"]))["status"]["retrying_subjects"] == 1
            # A change makes what is retried due at once.
            for n in (1, 2):
                await tried(site, made["id"], n)
                await site.client.patch(f"/v1/webhooks/{made['id']}", json={"max_per_s": 1_000})
            await until(lambda: there.subjects().count("stuck") == 22, "the others of the one")
        stuck = [one.event["cursor"] for one in there.received if one.event["subject"] == "stuck"]
        assert stuck == [wanted[1], wanted[1], *wanted[1::2]]
        [told] = await deliveries(site.client, made["id"], event=held["event"])
        assert (told["state"], told["tries"]) == ("delivered", 3)


async def test_an_endpoint_that_never_answers_delays_no_other(
    database_url: str, valkey_url: str
) -> None:
    for_ever = asyncio.Event()

    async def never(_: Received) -> web.StreamResponse:
        await for_ever.wait()
        return web.Response()

    async with (
        admin_site(database_url, valkey_url) as site,
        receiver() as dead,
        receiver() as lively,
    ):
        dead.answer = never
        await hook(site.client, dead.url)
        await hook(site.client, lively.url)
        async with deliverer(hook_settings(database_url, valkey_url)):
            with Rows(database_url) as rows:
                for n in range(300):
                    rows.event(f"van-{n}")
                started = time.monotonic()
                await lively.until(300)
                # Long before the first request of the other has timed out.
                assert time.monotonic() - started < 10
                assert dead.in_flight_max == 8
                assert lively.in_flight_max <= 8
            for_ever.set()


async def test_two_deliverers_send_each_event_once(database_url: str, valkey_url: str) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        settings = hook_settings(database_url, valkey_url)
        hooks = [await hook(site.client, f"{there.url}/{n}") for n in range(6)]
        async with deliverer(settings), deliverer(settings):
            with Rows(database_url) as rows:
                events = [rows.event(f"van-{n % 5}") for n in range(100)]
            await there.until(600)
            # Nothing more comes: every cursor has arrived at the end.
            for made in hooks:
                await all_looked_at(site, made["id"])
        sent = [(one.path, one.id) for one in there.received]
        assert len(sent) == len(set(sent)) == 600
        for n in range(6):
            of_hook = [one.event for one in there.received if one.path == f"/hook/{n}"]
            for van in {event.subject for event in events}:
                cursors = [event["cursor"] for event in of_hook if event["subject"] == van]
                assert cursors == [event.cursor for event in events if event.subject == van]


async def test_filters_are_those_of_the_feed_and_alerts(database_url: str, valkey_url: str) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        filters = {
            "all": {},
            "types": {"types": ["trip.*"]},
            "device": {"devices": ["van-2"]},
            "box": {"bbox": [5, 52, 6, 53]},
            "alerts": {"alerts": {"severities": ["critical"]}},
        }
        for id_, wanted in filters.items():
            await hook(site.client, f"{there.url}/{id_}", id=id_, filter=wanted)
        with Rows(database_url) as rows:
            rows.event("van-1", "trip.started", data={"lon": 5.5, "lat": 52.5})
            rows.event("van-2", "fence.entered", data={"lon": 7.5, "lat": 52.5})
            for severity in ("critical", "info"):
                data = {"rule": "r", "severity": severity, "lon": 1, "lat": 1}
                rows.event("van-3", "alert.opened", data=data)
        async with deliverer(hook_settings(database_url, valkey_url)):
            await there.until(8)
            for id_ in filters:
                await all_looked_at(site, id_)
        counts = {id_: sum(one.path == f"/hook/{id_}" for one in there.received) for id_ in filters}
        assert counts == {"all": 4, "types": 1, "device": 1, "box": 1, "alerts": 1}


async def test_an_amended_event_comes_again_under_another_id(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        await hook(site.client, there.url)
        with Rows(database_url) as rows:
            async with deliverer(hook_settings(database_url, valkey_url)):
                id_ = uuid.UUID(rows.event("van-7").id)
                await there.until(1)
                rows.event("van-7", event_id=id_, status="retracted")
                await there.until(2)
        assert there.ids == [f"{id_}_1", f"{id_}_2"]
        assert [one.event["status"] for one in there.received] == ["active", "retracted"]


async def test_without_redis_events_arrive_all_the_same(database_url: str, valkey_url: str) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        await hook(site.client, there.url)
        async with deliverer(hook_settings(database_url, "redis://127.0.0.1:1/0")):
            with Rows(database_url) as rows:
                rows.event("van-7")
            await there.until(1)


async def test_410_disables_and_enabling_goes_on_where_it_stopped(
    database_url: str, valkey_url: str
) -> None:
    async with (
        admin_site(database_url, valkey_url) as site,
        receiver() as there,
        receiver() as witness,
    ):
        there.answer = status(410)
        made = await hook(site.client, there.url, id="orders")
        await hook(site.client, witness.url, filter={"types": ["webhook.*"]})
        with Rows(database_url) as rows:
            events = [rows.event("van-7") for _ in range(3)]
        async with deliverer(hook_settings(database_url, valkey_url)):
            told = await eventually(
                lambda: hook_of(site.client, made["id"]),
                lambda told: not told["enabled"],
                "it is disabled",
            )
            assert told["disabled_reason"] == "the endpoint answered 410 Gone"
            await witness.until(1)
            said = witness.received[0].event
            assert (said["type"], said["subject"]) == ("webhook.disabled", "orders")
            refused = await site.client.post("/v1/webhooks/orders/test")
            assert refused.status_code == 409
            there.answer = fine
            there.received.clear()
            await site.client.patch("/v1/webhooks/orders", json={"enabled": True})
            await there.until(3)
        assert [one.event["cursor"] for one in there.received] == [e.cursor for e in events]
        assert (await hook_of(site.client, "orders"))["disabled_reason"] is None


async def test_after_three_days_a_letter_is_dead_and_can_be_sent_again(
    database_url: str, valkey_url: str
) -> None:
    async def picky(got: Received) -> web.StreamResponse:
        return web.Response(status=400 if got.event["data"].get("bad") else 200, text="cannot")

    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = picky
        made = await hook(site.client, there.url)
        path = f"/v1/webhooks/{made['id']}"
        with Rows(database_url) as rows:
            bad = rows.event("van-7", data={"bad": True})
            good = rows.event("van-7")
            async with deliverer(hook_settings(database_url, valkey_url)):
                await there.until(1)
                await eventually(
                    lambda: deliveries(site.client, made["id"], state="retrying"),
                    bool,
                    "it is kept",
                )
            # Three days later:
            rows.execute(
                "UPDATE webhook_head SET started_at = now() - interval '3 d', due_at = now()"
            )
            rows.execute("UPDATE webhook_progress SET due_at = now()")
            async with deliverer(hook_settings(database_url, valkey_url)):
                await there.until(3)
                [dead] = await eventually(
                    lambda: deliveries(site.client, made["id"], state="dead"), bool, "it is dead"
                )
                assert (dead["event"], dead["tries"]) == (bad.id, 2)
                assert there.received[-1].event["id"] == good.id
                told = await hook_of(site.client, made["id"])
                assert told["status"]["dead_letters"] == 1
                assert told["enabled"]
                there.answer = fine
                asked = await site.client.post(f"{path}/deliveries/{dead['id']}/replay")
                assert asked.json() == {"deliveries": [dead["id"]]}
                await there.until(4)
                assert there.received[-1].event["id"] == bad.id
                await eventually(
                    lambda: deliveries(site.client, made["id"], state="delivered"),
                    lambda items: len(items) == 2,
                    "both are delivered",
                )
                assert (await site.client.post(f"{path}/dead-letters/replay")).json() == {
                    "deliveries": []
                }


async def test_an_endpoint_that_fails_for_three_days_is_disabled_and_loses_nothing(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = status(500)
        made = await hook(site.client, there.url)
        with Rows(database_url) as rows:
            events = [rows.event(f"van-{n}") for n in range(30)]
            async with deliverer(hook_settings(database_url, valkey_url)):
                told = await eventually(
                    lambda: hook_of(site.client, made["id"]),
                    lambda told: told["status"]["failing_since"],
                    "it is failing",
                )
                assert told["status"]["last_failure"] == "status 500"
            rows.execute(
                "UPDATE webhook_progress SET failing_since = now() - interval '3 days', "
                "due_at = now()"
            )
            rows.execute("UPDATE webhook_head SET due_at = now()")
            async with deliverer(hook_settings(database_url, valkey_url)):
                told = await eventually(
                    lambda: hook_of(site.client, made["id"]),
                    lambda told: not told["enabled"],
                    "it is disabled",
                )
                assert told["disabled_reason"] == "every try has failed for three days"
                there.answer = fine
                there.received.clear()
                await site.client.patch(f"/v1/webhooks/{made['id']}", json={"enabled": True})
                await until(
                    lambda: (
                        {one.id for one in there.received if one.event["cursor"]}
                        >= {f"{event.id}_1" for event in events}
                    ),
                    "all arrive",
                )


async def test_everything_since_a_cursor_or_a_time_is_delivered_again_in_order(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        made = await hook(site.client, there.url)
        path = f"/v1/webhooks/{made['id']}/replay"
        with Rows(database_url) as rows:
            events = [rows.event("van-7") for _ in range(10)]
            rows.execute("UPDATE event SET recorded_at = now() - (11 - cursor) * interval '1 h'")
        async with deliverer(hook_settings(database_url, valkey_url)):
            await there.until(10)
            answer = await site.client.post(path, json={"since": events[6].cursor})
            assert answer.json() == {"cursor": events[6].cursor}
            await there.until(13)
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 4.5 * 3600))
            assert (await site.client.post(path, json={"since": moment})).status_code == 202
            await there.until(17)
            ahead = await site.client.post(path, json={"since": 10_000})
            assert (ahead.status_code, ahead.json()["field"]) == (422, "since")
        cursors = [one.event["cursor"] for one in there.received]
        assert cursors == [*range(1, 11), *range(8, 11), *range(7, 11)]


async def test_a_test_is_sent_once_and_its_delivery_tells_how_it_went(
    database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url) as site, receiver() as there:
        there.answer = status(418)
        made = await hook(site.client, there.url)
        path = f"/v1/webhooks/{made['id']}"
        async with deliverer(hook_settings(database_url, valkey_url)):
            asked = await site.client.post(f"{path}/test")
            assert asked.status_code == 202
            [number] = asked.json()["deliveries"]

            async def it() -> dict[str, object]:
                told: dict[str, object] = (
                    await site.client.get(f"{path}/deliveries/{number}")
                ).json()
                return told

            told = await eventually(it, lambda told: told["state"] == "dead", "it was tried")
        assert told["attempts"][0]["status"] == 418
        assert told["attempts"][0]["response"] == "no"
        assert [one.event["type"] for one in there.received] == ["webhook.test"]
