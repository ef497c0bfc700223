"""Codes of the second factor at their times, and recovery codes."""

from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tracking.second_factor import (
    RECOVERY_CODES,
    STEP_S,
    enrolment_uri,
    matching_step,
    new_recovery_codes,
    new_secret,
    recovery_digest,
)

# RFC 6238, appendix B, SHA-1: its codes have eight digits, of which these are the last six.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # noqa: S105 -- the RFC's


@pytest.mark.parametrize(
    ("now_s", "code"), [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")]
)
def test_the_codes_are_those_of_the_rfc(now_s: float, code: str) -> None:
    assert matching_step(RFC_SECRET, code, now_s, after=0) == now_s // STEP_S


@pytest.mark.parametrize(
    ("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
def test_a_clock_may_be_one_step_off(steps: int, *, good: bool) -> None:
    now_s = 1_770_000_015
    code = pyotp.TOTP(RFC_SECRET).at(now_s + steps * STEP_S)
    found = matching_step(RFC_SECRET, code, now_s, after=0)
    assert found == (now_s // STEP_S + steps if good else None)


def test_a_step_that_was_used_and_those_before_it_are_spent() -> None:
    now_s = 1_770_000_015
    totp, step = pyotp.TOTP(RFC_SECRET), now_s // STEP_S
    assert matching_step(RFC_SECRET, totp.at(now_s), now_s, after=step) is None
    assert matching_step(RFC_SECRET, totp.at(now_s - STEP_S), now_s, after=step) is None
    assert matching_step(RFC_SECRET, totp.at(now_s + STEP_S), now_s, after=step) == step + 1


@pytest.mark.parametrize("code", ["", "28708", "2870820", "28708a", "١٢٣٤٥٦", "\x00"])
def test_what_is_no_code_is_none(code: str) -> None:
    assert matching_step(RFC_SECRET, code, 59, after=0) is None


def test_a_code_may_be_written_in_two_halves() -> None:
    assert matching_step(RFC_SECRET, "287 082", 59, after=0) == 1


def test_an_app_reads_secret_issuer_and_account_from_the_uri() -> None:
    secret = new_secret()
    uri = urlsplit(enrolment_uri(secret, "ann@acme.example", "acme"))
    query = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert query["secret"] == [secret]
    assert query["issuer"] == ["Waymark (acme)"]


def test_recovery_codes_are_many_and_read_however_they_are_written() -> None:
    codes = new_recovery_codes() + new_recovery_codes()
    assert len(set(codes)) == 2 * RECOVERY_CODES
    code = codes[0]
    spellings = {code, code.upper(), code.replace("-", ""), code.replace("-", " ") + "\n"}
    assert {recovery_digest(spelling) for spelling in spellings} == {recovery_digest(code)}
    assert recovery_digest(codes[1]) != recovery_digest(code)
