"""Where the api is and how it is reached, for both clients: options of httpx and websockets."""

import ssl
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus

from waymark.client.errors import Lost, retry_after_s

TIMEOUT_S = 30.0
_CONNECT_WITHIN_S = 10.0
_USER_AGENT = "waymark-client"
# The api pings every 20 s; so does the client, that a peer that is gone is noticed from both ends.
_PING_S = 20.0
# A farewell behind messages nobody reads any more is not waited for.
_CLOSE_WITHIN_S = 1.0


class Address(NamedTuple):
    """Where the api is, and how it is spoken to."""

    url: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, tls: ssl.SSLContext | None = None) -> Self:
        """The address a user gave.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is no address like https://tracking.example.com")
        return cls(url.rstrip("/"), tls)

    def http(self, timeout_s: float) -> dict[str, Any]:
        """What httpx's clients take."""
        return {
            "base_url": self.url,
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_WITHIN_S)),
            "headers": {"User-Agent": _USER_AGENT},
            # Loading the system's certificates takes 20 ms, which plain HTTP can spare.
            "verify": self.tls or self.url.startswith("https"),
        }

    def feed(self, token: str) -> dict[str, Any]:
        """What the `connect` of websockets takes."""
        return {
            "uri": f"ws{self.url.removeprefix('http')}/v1/feed",
            "additional_headers": {"Authorization": f"Bearer {token}"},
            "user_agent_header": _USER_AGENT,
            "open_timeout": _CONNECT_WITHIN_S,
            "ping_interval": _PING_S,
            "ping_timeout": _PING_S,
            "close_timeout": _CLOSE_WITHIN_S,
            # A snapshot of a large fleet comes in large parts.
            "max_size": None,
            **({"ssl": self.tls} if self.tls and self.url.startswith("https") else {}),
        }


def check_credential(key: str | None, token: object) -> None:
    """Refuse two credentials, and none.

    Raises:
        ValueError: it is not exactly one.
    """
    if (key is None) == (token is None):
        raise ValueError("give a `key`, or a `token` callback")


def lost_of(exc: Exception) -> Lost:
    """Why a connection could not be made, or ended."""
    if isinstance(exc, ConnectionClosed):
        close = exc.rcvd
        if close is None:
            return Lost("the connection broke")
        return Lost(close.reason or f"closed with {close.code}", code=close.code)
    if isinstance(exc, InvalidStatus):
        answer = exc.response
        headers = {name.lower(): value for name, value in answer.headers.raw_items()}
        reason = f"the feed answered {answer.status_code}"
        return Lost(reason, code=answer.status_code, retry_after_s=retry_after_s(headers))
    return Lost(str(exc) or type(exc).__name__)
