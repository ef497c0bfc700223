"""Devices' passwords: made, and kept the way Mosquitto's password file has them.

`$7$iterations$salt$hash` is PBKDF2 with SHA-512. Our passwords are 256 random bits, with nothing to
guess, so one iteration is enough, as one SHA-256 is for API keys. It is not only cheaper: on SIGHUP
Mosquitto checks the password of every connected client anew in its one thread.
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import pbkdf2_hmac

_ITERATIONS = 1
_SALT_BYTES = 12


def new_password() -> str:
    """256 random bits as 43 characters that need no escaping in a URL."""
    return secrets.token_urlsafe(32)


def password_line(password: str) -> str:
    """What is kept of a password: the second field of a line of Mosquitto's password file."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${b64encode(salt).decode()}${b64encode(digest).decode()}"


# What an unknown user's password is compared with, so that it takes no less time than another's.
NO_LINE = password_line(new_password())


def is_password(password: str, line: str) -> bool:
    """Whether `line` was made of this password; the time it takes tells nothing."""
    try:
        empty, kind, iterations, salt, digest = line.split("$")
        wanted = b64decode(digest, validate=True)
        given = pbkdf2_hmac("sha512", password.encode(), b64decode(salt), int(iterations))
    except (ValueError, Base64Error):
        return False
    return not empty and kind == "7" and hmac.compare_digest(given, wanted)
