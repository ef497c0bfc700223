"""Tokens of other identity providers: whether they are whole, and whom they stand for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jwt

from tracking.access import Role
from tracking.settings import OidcProvider
from tracking.tokens import in_time

# Signatures by a key pair only: with a shared secret, whoever verifies could also sign.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_REQUIRED = ["iss", "aud", "sub", "exp"]
_MAX_NAME = 128
# Of several roles the one that may most.
_STRONGEST: tuple[Role, ...] = ("admin", "dispatcher", "service", "viewer")

Jwk = Mapping[str, Any]


class OidcRefused(Exception):  # noqa: N818 -- an outcome
    """A token that is not taken; the sentence is for the operator's log, not for its bearer."""


class UnknownKey(OidcRefused):
    """It is signed with a key that is not among those given: there may be newer ones."""


class External(NamedTuple):
    """Whom a provider's token stands for; `name` tells which provider said so."""

    tenant: str
    role: Role
    name: str


def issuer_of(token: str) -> str | None:
    """Who claims to have issued a token; nothing is verified yet."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


def read_external(
    token: str, provider: OidcProvider, jwks: Sequence[Jwk], now_s: float
) -> tuple[External, float]:
    """Whom a token stands for, and until when.

    Raises:
        OidcRefused: its algorithm, key, signature, issuer, audience or time is wrong, or it gives
            no tenant or role here.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise OidcRefused(f"its algorithm is {algorithm!r}")
        claims = jwt.decode(
            token,
            _key(jwks, header.get("kid"), algorithm),
            algorithms=[algorithm],
            audience=provider.audience,
            issuer=provider.issuer,
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": _REQUIRED,
            },
        )
    except jwt.InvalidTokenError as exc:
        raise OidcRefused(str(exc)) from exc
    ends_s = in_time(claims, now_s)
    if ends_s is None:
        raise OidcRefused("it has expired, or is not valid yet")
    return External(
        _tenant(claims, provider), _role(claims, provider), _name(claims, provider)
    ), ends_s


def _key(jwks: Sequence[Jwk], kid: str | None, algorithm: str) -> Any:  # noqa: ANN401 -- as PyJWT has it
    fits = [key for key in jwks if _may_verify(key, algorithm) and kid in {None, key.get("kid")}]
    # Without a name only the one there is can be meant.
    if len(fits) != 1 and (kid is None or not fits):
        raise UnknownKey(f"it is signed with key {kid!r}, which the provider does not have")
    try:
        return jwt.PyJWK(dict(fits[0]), algorithm).key
    except jwt.PyJWTError as exc:
        raise OidcRefused(f"key {kid!r} cannot be used: {exc}") from exc


def _may_verify(key: Jwk, algorithm: str) -> bool:
    families = {"R": "RSA", "P": "RSA", "E": "OKP" if algorithm == "EdDSA" else "EC"}
    return (
        key.get("kty") == families[algorithm[0]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _tenant(claims: Mapping[str, Any], provider: OidcProvider) -> str:
    if provider.tenant is not None:
        return provider.tenant
    told = _claim(claims, provider.tenant_claim or "")
    if not isinstance(told, str) or not told:
        raise OidcRefused(f"it has no tenant in {provider.tenant_claim!r}")
    return told


def _role(claims: Mapping[str, Any], provider: OidcProvider) -> Role:
    told = None if provider.role_claim is None else _claim(claims, provider.role_claim)
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    granted = {
        provider.roles[name] for name in names if isinstance(name, str) and name in provider.roles
    }
    for role in _STRONGEST:
        if role in granted:
            return role
    if provider.default_role is None:
        raise OidcRefused(f"nothing in {provider.role_claim!r} is mapped to a role: {names}")
    return provider.default_role


def _name(claims: Mapping[str, Any], provider: OidcProvider) -> str:
    told = (claims.get(name) for name in provider.name_claims)
    name = next((name for name in told if isinstance(name, str) and name), str(claims["sub"]))
    printable = "".join(filter(str.isprintable, name))[:_MAX_NAME]
    return f"{printable} ({provider.issuer.partition('://')[2].rstrip('/')})"


def _claim(claims: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 -- any JSON
    """A claim by its name, or by a path of names with dots (Keycloak's `realm_access.roles`)."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
