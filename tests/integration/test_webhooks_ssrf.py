"""Webhooks cannot be led into our own network: not by a name, a redirect, nor a spelling."""

import socket

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from deliver.sender import Sender
from tests.integration.api_site import NOON
from tests.integration.hooks_rig import OPEN, Receiver, admin_site, receiver
from tracking.egress import Egress
from tracking.feed import EventRecord
from tracking.signing import new_secret
from tracking.times import to_us
from tracking.webhooks import Letter, Secrets, SigningKey, Webhook

# Loopback's first half is where a public server stands in these tests; the rest is forbidden.
HALF_OPEN = Egress.of(["127.0.0.0/9"], [], http=True)
SECRETS = Secrets((SigningKey(new_secret()),))
LETTER = Letter.of(
    EventRecord(
        "e1", "default", "trip.started", "van-7", to_us(NOON), to_us(NOON), 1, "active",
        late=False, cursor=1, data={},
    )
)  # fmt: skip


class FickleNames(AbstractResolver):
    """A name server that answers differently each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=0,
                family=socket.AF_INET6 if ":" in address else family,
            )
            for address in self.answers.pop(0)
        ]  # fmt: skip

    async def close(self) -> None:
        pass


def port_of(there: Receiver) -> int:
    return int(there.url.rpartition(":")[2].partition("/")[0])


async def test_a_name_that_leads_to_us_is_refused_whenever_it_does() -> None:
    async with receiver() as there:
        names = FickleNames(["127.0.0.1"], ["127.128.0.1"], ["127.0.0.1"])
        hook = Webhook("w", url=f"http://rebinding.test:{port_of(there)}/")
        outcomes = []
        for _ in range(3):
            # Each without a connection or an answer kept from before.
            async with Sender(HALF_OPEN, names) as sender:
                outcomes.append(await sender.send(hook, SECRETS, LETTER))
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert "127.128.0.1 is refused: loopback" in (outcomes[1].error or "")
        assert len(there.received) == 2
        assert names.answers == []


async def test_of_several_addresses_only_the_permitted_are_tried() -> None:
    async with receiver() as there:
        names = FickleNames(["127.128.0.1", "::1", "169.254.169.254", "127.0.0.1"])
        hook = Webhook("w", url=f"http://mixed.test:{port_of(there)}/")
        async with Sender(HALF_OPEN, names) as sender:
            assert (await sender.send(hook, SECRETS, LETTER)).ok


async def test_redirects_are_not_followed_wherever_they_lead() -> None:
    async with receiver() as there, receiver() as inside:

        async def away(_: object) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": inside.url})

        there.answer = away
        async with Sender(HALF_OPEN) as sender:
            outcome = await sender.send(Webhook("w", url=there.url), SECRETS, LETTER)
        assert (outcome.ok, outcome.status) == (False, 307)
        assert "redirects are not followed" in (outcome.error or "")
        assert inside.received == []


@pytest.mark.parametrize(
    "host",
    [
        "127.128.0.1",
        "2139095041",
        "0x7f800001",
        "0177.0200.0.1",
        "127.8388609",
        "[::1]",
        "[::ffff:127.128.0.1]",
        "[::ffff:7f80:1]",
        "[64:ff9b::7f80:1]",
        "[2002:7f80:1::]",
        "localhost.",
        "0",
    ],
)
async def test_no_spelling_of_an_address_is_overlooked(host: str) -> None:
    closed = Egress.of([], [], http=True)
    async with receiver() as there:
        hook = Webhook("w", url=f"http://{host}:{port_of(there)}/")
        async with Sender(closed) as sender:
            outcome = await sender.send(hook, SECRETS, LETTER)
        assert not outcome.ok
        assert outcome.status is None
        # `localhost.` is a name that some machines do not know.
        words = ("refused", "canonical", "cannot resolve")
        assert any(word in (outcome.error or "") for word in words), outcome.error
        assert there.received == []


async def test_nothing_of_the_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as there, receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with Sender(HALF_OPEN) as sender:
            assert (await sender.send(Webhook("w", url=there.url), SECRETS, LETTER)).ok
        assert proxy.received == []


async def test_plain_http_to_tls_and_a_certificate_nobody_vouches_for_fail() -> None:
    async with receiver() as there:
        hook = Webhook("w", url=there.url.replace("http:", "https:"))
        async with Sender(HALF_OPEN) as sender:
            outcome = await sender.send(hook, SECRETS, LETTER)
        assert not outcome.ok
        assert there.received == []


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://0x7f000001/",
        "http://example.com/",
        "https://example.com:22/",
        "file:///etc/passwd",
    ],
)
async def test_the_api_refuses_what_can_never_be_reached(
    database_url: str, valkey_url: str, url: str
) -> None:
    closed = {"webhook_allow_nets": [], "webhook_ports": [443], "webhook_http": False}
    async with admin_site(database_url, valkey_url, **{**OPEN, **closed}) as site:
        answer = await site.client.post("/v1/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["field"]) == (422, "url")
