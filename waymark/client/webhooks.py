"""Webhooks as they arrive: verified as Standard Webhooks has it, then read. No I/O.

Each is sent until it is answered with 2xx, so it may come again: `event.id` and `event.revision`
tell which it is, and are the same each time.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

import msgspec

from waymark.client.errors import Unintelligible, WaymarkError
from waymark.client.events import Event

TOLERANCE_S = 300.0
_PREFIX, _VERSION = "whsec_", "v1"
_events = msgspec.json.Decoder(Event)


class NotVerified(WaymarkError):  # noqa: N818 -- as in `errors`
    """A message that is not from who it should be, or an old one sent again: answer 401."""


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> Event:
    """The event of a message, `body` being its bytes as they came.

    `secret` is as it was shown when the webhook was made, or several, of which one has to fit while
    you replace one. Messages sent longer ago than `tolerance_s`, or as far ahead, are not taken.

    Raises:
        NotVerified: a header is missing, no signature fits, or it is not fresh.
        ValueError: the secret is none.
        Unintelligible: it is signed, and no event.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message, sent, signatures = (
            given[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
        sent_s = int(sent)
    except KeyError as exc:
        raise NotVerified(f"the header {exc.args[0]} is missing") from None
    except ValueError:
        raise NotVerified("webhook-timestamp is no time") from None
    age_s = (time.time() if now_s is None else now_s) - sent_s
    if abs(age_s) > tolerance_s:
        raise NotVerified(f"it was sent {age_s:.0f} s ago, or the clocks differ")
    signed = f"{message}.{sent}.".encode() + body
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not any(_fits(key, signed, signature) for key in keys for signature in signatures.split()):
        raise NotVerified("no signature fits: another secret, or the body was changed")
    try:
        return _events.decode(body)
    except msgspec.DecodeError as exc:
        raise Unintelligible(f"a webhook: {exc}") from exc


def _fits(key: bytes, signed: bytes, signature: str) -> bool:
    """Whether this is a signature by this key; takes as long if it is not."""
    version, _, encoded = signature.partition(",")
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    return version == _VERSION and hmac.compare_digest(encoded.encode(), expected)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("the secret is none: take it as it was shown, whsec_...")
    return key
