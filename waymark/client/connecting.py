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
    """The api's address."""

    url: str

    @classmethod
    def of(cls, url: str, *, key: str | None, token: object) -> Self:
        """The address a user gave, with the one credential it takes.

        Raises:
            ValueError: it is no address, or there are two credentials, or none.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is no address like https://tracking.example.com")
        if (key is None) == (token is None):
            raise ValueError("give a `key`, or a `token` callback")
        return cls(url.rstrip("/"))

    @property
    def feed(self) -> str:
        """Where the websocket is."""
        return f"ws{self.url.removeprefix('http')}/v1/feed"


def http_options(address: Address, timeout_s: float, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """What httpx's clients take."""
    return {
        "base_url": address.url,
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_WITHIN_S)),
        "headers": {"User-Agent": _USER_AGENT},
        "verify": tls or address.url.startswith("https"),
    }


def socket_options(address: Address, token: str, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """What the `connect` of websockets takes."""
    return {
        "additional_headers": {"Authorization": f"Bearer {token}"},
        "user_agent_header": _USER_AGENT,
        "open_timeout": _CONNECT_WITHIN_S,
        "ping_interval": _PING_S,
        "ping_timeout": _PING_S,
        "close_timeout": _CLOSE_WITHIN_S,
        # A snapshot of a large fleet comes in large parts.
        "max_size": None,
        **({"ssl": tls} if tls is not None and address.url.startswith("https") else {}),
    }


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
