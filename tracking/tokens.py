"""Access tokens: JWTs signed with Ed25519, and the keys that sign them. Pure; time is an argument.

A token names a session. What its owner may do is asked of the database, so the role in it is for
other services that read it by `/v1/auth/jwks.json`.
"""

import itertools
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.utils import base64url_encode

from tracking.access import Principal
from tracking.seal import Seal

ISSUER = "waymark"
AUDIENCE = "waymark"
ACCESS_S = 900
# Clocks of servers differ by so much.
LEEWAY_S = 10
_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_REQUIRED = ["iss", "aud", "sub", "sid", "tenant", "role", "iat", "nbf", "exp"]

_DAY_S = 86_400
# A key signs for so long ...
SIGN_S = 30 * _DAY_S
# ... is published this long before it does, so that nobody meets a key they have not read ...
ANNOUNCE_S = 3_600
# ... and is kept this long after its last token.
KEEP_S = _DAY_S


class Access(NamedTuple):
    """What an access token says of its owner."""

    session_id: UUID
    user_id: int
    tenant: str
    role: str

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """The session somebody acts in.

        Raises:
            ValueError: it is none.
        """
        if principal.session_id is None or principal.user_id is None:
            raise ValueError("who asks is in no session")
        return cls(principal.session_id, principal.user_id, principal.tenant, principal.role)


class SigningKey(NamedTuple):
    """A key as it is kept: the private half sealed."""

    kid: str
    public: bytes
    sealed: bytes
    made_s: float


class Plan(NamedTuple):
    """What to do with the keys there are."""

    signer: SigningKey | None
    make_one: bool
    outdated: tuple[str, ...]


def make_key(seal: Seal, now_s: float) -> SigningKey:
    """A new key."""
    private = Ed25519PrivateKey.generate()
    kid = secrets.token_urlsafe(12)
    sealed = seal.close(f"signing:{kid}", private.private_bytes_raw())
    return SigningKey(kid, private.public_key().public_bytes_raw(), sealed, now_s)


def private_of(key: SigningKey, seal: Seal) -> Ed25519PrivateKey | None:
    """Its private half, None under another secret than it was made with."""
    raw = seal.open(f"signing:{key.kid}", key.sealed)
    return None if raw is None else Ed25519PrivateKey.from_private_bytes(raw)


def plan(keys: Iterable[SigningKey], openable: set[str], now_s: float) -> Plan:
    """Which key signs now, whether there must be a new one, and which have had their time.

    `openable` are those whose private half can be read here.
    """
    by_age = sorted(keys, key=lambda key: key.made_s)
    ours = [key for key in by_age if key.kid in openable]
    announced = [key for key in ours if now_s >= key.made_s + ANNOUNCE_S]
    signer = announced[-1] if announced else next(iter(ours), None)
    outdated = tuple(
        old.kid
        for old, younger in itertools.pairwise(by_age)
        if now_s > younger.made_s + ANNOUNCE_S + KEEP_S
    )
    return Plan(signer, not ours or now_s >= ours[-1].made_s + SIGN_S, outdated)


def issue(access: Access, kid: str, private: Ed25519PrivateKey, now_s: float) -> str:
    """A token that is good for `ACCESS_S`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(access.user_id),
        "sid": str(access.session_id),
        "tenant": access.tenant,
        "role": access.role,
        "jti": secrets.token_urlsafe(12),
        "iat": int(now_s),
        "nbf": int(now_s),
        "exp": int(now_s) + ACCESS_S,
    }
    return jwt.encode(claims, private, _ALGORITHM, headers={"kid": kid, "typ": _TYPE})


def kid_of(token: str) -> str | None:
    """The key a token says it is signed with, None for what is no token of ours."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        return None
    if header.get("alg") != _ALGORITHM or header.get("typ") != _TYPE:
        return None
    return header.get("kid")


def read(
    token: str, publics: Mapping[str, Ed25519PublicKey], now_s: float
) -> tuple[Access, float] | None:
    """What a token says and when it ends, None unless it is ours, whole and in its time."""
    public = publics.get(kid_of(token) or "")
    if public is None:
        return None
    try:
        claims = jwt.decode(
            token,
            public,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # PyJWT asks the machine's clock; we are told the time.
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": _REQUIRED,
            },
        )
        access = Access(UUID(claims["sid"]), int(claims["sub"]), claims["tenant"], claims["role"])
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
        return None
    ends_s = in_time(claims, now_s)
    return None if ends_s is None else (access, ends_s)


def in_time(claims: Mapping[str, Any], now_s: float) -> float | None:
    """When a token ends, if now lies in its time, give or take `LEEWAY_S`."""
    ends_s, starts_s = claims.get("exp"), claims.get("nbf", now_s)
    if not isinstance(ends_s, int | float) or not isinstance(starts_s, int | float):
        return None
    if not starts_s - LEEWAY_S <= now_s < ends_s + LEEWAY_S:
        return None
    return ends_s + LEEWAY_S


def jwks(keys: Iterable[SigningKey]) -> dict[str, Any]:
    """The public halves, for others who verify (RFC 7517, RFC 8037)."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url_encode(key.public).decode(),
                "kid": key.kid,
                "use": "sig",
                "alg": _ALGORITHM,
            }
            for key in keys
        ]
    }
