"""What is sealed opens for its purpose and secret alone."""

from hypothesis import given
from hypothesis import strategies as st

from tracking.seal import Seal

SEAL = Seal("a secret key of a test, long enough")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_again(plain: bytes, purpose: str) -> None:
    assert SEAL.open(purpose, SEAL.close(purpose, plain)) == plain


@given(st.binary(min_size=1, max_size=50), st.integers(min_value=0), st.integers(1, 255))
def test_whatever_was_changed_does_not_open(plain: bytes, at: int, flip: int) -> None:
    sealed = bytearray(SEAL.close("x", plain))
    sealed[at % len(sealed)] ^= flip
    assert SEAL.open("x", bytes(sealed)) is None


def test_other_purposes_and_other_secrets_do_not_open_it() -> None:
    sealed = SEAL.close("totp:1", b"secret")
    assert SEAL.open("totp:2", sealed) is None
    assert Seal("another secret key, just as long").open("totp:1", sealed) is None
    assert SEAL.open("totp:1", b"") is None
    assert sealed != SEAL.close("totp:1", b"secret")


def test_what_is_derived_follows_from_purpose_data_and_secret() -> None:
    once = SEAL.derive("refresh", b"token")
    assert once == SEAL.derive("refresh", b"token")
    assert len({once, SEAL.derive("other", b"token"), SEAL.derive("refresh", b"tokens")}) == 3
