"""The second factor: codes that change every 30 s (RFC 6238), and codes for the day it is lost."""

import hashlib
import hmac
import secrets

import pyotp

STEP_S = 30
RECOVERY_CODES = 10
# A phone's clock may be one step off, either way.
_DRIFT = 1
# No 0, 1, i, l, o, u: read aloud and copied by hand without a doubt. 16 of 29 are 77 bits.
_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
_GROUPS, _GROUP = 4, 4


def new_secret() -> str:
    """160 random bits in base32, as authenticator apps take them."""
    return pyotp.random_base32()


def enrolment_uri(secret: str, email: str, tenant: str) -> str:
    """What a QR code for an authenticator app says."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=f"Waymark ({tenant})")


def matching_step(secret: str, code: str, now_s: float, *, after: int) -> int | None:
    """The step of time whose code this is, of those behind the step `after`; None if of none.

    Whoever accepts it keeps the step as the next `after`: a code is good once.
    """
    totp = pyotp.TOTP(secret)
    now = int(now_s) // STEP_S
    given = code.replace(" ", "")
    found = None
    for step in range(now - _DRIFT, now + _DRIFT + 1):
        # All are compared, whichever fits.
        if hmac.compare_digest(totp.at(step * STEP_S).encode(), given.encode()) and step > after:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Codes that each work once in place of the second factor, to be shown once."""
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]


def recovery_digest(code: str) -> bytes:
    """What is kept of a recovery code; case, spaces and hyphens do not matter."""
    plain = "".join(filter(str.isalnum, code.casefold()))
    return hashlib.sha256(plain.encode()).digest()
