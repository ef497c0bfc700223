"""Refresh tokens: each is good once, and gives the next. Pure.

A sign-in begins a family. A token that comes back after it was spent is in two hands, so the
family ends, for the owner and the thief. Except within seconds: an answer that got lost, or two
windows that refresh at once, look just the same. Then the same successor is told again; it
follows from the spent token and the server's secret, so nothing but digests is kept.
"""

import base64
import secrets
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from tracking.seal import Seal

PREFIX = "wmr_"
# Unused for so long, a token is worth nothing.
TOKEN_FOR = timedelta(days=7)
# However often it is refreshed, a session ends.
SESSION_FOR = timedelta(days=30)
GRACE = timedelta(seconds=10)

Verdict = Literal["rotate", "repeat", "reused", "over"]


class Presented(NamedTuple):
    """What is known of a token that was shown, and of its session."""

    expires_at: datetime
    spent_at: datetime | None
    successor: bytes | None
    successor_spent: bool
    successor_expires_at: datetime | None
    session_ends_at: datetime
    session_ended: bool


def judge(token: Presented, successor: bytes, now: datetime) -> Verdict:
    """What to do with it; `successor` is the digest of the one that would follow it.

    One spent twice is `reused` even within seconds once its successor was spent as well: whoever
    shows it now has not seen what the owner went on with.
    """
    if token.session_ended or now >= min(token.expires_at, token.session_ends_at):
        return "over"
    if token.spent_at is None:
        return "rotate"
    if now - token.spent_at > GRACE or token.successor_spent:
        return "reused"
    # Under another secret the successor is not to be found again.
    return "repeat" if token.successor == successor else "over"


def new_refresh_token() -> str:
    """256 random bits, the first of a family."""
    return PREFIX + secrets.token_urlsafe(32)


def successor_of(token: str, seal: Seal) -> str:
    """The token after this one."""
    raw = seal.derive("refresh", token.encode())
    return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")
