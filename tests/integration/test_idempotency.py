"""`Idempotency-Key` over a real socket: a request happens once and is answered alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.api_site import Rows, Site, api_site, client_of
from tests.integration.test_api_http import assert_problem
from tracking.access import Principal
from tracking.errors import Conflict, StoreUnavailable
from tracking.store.acting import Mandate, acting
from tracking.store.connection import Connection
from tracking.store.idempotency import KEPT_S, LEASE_S, Claim, digest_of, hold, take
from tracking.store.keys import create_key
from tracking.store.pool import ReadPool

SQUARE = {"type": "Polygon", "coordinates": [[[5, 52], [5.2, 52], [5.2, 52.2], [5, 52.2], [5, 52]]]}
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "order service", "service")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


@pytest.fixture
def keys(database_url: str) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """The kept keys, to look at and to make older."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def age(keys: "psycopg.Connection[tuple[Any, ...]]", by_s: int) -> None:
    keys.execute(
        "UPDATE idempotency_key SET claimed_at = claimed_at - %s * interval '1 second'", (by_s,)
    )


async def post(
    site: Site, body: dict[str, Any] | None = None, *, key: str = KEY, path: str = "/v1/fences"
) -> httpx.Response:
    body = {"name": "Depot", "shape": SQUARE} if body is None else body
    return await site.client.post(path, json=body, headers={"Idempotency-Key": key})


