"""A receiver's half of Standard Webhooks, written from the specification and from nothing of ours.

https://github.com/standard-webhooks/standard-webhooks, "Verifying webhook authenticity".
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

TOLERANCE_S = 5 * 60


class NotVerifiedError(Exception):
    """The message is not from who it says, or not fresh."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> None:
    """Accept a message, or raise."""
    message_id = headers["webhook-id"]
    timestamp = headers["webhook-timestamp"]
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise NotVerifiedError("too old or too new")
    key = base64.b64decode(secret[len("whsec_") :])
    signed = f"{message_id}.{timestamp}.{body.decode()}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    for versioned in headers["webhook-signature"].split(" "):
        version, _, signature = versioned.partition(",")
        if version == "v1" and hmac.compare_digest(signature, expected):
            return
    raise NotVerifiedError("no signature fits")
