"""What every text payload must be before a reader looks at it: UTF-8, and not too deep.

Also the check that makes an `attrs` object safe to store as jsonb.
"""

import re

import msgspec

from ingest.decoders.faults import PayloadError, shown
from tracking.quality import Reject

MAX_DEPTH = 32
MAX_ATTRS_BYTES = 8_192
# Bounds what one message can cost: an array of 500,000 zeros in 1 MB is as many rejections.
MAX_ELEMENTS = 10_000

_AS_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Possessive, and content with a string that never ends: one pass over any input. The plain form
# takes 10 s for 40 kB of `\"` after an opening quote.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# PostgreSQL's numeric ends near 1e131071 and at 16,383 decimals; three digits of exponent and
# MAX_ATTRS_BYTES of digits stay clear of both.
_HUGE_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]{4}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_any = msgspec.json.Decoder()


def too_large(limit_bytes: int) -> PayloadError:
    """Say that a payload is over the limit."""
    return PayloadError(Reject.TOO_LARGE, f"the payload is larger than {limit_bytes} bytes")


def too_deep() -> PayloadError:
    """Say that a payload is nested too deep."""
    return PayloadError(Reject.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")


def check_not_empty(payload: bytes) -> None:
    """Refuse a payload of white space.

    Raises:
        PayloadError: EMPTY.
    """
    if not payload.strip():
        raise PayloadError(Reject.EMPTY, "the payload is empty")


def check_text(payload: bytes) -> None:
    """Check that a payload is UTF-8 and nested no deeper than MAX_DEPTH.

    Raises:
        PayloadError: NOT_UTF8 or TOO_DEEP.
    """
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as exc:
            raise PayloadError(Reject.NOT_UTF8, f"byte {exc.start} is not UTF-8") from exc
    if _is_too_deep(payload):
        raise too_deep()


def _is_too_deep(text: bytes) -> bool:
    if len(text) < 2 * MAX_DEPTH or text.count(91) + text.count(123) <= MAX_DEPTH:  # [ and {
        return False
    # The first look takes brackets inside strings for nesting, and costs 1 ns a byte.
    return _deeper_than_allowed(text) and _deeper_than_allowed(_STRING.sub(b"", text))


def _deeper_than_allowed(text: bytes) -> bool:
    # Each pass removes the innermost pair of every branch, so it lowers the nesting by exactly
    # one, with no recursion and no Python per bracket.
    braces = text.translate(_AS_BRACES, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if b"{}" not in braces:
            break
        braces = braces.replace(b"{}", b"")
    return b"{}" in braces or braces.count(b"{") > MAX_DEPTH


def read_any(text: bytes | msgspec.Raw) -> object:
    """Decode any JSON value.

    Raises:
        PayloadError: NOT_JSON, TOO_DEEP, or BAD_FIELD for a number no float can hold.
    """
    try:
        return _any.decode(text)
    except msgspec.ValidationError as exc:
        raise PayloadError(Reject.BAD_FIELD, "a number is out of range") from exc
    except msgspec.DecodeError as exc:
        raise not_json(bytes(text), exc) from exc
    except UnicodeDecodeError as exc:
        raise PayloadError(Reject.NOT_UTF8, "a string is not UTF-8") from exc
    except RecursionError as exc:
        raise too_deep() from exc


def not_json(payload: bytes, exc: Exception) -> PayloadError:
    """Say in a sentence why a payload is not JSON."""
    if re.search(rb"(?<![\w\"])-?(?:NaN|Infinity)\b", payload):
        hint = "NaN and Infinity are not JSON: leave the member out"
    elif payload.startswith(b"\xef\xbb\xbf"):
        hint = "it starts with a byte-order mark: send UTF-8 without one"
    else:
        hint = str(exc)
    return PayloadError(Reject.NOT_JSON, f"not JSON: {hint}")


def attrs_text(raw: msgspec.Raw, member: str = "attrs") -> bytes | None:
    """Return an `attrs` member, or another such, as JSON text that jsonb will take; None for null.

    Raises:
        PayloadError: BAD_FIELD or TOO_DEEP. One such row would fail the whole batch's COPY.
    """
    text = bytes(raw)
    if text == b"null":
        return None
    if not text.startswith(b"{"):
        raise PayloadError(Reject.BAD_FIELD, f"{member} {shown(text)} is not an object")
    if len(text) > MAX_ATTRS_BYTES:
        raise PayloadError(
            Reject.BAD_FIELD, f"{member} is {len(text)} bytes, more than {MAX_ATTRS_BYTES}"
        )
    if 92 in text:  # a backslash; looking for an int is ten times as fast as for bytes
        # Reading it all finds the lone surrogates that skipping over a value does not.
        read_any(text)
        if _NUL.search(text):
            raise PayloadError(Reject.BAD_FIELD, f"{member} holds the character NUL")
    if _HUGE_EXPONENT.search(text) and _HUGE_EXPONENT.search(_STRING.sub(b"", text)):
        raise PayloadError(Reject.BAD_FIELD, f"{member} holds a number out of range")
    if _is_too_deep(text):
        raise PayloadError(Reject.TOO_DEEP, f"{member} is nested deeper than {MAX_DEPTH} levels")
    return text