def once(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def count(site: Site) -> int:
    return len((await site.get("/v1/fences")).json()["items"])


async def test_a_request_sent_again_gets_the_first_answer_and_happens_once(site: Site) -> None:
    first, again = await post(site), await post(site)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    for name in ("location", "etag", "content-type"):
        assert first.headers[name] == again.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert await count(site) == 1


async def test_a_change_sent_again_does_not_undo_what_came_between(site: Site) -> None:
    path = "/v1/shipments/s1"
    await site.client.post("/v1/shipments", json={"id": "s1", "stops": [{"kind": "delivery"}]})
    first, between, again = [
        await site.client.patch(path, json={"order_ref": ref}, headers={"Idempotency-Key": key})
        for ref, key in (("o1", "a"), ("o2", "b"), ("o1", "a"))
    ]
    assert [one.status_code for one in (first, between, again)] == [200] * 3
    assert again.content == first.content
    assert (await site.get(path)).json()["order_ref"] == "o2"


async def test_what_is_gone_is_deleted_once_and_told_alike(site: Site) -> None:
    made = await site.client.put(
        "/v1/fences/f1", json={"shape": SQUARE}, headers={"If-None-Match": "*", **once("a")}
    )
    again = await site.client.put(
        "/v1/fences/f1", json={"shape": SQUARE}, headers={"If-None-Match": "*", **once("a")}
    )
    assert (made.status_code, again.content) == (201, made.content)
    gone = [await site.client.delete("/v1/fences/f1", headers=once("b")) for _ in range(2)]
    assert [one.status_code for one in gone] == [204, 204]
    assert_problem(await site.client.delete("/v1/fences/f1", headers=once("c")), 404)


async def test_without_a_key_each_request_is_one_of_its_own(site: Site) -> None:
    for _ in range(2):
        await site.client.post("/v1/fences", json={"shape": SQUARE})
    assert await count(site) == 2


async def test_any_process_gives_the_answer(site: Site, database_url: str, valkey_url: str) -> None:
    first = await post(site)
    async with api_site(database_url, valkey_url, key=site.key) as other:
        assert (await post(other)).content == first.content


async def test_a_key_is_good_for_one_request_only(site: Site) -> None:
    await post(site)
    assert_problem(await post(site, {"shape": SQUARE}), 422, "Idempotency-Key")
    assert_problem(await post(site, path="/v1/fences/import"), 422, "Idempotency-Key")
    assert await count(site) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
async def test_a_key_that_is_none_is_refused(site: Site, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = await site.client.post("/v1/fences", json={"shape": SQUARE}, headers=headers)
    assert_problem(answer, 422, "Idempotency-Key")


async def test_many_at_once_are_one(site: Site) -> None:
    answers = await asyncio.gather(*(post(site) for _ in range(20)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in done}) == 1
    for answer in answers:
        if answer not in done:
            assert_problem(answer, 409)
            assert answer.headers["retry-after"] == "1"
    assert await count(site) == 1
    assert (await post(site)).content == done[0].content


async def test_a_refusal_that_changed_nothing_frees_the_key(site: Site) -> None:
    assert_problem(await post(site, {"shape": {}}), 422, "shape.type")
    assert (await post(site)).status_code == 201


async def test_keys_are_each_principal_s_own(site: Site, database_url: str) -> None:
    await post(site)
    for tenant, role in (("default", "admin"), ("other", "service")):
        with Rows(database_url, tenant):
            key = create_key(database_url, tenant, "another", role)
        async with client_of(site.url, key) as client:
            answer = await post(Site(site.url, key, client))
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
    viewer = create_key(database_url, "default", "map", "viewer")
    async with client_of(site.url, viewer) as client:
        assert_problem(await post(Site(site.url, viewer, client)), 403)


async def test_a_question_needs_no_key_and_takes_none(
    site: Site, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    answer = await post(site, {"points": [[5, 52]]}, path="/v1/fences/locate")
    assert answer.status_code == 200
    assert keys.execute("SELECT count(*) FROM idempotency_key").fetchone() == (0,)


async def test_nothing_of_an_answer_lies_open_in_the_database(
    site: Site, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    await post(site, {"name": "TOP-SECRET", "shape": SQUARE})
    ((digest, answer),) = keys.execute("SELECT key_digest, answer FROM idempotency_key")
    assert b"TOP-SECRET" not in answer
    assert KEY.encode() not in digest + answer


async def test_answers_are_kept_for_a_day(
    site: Site, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    first = await post(site)
    age(keys, KEPT_S - 60)
    assert (await post(site)).content == first.content
    age(keys, 61)
    assert (await post(site)).json()["id"] != first.json()["id"]
    assert keys.execute("SELECT count(*) FROM idempotency_key").fetchone() == (1,)


async def test_what_was_done_is_not_done_again_when_its_answer_was_lost(
    site: Site,
    keys: "psycopg.Connection[tuple[Any, ...]]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr("api.conventions.idempotency.keep_answer", away)
        assert (await post(site)).status_code == 201
    running = await post(site)
    assert_problem(running, 409)
    assert running.headers["retry-after"] == "1"
    age(keys, LEASE_S)
    lost = await post(site)
    assert_problem(lost, 409)
    assert "its answer was lost" in lost.json()["detail"]
    assert await count(site) == 1


class Attempts:
    """Attempts as a process makes them that dies at some point."""

    def __init__(self, database_url: str) -> None:
        with Rows(database_url) as rows:
            self._tenant_id = rows.tenant_id
        self._pool = ReadPool(database_url)

    def claim(self) -> Claim:
        return Claim(self._tenant_id, "key:1", digest_of(KEY))

    async def take(self, claim: Claim) -> object:
        return await self._run(None, take, claim, b"the request")

    async def write(self, claim: Claim) -> None:
        await self._run(claim, _write, self._tenant_id)

    async def read(self, claim: Claim) -> None:
        await self._run(claim, _read)

    async def _run(self, claim: Claim | None, query: Any, *args: object) -> object:  # noqa: ANN401
        await self._pool.open()
        hold(claim)
        try:
            principal = Principal(self._tenant_id, "default", "service", 1)
            with acting(Mandate.of(principal)):
                return await self._pool.run(query, *args)
        finally:
            hold(None)

    async def close(self) -> None:
        await self._pool.close()


async def _write(conn: Connection, tenant_id: int) -> None:
    await conn.execute("UPDATE device SET tags = tags || '{x}' WHERE tenant_id = %s", (tenant_id,))


async def _read(conn: Connection) -> None:
    await conn.execute("SELECT count(*) FROM device")


@pytest.fixture
async def attempts(database_url: str) -> AsyncIterator[Attempts]:
    with Rows(database_url) as rows:
        rows.device("van")
    attempts = Attempts(database_url)
    yield attempts
    await attempts.close()


def tags(keys: "psycopg.Connection[tuple[Any, ...]]") -> list[str]:
    ((found,),) = keys.execute("SELECT tags FROM device")
    return list(found)


async def test_an_attempt_that_died_before_it_wrote_is_made_again_when_its_time_is_up(
    attempts: Attempts, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    dead, next_one = attempts.claim(), attempts.claim()
    assert await attempts.take(dead) is None
    await attempts.read(dead)
    assert await attempts.take(next_one) is not None
    age(keys, LEASE_S)
    assert await attempts.take(next_one) is None
    await attempts.write(next_one)
    assert tags(keys) == ["x"]


async def test_an_attempt_that_was_only_slow_can_no_longer_write_once_taken_over(
    attempts: Attempts, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    slow, next_one = attempts.claim(), attempts.claim()
    await attempts.take(slow)
    age(keys, LEASE_S)
    assert await attempts.take(next_one) is None
    with pytest.raises(Conflict):
        await attempts.write(slow)
    assert tags(keys) == []


async def test_an_attempt_that_wrote_is_never_taken_over(
    attempts: Attempts, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    dead = attempts.claim()
    await attempts.take(dead)
    await attempts.write(dead)
    age(keys, LEASE_S)
    assert await attempts.take(attempts.claim()) is not None


async def test_a_commit_that_nobody_heard_of_is_noticed_when_the_query_is_run_again(
    attempts: Attempts, keys: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    claim = attempts.claim()
    await attempts.take(claim)
    await attempts.write(claim)
    # The connection broke while the commit was answered, so the attempt does not know.
    claim.wrote = False
    with pytest.raises(Conflict):
        await attempts.write(claim)
    assert tags(keys) == ["x"]
