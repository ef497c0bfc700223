"""Tokens of an OIDC provider: a real one, of which our api knows only the address."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.feed import session
from tests.integration.api_site import Site, api_site, client_of
from tests.integration.feed_client import feed_client
from tests.integration.oidc_provider import Remote, provider
from tests.integration.test_api_feed import close_code
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant

AUDIENCE = "waymark"
ROLES = {"fleet-admin": "admin", "fleet-dispatcher": "dispatcher", "fleet-guest": "viewer"}


@pytest.fixture
def theirs() -> Iterator[Remote]:
    with provider() as remote:
        yield remote


@pytest.fixture
async def site(
    database_url: str, valkey_url: str, theirs: Remote, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    monkeypatch.setattr("api.identity.oidc._AT_MOST_EVERY_S", 0.0)
    create_tenant(database_url, "acme")
    key = create_key(database_url, "acme", "admin", "admin")
    settings = {"oidc": [configured(theirs)]}
    async with api_site(database_url, valkey_url, key=key, **settings) as site:
        yield site


def configured(theirs: Remote, **more: object) -> dict[str, object]:
    return {
        "issuer": theirs.issuer,
        "audience": AUDIENCE,
        "tenant": "acme",
        "role_claim": "realm_access.roles",
        "roles": ROLES,
    } | more


async def status(site: Site, token: str, path: str = "auth/me") -> int:
    async with client_of(site.url, token) as client:
        return (await client.get(f"/v1/{path}")).status_code


async def test_a_provider_s_token_stands_for_tenant_role_and_name(
    site: Site, theirs: Remote
) -> None:
    async with client_of(site.url, theirs.token()) as client:
        me = (await client.get("/v1/auth/me")).json()
        host = theirs.issuer.removeprefix("http://")
        assert me == {
            "kind": "oidc",
            "tenant": "acme",
            "role": "dispatcher",
            "name": f"ann@acme.example ({host})",
            "scopes": None,
            "party": None,
            "session_id": None,
            "user": None,
        }
        fence = {"shape": {"type": "Circle", "center": [5, 52], "radius_m": 100}}
        assert (await client.put("/v1/fences/a", json=fence)).status_code == 201
        assert (await client.get("/v1/users")).status_code == 403
        assert (await client.get("/v1/auth/sessions")).status_code == 403
    lines = (await site.get("/v1/audit", noun="fences")).json()["items"]
    assert {(line["actor_kind"], line["actor_name"]) for line in lines} == {("oidc", me["name"])}


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": "another-client"}, id="another audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"iss": "http://127.0.0.1:1/elsewhere"}, id="an issuer nobody trusts"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"exp": 1_700_000_000}, id="expired"),
        pytest.param({"exp": None}, id="for ever"),
        pytest.param({"nbf": 4_000_000_000}, id="not yet"),
        pytest.param({"sub": None}, id="of nobody"),
        pytest.param({"realm_access": {"roles": ["offline_access"]}}, id="no role that is mapped"),
        pytest.param({"realm_access": "fleet"}, id="no such claim"),
    ],
)
async def test_a_token_with_anything_wrong_is_refused_and_not_told_why(
    site: Site, theirs: Remote, claims: dict[str, object]
) -> None:
    async with client_of(site.url, theirs.token(claims)) as client:
        answer = await client.get("/v1/devices")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "this credential is unknown, has expired or was revoked"


async def test_whoever_signs_with_another_key_or_none_is_refused(
    site: Site, theirs: Remote
) -> None:
    good = theirs.token()
    assert await status(site, good) == 200
    header, claims = (
        jwt.get_unverified_header(good),
        jwt.decode(good, options={"verify_signature": False}),
    )
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = [
        jwt.encode(claims, stranger, "ES256", headers={"kid": header["kid"]}),
        jwt.encode(claims, stranger, "ES256", headers={"kid": "made up"}),
        jwt.encode(claims, "x" * 64, "HS256", headers={"kid": header["kid"]}),
        jwt.encode(claims, "", "none", headers={"kid": header["kid"]}),
    ]
    for token in forged:
        assert await status(site, token) == 401


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_keys_of_each_kind_are_read(site: Site, theirs: Remote, algorithm: str) -> None:
    theirs.rotate(algorithm)
    token = theirs.token()
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert await status(site, token) == 200


async def test_a_rotated_key_is_found_at_its_first_token(site: Site, theirs: Remote) -> None:
    before = theirs.token()
    assert await status(site, before) == 200
    theirs.rotate()
    assert await status(site, theirs.token()) == 200
    # The provider has withdrawn the old one.
    assert await status(site, before) == 401


async def test_invented_keys_are_not_a_way_to_have_us_ask_for_ever(
    site: Site, theirs: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await status(site, theirs.token()) == 200
    monkeypatch.setattr("api.identity.oidc._AT_MOST_EVERY_S", 3_600.0)
    for n in range(20):
        assert await status(site, theirs.token(kid=f"invented-{n}")) == 401
    assert theirs.fetches() == 1


async def test_many_tokens_at_once_ask_once(site: Site, theirs: Remote) -> None:
    tokens = [theirs.token({"sub": str(n)}) for n in range(20)]
    assert set(await asyncio.gather(*(status(site, token) for token in tokens))) == {200}
    assert theirs.fetches() == 1


async def test_while_the_provider_is_away_its_keys_stay_good(
    site: Site, theirs: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = theirs.token()
    assert await status(site, token) == 200
    monkeypatch.setattr("api.identity.oidc._FRESH_S", -1.0)
    theirs.stop()
    for _ in range(3):
        assert await status(site, token) == 200
    # A key we have never seen cannot be told from a forged one.
    assert await status(site, _with_kid(token)) == 401
    assert await status(site, site.key) == 200


async def test_a_provider_never_reached_is_told_apart_from_a_wrong_token(
    site: Site, theirs: Remote
) -> None:
    token = theirs.token()
    theirs.stop()
    async with client_of(site.url, token) as client:
        answer = await client.get("/v1/devices")
    assert answer.status_code == 503
    assert theirs.issuer in answer.json()["detail"]
    async with feed_client(site, header=False, token=token) as feed:
        assert await close_code(feed) == session.TRY_AGAIN_LATER
    theirs.start()
    assert await status(site, theirs.token()) == 200


async def test_a_token_of_a_provider_opens_the_feed_until_it_ends(
    site: Site, theirs: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_GUARD_S", 0.05)
    monkeypatch.setattr("tracking.tokens.LEEWAY_S", 0)
    short = theirs.token({"exp": time.time() + 2})
    async with feed_client(site, header=False, token=short) as feed:
        await feed.subscribe()
        assert await close_code(feed) == session.UNAUTHORIZED


async def test_the_tenant_may_stand_in_the_token_and_must_be_one_of_ours(
    database_url: str, valkey_url: str, theirs: Remote
) -> None:
    create_tenant(database_url, "acme")
    told = configured(theirs, tenant=None, tenant_claim="https://waymark.example/tenant")
    async with api_site(database_url, valkey_url, oidc=[told]) as site:
        claim = {"https://waymark.example/tenant": "acme"}
        async with client_of(site.url, theirs.token(claim)) as client:
            assert (await client.get("/v1/auth/me")).json()["tenant"] == "acme"
        for wrong in ({"x": "y"}, {"https://waymark.example/tenant": "nobody's"}):
            assert await status(site, theirs.token(wrong)) == 401


async def test_without_a_mapped_role_there_may_be_a_default(
    database_url: str, valkey_url: str, theirs: Remote
) -> None:
    create_tenant(database_url, "acme")
    told = configured(theirs, default_role="viewer")
    async with api_site(database_url, valkey_url, oidc=[told]) as site:
        roleless: dict[str, object] = {
            "realm_access": {"roles": []},
            "email": None,
            "preferred_username": "ann",
        }
        token = theirs.token(roleless)
        async with client_of(site.url, token) as client:
            me = (await client.get("/v1/auth/me")).json()
        assert me["role"] == "viewer"
        assert me["name"].startswith("ann (")


def _with_kid(token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    private = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, private, "ES256", headers={"kid": "new"})
