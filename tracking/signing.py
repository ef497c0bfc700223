"""Signatures of webhooks, as the Standard Webhooks specification has them. Pure."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret to sign with, as both sides keep it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    keys: Iterable[str], message: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The headers of a message, with a signature by each secret.

    `message` has no full stop: it is joined to the rest by them.
    """
    signed = b"%b.%d.%b" % (message.encode(), timestamp_s, body)
    signatures = [hmac.digest(_key(key), signed, hashlib.sha256) for key in keys]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(signature).decode()}" for signature in signatures
        ),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
