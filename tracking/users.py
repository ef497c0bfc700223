"""What is known of a user before the database is: addresses, names, and one-time tokens. Pure."""

import re
import secrets
import unicodedata

from tracking.errors import InputError

MAX_EMAIL = 254
MAX_NAME = 128
# 256 random bits; the prefix lets secret scanners find leaked ones.
_INVITE = "wmi_"
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}")


def normal_email(text: str) -> str:
    """An address as it is kept and compared: in one spelling, whatever its case."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def checked_email(text: str) -> str:
    """The address in its one spelling.

    Raises:
        InputError: it cannot be one.
    """
    email = normal_email(text)
    if _EMAIL.fullmatch(email) is None:
        raise InputError(f"{text!r} is no e-mail address", field="email")
    return email


def checked_name(text: str) -> str:
    """A name without space around it.

    Raises:
        InputError: it is empty, long, or has control characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(
            f"a name has 1 to {MAX_NAME} characters, none of them control characters", field="name"
        )
    return name


def new_invite() -> str:
    """A token that sets a password once."""
    return _INVITE + secrets.token_urlsafe(32)
