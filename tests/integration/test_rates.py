"""Rate limits on a real api: whom they let in, what they tell, and what they do without Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
import redis
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.api_site import Site, api_site, client_of
from tests.services import wait_until
from tracking.feed import SharedRates
from tracking.rates import Quota, Rates
from tracking.store.keys import create_key

WRONG = {"Authorization": "Bearer wmk_" + "x" * 43}

Start = Callable[..., Awaitable[Site]]


async def _statuses(site: Site, n: int, path: str = "/v1/rules") -> list[int]:
    return [(await site.client.get(path)).status_code for _ in range(n)]


@pytest.fixture
async def site_of(database_url: str, valkey_url: str) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(*, key: str | None = None, **overrides: object) -> Site:
            site = api_site(database_url, valkey_url, key=key, **overrides)
            return await stack.enter_async_context(site)

        yield start


async def test_a_credential_beyond_its_quota_is_told_when_to_come_back(
    site_of: Start, database_url: str
) -> None:
    site = await site_of(rate_credential_per_min=3)
    first = await site.client.get("/v1/rules")
    assert first.headers["ratelimit"].startswith('"address";r=11999;t=1, "credential";r=2;t=20')
    assert first.headers["ratelimit-policy"] == '"credential";q=3;w=60, "address";q=12000;w=60'
    assert await _statuses(site, 3) == [200, 200, 429]
    refused = await site.client.get("/v1/rules")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:waymark:problem:busy"
    assert 15 <= int(refused.headers["retry-after"]) <= 20
    assert '"credential";r=0' in refused.headers["ratelimit"]
    async with client_of(site.url, create_key(database_url, "default", "another")) as other:
        assert (await other.get("/v1/rules")).status_code == 200


async def test_an_address_beyond_its_quota_is_refused_before_anything_is_looked_at(
    site_of: Start,
) -> None:
    site = await site_of(rate_address_per_min=2)
    assert await _statuses(site, 3, "/v1/openapi.json") == [200, 200, 429]
    assert await _statuses(site, 1) == [429]
    # Whoever watches over the process is always told.
    assert await _statuses(site, 3, "/v1/health/live") == [200] * 3


async def test_guessing_ends_soon_and_does_not_lock_out_who_was_let_in(
    site_of: Start, database_url: str
) -> None:
    site = await site_of(rate_failed_per_min=4)
    assert await _statuses(site, 1) == [200]
    async with client_of(site.url, "wmk_" + "x" * 43) as guesser:
        statuses = [(await guesser.get("/v1/rules")).status_code for _ in range(6)]
        assert statuses == [401] * 4 + [429] * 2
    # Behind the same address: what was good a moment ago goes on, even a right guess does not.
    assert await _statuses(site, 2) == [200, 200]
    async with client_of(site.url, create_key(database_url, "default", "fresh")) as fresh:
        assert (await fresh.get("/v1/rules")).status_code == 429


async def test_brokers_ask_as_often_as_messages_come_and_guess_as_little_as_others(
    site_of: Start,
) -> None:
    site = await site_of(rate_address_per_min=3, rate_credential_per_min=2, rate_failed_per_min=2)
    path, asked = "/v1/broker/emqx/acl", {"username": "a/b", "topic": "t", "action": "publish"}
    answers = [await site.client.post(path, json=asked) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    assert await _statuses(site, 3) == [200, 200, 429]
    async with client_of(site.url, "wmk_" + "x" * 43) as guesser:
        statuses = {(await guesser.post(path, json=asked)).status_code for _ in range(4)}
    assert 429 in statuses


async def test_asking_without_a_credential_is_no_guess(
    site_of: Start,
) -> None:
    site = await site_of(rate_failed_per_min=2)
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as nobody:
        statuses = [(await nobody.get("/v1/rules")).status_code for _ in range(5)]
    assert statuses == [401] * 5


async def test_sockets_count_too(site_of: Start) -> None:
    site = await site_of(rate_failed_per_min=2)
    for _ in range(2):
        async with connect(site.feed_url, additional_headers=WRONG, proxy=None) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4401
    with pytest.raises(InvalidStatus, match="403"):
        await connect(site.feed_url, additional_headers=WRONG, proxy=None)


async def test_processes_share_one_quota(site_of: Start, database_url: str) -> None:
    key = create_key(database_url, "default", "shared")
    sites = [await site_of(key=key, rate_credential_per_min=10) for _ in range(2)]
    assert await _statuses(sites[0], 8) == [200] * 8
    # Each tells ten times a second. By itself the second would let ten in.
    refused = False
    for _ in range(9):
        refused = refused or await _statuses(sites[1], 1) == [429]
        await asyncio.sleep(0.05)
    assert refused


async def test_without_redis_each_process_goes_on_by_itself(database_url: str) -> None:
    async with api_site(database_url, "redis://127.0.0.1:1/0", rate_credential_per_min=3) as site:
        assert await _statuses(site, 5) == [200] * 3 + [429] * 2


@pytest.mark.parametrize(
    ("trusted", "counted_for"),
    [
        pytest.param("", ["127.0.0.1"], id="nobody is believed"),
        pytest.param("127.0.0.0/8", ["192.0.2.1", "192.0.2.2"], id="a proxy is"),
    ],
)
async def test_an_address_is_whose_a_trusted_proxy_says(
    site_of: Start,
    valkey_url: str,
    trusted: str,
    counted_for: list[str],
) -> None:
    # Few, so that what is told of them stays for some seconds.
    site = await site_of(trusted_proxies=trusted, rate_address_per_min=10)
    for address in ("192.0.2.1", "192.0.2.2"):
        # What a client made up comes first, what the proxy saw last.
        forwarded = {"X-Forwarded-For": f"10.9.9.9, {address}"}
        assert (await site.client.get("/v1/rules", headers=forwarded)).status_code == 200
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        prefix = "{wm:rate}:address:"

        def all_told() -> bool:
            return len(client.keys(prefix + "*")) >= len(counted_for)

        await asyncio.to_thread(wait_until, all_told, "all are told")
        assert sorted(key.removeprefix(prefix) for key in client.keys(prefix + "*")) == counted_for


async def test_many_processes_let_in_what_one_would(valkey_url: str) -> None:
    """Each knows of the others a tenth of a second late; over time the sum is exact."""
    processes = [Rates({"key": Quota(50, 1.0)}) for _ in range(4)]
    async with AsyncExitStack() as stack:
        for rates in processes:
            await stack.enter_async_context(SharedRates(valkey_url, rates))
        admitted = 0
        started = asyncio.get_running_loop().time()
        while (elapsed := asyncio.get_running_loop().time() - started) < 4:
            verdicts = [rates.take("key", "a") for rates in processes]
            admitted += sum(verdict is not None and verdict.admitted for verdict in verdicts)
            await asyncio.sleep(0.001)
    # A burst of 50 in each at the start is all they can be wrong by.
    assert 50 * elapsed * 0.8 <= admitted <= 50 * elapsed + 4 * 50 + 20
