"""What the claims of a provider's token stand for, and which of its keys may have signed it."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.utils import base64url_encode

from tracking.access import Principal
from tracking.oidc import External, OidcRefused, UnknownKey, issuer_of, read_external
from tracking.settings import OidcProvider

NOW_S = 1_770_000_000.0
ISSUER = "https://login.example/acme"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
MAPPED = {"role_claim": "roles", "roles": {"Fleet.Admin": "admin", "Fleet.Read": "viewer"}}


def provider(**more: Any) -> OidcProvider:  # noqa: ANN401
    given = {"issuer": ISSUER, "audience": "waymark", "tenant": "acme", "default_role": "viewer"}
    return OidcProvider.model_validate(given | more)


def jwk(private: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    algorithm = "ES256" if isinstance(private, ec.EllipticCurvePrivateKey) else "RS256"
    handler = jwt.algorithms.get_default_algorithms()[algorithm]
    public: dict[str, Any] = json.loads(handler.to_jwk(private.public_key()))
    return public | {"kid": "k", "use": "sig"} | more


def signed(private: Any = EC_KEY, alg: str = "ES256", kid: str | None = "k", **claims: Any) -> str:  # noqa: ANN401
    right = {"iss": ISSUER, "aud": "waymark", "sub": "7", "exp": NOW_S + 60}
    kept = {name: value for name, value in (right | claims).items() if value is not None}
    return jwt.encode(kept, private, alg, headers={} if kid is None else {"kid": kid})


def external(token: str, **settings: Any) -> External:  # noqa: ANN401
    return read_external(token, provider(**settings), [jwk(EC_KEY)], NOW_S)[0]


@pytest.mark.parametrize(
    ("settings", "claims", "role"),
    [
        pytest.param({}, {}, "viewer", id="default"),
        pytest.param(
            {"role_claim": "realm_access.roles", "roles": {"dispatch": "dispatcher"}},
            {"realm_access": {"roles": ["uma_authorization", "dispatch"]}},
            "dispatcher",
            id="Keycloak",
        ),
        pytest.param(MAPPED, {"roles": ["Fleet.Read", "Fleet.Admin"]}, "admin", id="Entra"),
        pytest.param(
            {"role_claim": "https://acme.example/roles", "roles": {"ops": "service"}},
            {"https://acme.example/roles": ["ops"]},
            "service",
            id="Auth0",
        ),
        pytest.param(MAPPED, {"roles": "Fleet.Admin"}, "admin", id="a string"),
        pytest.param(MAPPED, {"roles": [1, None, {}]}, "viewer", id="no strings"),
        pytest.param(MAPPED, {"roles": {"Fleet.Admin": True}}, "viewer", id="no list"),
        pytest.param(MAPPED, {"roles": ["admin", "fleet.admin"]}, "viewer", id="not mapped"),
    ],
)
def test_a_role_is_the_strongest_of_those_that_are_mapped(
    settings: dict[str, Any], claims: dict[str, Any], role: str
) -> None:
    assert external(signed(**claims), **settings).role == role


def test_without_a_mapped_role_and_a_default_nobody_is_let_in() -> None:
    with pytest.raises(OidcRefused, match="is mapped to a role"):
        external(signed(roles=["else"]), default_role=None, **MAPPED)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ann@acme.example"}, "ann@acme.example (login.example/acme)"),
        ({"preferred_username": "ann"}, "ann (login.example/acme)"),
        ({}, "7 (login.example/acme)"),
        ({"email": 5}, "7 (login.example/acme)"),
        ({"email": "a\nb\x00" + "c" * 300}, "ab" + "c" * 126 + " (login.example/acme)"),
    ],
)
def test_the_name_says_who_and_by_which_provider(claims: dict[str, Any], name: str) -> None:
    assert external(signed(**claims)).name == name


def test_the_audience_may_be_one_of_several() -> None:
    assert external(signed(aud=["account", "waymark"])).tenant == "acme"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed(aud="account"), id="audience"),
        pytest.param(signed(iss=ISSUER + "/"), id="issuer"),
        pytest.param(signed(exp=NOW_S - 11), id="expired"),
        pytest.param(signed(nbf=NOW_S + 11), id="not yet"),
        pytest.param(signed(exp=None), id="endless"),
        pytest.param(signed(ec.generate_private_key(ec.SECP256R1())), id="signature"),
        pytest.param(signed("x" * 64, "HS256"), id="shared secret"),
        pytest.param("a.b.c", id="no token"),
    ],
)
def test_a_token_that_is_not_whole_is_refused(token: str) -> None:
    with pytest.raises(OidcRefused):
        external(token)


def test_a_key_must_be_of_the_algorithm_s_family_and_for_signing() -> None:
    token = signed()
    for wrong in (
        jwk(RSA_KEY),
        jwk(EC_KEY, use="enc"),
        jwk(EC_KEY, alg="ES384"),
        jwk(EC_KEY, kid="other"),
    ):
        with pytest.raises(UnknownKey):
            read_external(token, provider(), [wrong], NOW_S)
    with pytest.raises(OidcRefused, match="cannot be used"):
        read_external(token, provider(), [{"kty": "EC", "kid": "k"}], NOW_S)
    rsa_token = signed(RSA_KEY, "PS256")
    assert read_external(rsa_token, provider(), [jwk(EC_KEY), jwk(RSA_KEY)], NOW_S)


def test_a_token_without_a_key_s_name_is_taken_where_there_is_one_key_only() -> None:
    token = signed(kid=None)
    assert read_external(token, provider(), [jwk(EC_KEY)], NOW_S)
    with pytest.raises(UnknownKey):
        read_external(token, provider(), [jwk(EC_KEY), jwk(EC_KEY, kid="two")], NOW_S)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"alg": ["ES256"], "kid": "k"}, {"iss": ISSUER}),
        ({"alg": {}, "kid": "k"}, {"iss": ISSUER}),
        ({"alg": "ES256", "kid": ["k"]}, {"iss": ISSUER}),
        ({"alg": "ES256", "kid": "k"}, {"iss": [ISSUER]}),
        ({"alg": "ES256", "kid": "k"}, [ISSUER]),
        ([], ISSUER),
    ],
)
def test_nonsense_where_words_are_expected_is_refused(header: object, claims: object) -> None:
    parts = (json.dumps(part).encode() for part in (header, claims))
    token = ".".join([*(base64url_encode(part).decode() for part in parts), "c2ln"])
    assert issuer_of(token) in {None, ISSUER}
    with pytest.raises(OidcRefused):
        external(token)


def test_the_issuer_is_read_without_being_trusted() -> None:
    assert issuer_of(signed("x" * 64, "HS256")) == ISSUER
    assert issuer_of("a.b.c") is None
    assert issuer_of("") is None


@pytest.mark.parametrize(
    ("role", "scopes", "grants"),
    [
        ("admin", None, ["admin", "dispatcher", "viewer", "service"]),
        ("dispatcher", None, ["dispatcher", "viewer", "service"]),
        ("viewer", None, ["viewer"]),
        # Whoever gets a role gets all of it; a narrowed credential would widen itself.
        ("admin", frozenset({"users:admin"}), []),
        ("king", None, []),
    ],
)
def test_nobody_hands_out_more_than_they_have(
    role: str, scopes: frozenset[str] | None, grants: list[str]
) -> None:
    principal = Principal(1, "acme", role, 1, scopes=scopes)
    roles = ("admin", "dispatcher", "viewer", "service")
    assert [each for each in roles if principal.may_grant(each)] == grants
