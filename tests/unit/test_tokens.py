"""Access tokens and their keys: at which time what is good. No clock but the argument's."""

import base64
import json
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tracking.access import Principal
from tracking.seal import Seal
from tracking.tokens import (
    ACCESS_S,
    ANNOUNCE_S,
    KEEP_S,
    LEEWAY_S,
    SIGN_S,
    Access,
    SigningKey,
    issue,
    jwks,
    make_key,
    plan,
    private_of,
    read,
)

SEAL = Seal("a secret key of a test, long enough")
NOW_S = 1_770_000_000.0
ACCESS = Access(UUID(int=5), 7, "acme", "viewer")
PRIVATE = Ed25519PrivateKey.generate()
PUBLICS = {"k": PRIVATE.public_key()}


def forged(*, key: Any = PRIVATE, alg: str = "EdDSA", typ: str = "at+jwt", **claims: Any) -> str:  # noqa: ANN401
    right = {
        "iss": "waymark",
        "aud": "waymark",
        "sub": "7",
        "sid": str(ACCESS.session_id),
        "tenant": "acme",
        "role": "viewer",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 900,
    }
    kept = {name: value for name, value in (right | claims).items() if value is not None}
    return jwt.encode(kept, key, alg, headers={"kid": "k", "typ": typ})


def test_a_token_says_whose_session_it_is_and_until_when() -> None:
    token = issue(ACCESS, "k", PRIVATE, NOW_S)
    assert read(token, PUBLICS, NOW_S) == (ACCESS, NOW_S + ACCESS_S + LEEWAY_S)
    assert read(forged(), PUBLICS, NOW_S) == (ACCESS, NOW_S + ACCESS_S + LEEWAY_S)


@pytest.mark.parametrize(
    ("at_s", "good"),
    [
        (-LEEWAY_S - 1, False),
        (-LEEWAY_S, True),
        (ACCESS_S, True),
        (ACCESS_S + LEEWAY_S - 1, True),
        (ACCESS_S + LEEWAY_S, False),
    ],
)
def test_it_is_good_in_its_time_give_or_take_what_clocks_differ(at_s: float, *, good: bool) -> None:
    token = issue(ACCESS, "k", PRIVATE, NOW_S)
    assert (read(token, PUBLICS, NOW_S + at_s) is not None) is good


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "elsewhere"},
        {"iss": None},
        {"aud": "elsewhere"},
        {"aud": None},
        {"sub": "ann"},
        {"sub": None},
        {"sid": "5"},
        {"sid": None},
        {"exp": None},
        {"nbf": None},
        {"exp": "never"},
        {"typ": "JWT"},
        pytest.param({"key": Ed25519PrivateKey.generate()}, id="another key"),
        {"key": "a shared secret that is long enough to sign with", "alg": "HS256"},
        {"key": None, "alg": "none"},
    ],
    ids=repr,
)
def test_a_token_with_anything_wrong_is_none(wrong: dict[str, Any]) -> None:
    assert read(forged(**wrong), PUBLICS, NOW_S) is None


def test_the_algorithm_is_ours_to_choose_and_not_the_token_s() -> None:
    """The public key as a shared secret, the oldest trick there is."""
    public = PRIVATE.public_key().public_bytes_raw()
    head, body, _ = issue(ACCESS, "k", PRIVATE, NOW_S).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    for alg in ("HS256", "none", "ES256", "eddsa"):
        raw = json.dumps(header | {"alg": alg}).encode()
        turned = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        signing = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        mac = signing.sign(f"{turned}.{body}".encode(), public)
        signature = base64.urlsafe_b64encode(mac).decode().rstrip("=")
        assert read(f"{turned}.{body}.{signature}", PUBLICS, NOW_S) is None


@pytest.mark.parametrize("text", ["", "..", "a.b.c", "ä.b.c", "e30.e30.e30", "\x00.\x00.\x00"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert read(text, PUBLICS, NOW_S) is None


def test_only_a_principal_in_a_session_gets_a_token() -> None:
    principal = Principal(1, "acme", "viewer", None, "ann", 7, session_id=UUID(int=5))
    assert Access.of(principal) == ACCESS
    with pytest.raises(ValueError, match="no session"):
        Access.of(principal._replace(session_id=None))


def key_made(seconds_ago: float, kid: str) -> SigningKey:
    return make_key(SEAL, NOW_S - seconds_ago)._replace(kid=kid)


def test_the_first_key_signs_at_once() -> None:
    assert plan([], set(), NOW_S) == (None, True, ())
    only = key_made(0, "a")
    assert plan([only], {"a"}, NOW_S) == (only, False, ())


def test_a_key_is_followed_after_a_month_and_its_follower_is_announced_first() -> None:
    old, new = key_made(SIGN_S + 60, "old"), key_made(60, "new")
    assert plan([old], {"old"}, NOW_S) == (old, True, ())
    assert plan([new, old], {"old", "new"}, NOW_S) == (old, False, ())
    announced = key_made(ANNOUNCE_S, "new")
    assert plan([old, announced], {"old", "new"}, NOW_S).signer == announced


def test_a_key_is_kept_until_its_last_token_has_ended() -> None:
    old = key_made(SIGN_S + 3 * KEEP_S, "old")
    kept = plan([old, key_made(ANNOUNCE_S + KEEP_S, "new")], {"old", "new"}, NOW_S)
    assert kept.outdated == ()
    gone = plan([old, key_made(ANNOUNCE_S + KEEP_S + 1, "new")], {"old", "new"}, NOW_S)
    assert gone.outdated == ("old",)
    assert KEEP_S > ACCESS_S + LEEWAY_S


def test_a_key_of_another_secret_does_not_sign_and_is_replaced() -> None:
    foreign = key_made(ANNOUNCE_S, "foreign")
    assert plan([foreign], set(), NOW_S) == (None, True, ())
    ours = key_made(0, "ours")
    assert plan([foreign, ours], {"ours"}, NOW_S) == (ours, False, ())
    made = make_key(SEAL, NOW_S)
    assert private_of(made, SEAL) is not None
    assert private_of(made, Seal("another secret key, just as long as it")) is None
    # Sealed for its name: under another one it does not open.
    assert private_of(made._replace(kid="x"), SEAL) is None


def test_the_public_half_is_published_and_no_more() -> None:
    key = make_key(SEAL, NOW_S)
    (published,) = jwks([key])["keys"]
    assert set(published) == {"kty", "crv", "x", "kid", "use", "alg"}
    token = issue(ACCESS, key.kid, private_of(key, SEAL) or PRIVATE, NOW_S)
    publics = {key.kid: jwt.PyJWK(published).key}
    assert read(token, publics, NOW_S) is not None
