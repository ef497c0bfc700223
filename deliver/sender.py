"""Requests to webhooks: signed, bounded in time and size, and only to where they may go."""

import asyncio
import errno
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from deliver.line import Outcome
from tracking.egress import Egress
from tracking.retrying import retry_after_s
from tracking.signing import signed_headers
from tracking.times import to_us
from tracking.webhooks import Letter, Secrets, Webhook

TIMEOUT_S = 15.0
# An answer is read so far that its connection can be used again; of it, so much is kept.
_READ_BYTES = 16_384
_KEPT_CHARS = 512
# A name server that hangs holds a thread per host; the resolver's own pool would be four.
_RESOLVING_THREADS = 64
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\uffff]")


class Sender:
    """Sends letters to webhooks. An async context manager; tasks share one."""

    def __init__(
        self,
        egress: Egress,
        resolver: AbstractResolver | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._egress = egress
        self._timeout_s = timeout_s
        self._resolver = resolver
        # Parsing takes longer than signing.
        self._url_fault = lru_cache(maxsize=4_096)(egress.url_fault)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            # Each target has its own bound; one for all would let the slow delay the others.
            limit=0,
            resolver=self._resolver or _ThreadedResolver(),
            socket_factory=_guarded(self._egress),
            # Below what servers keep them for, mostly 5 s and more.
            keepalive_timeout=4,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A few bytes could become gigabytes.
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "Waymark-Webhooks/1", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, webhook: Webhook, secrets: Secrets, letter: Letter) -> Outcome:
        """Send a letter once. Never raises for what the other side does."""
        url = webhook.url or ""
        now = datetime.now(UTC)
        now_us = to_us(now)
        # The settings may have changed since it was saved.
        fault = self._url_fault(url)
        if fault is not None:
            return Outcome(now_us, ok=False, latency_ms=0, error=fault)
        headers = {
            **secrets.headers,
            **signed_headers(
                secrets.keys_at(now_us), letter.message, now_us // 1_000_000, letter.body
            ),
            "Content-Type": "application/cloudevents+json",
        }
        started = time.perf_counter()
        try:
            response, text = await self._post(url, letter.body, headers)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            return Outcome(now_us, ok=False, latency_ms=_since_ms(started), error=self._told(exc))
        return Outcome(
            now_us,
            ok=200 <= response.status < 300,
            latency_ms=_since_ms(started),
            status=response.status,
            error=_fault_of(response),
            response=text,
            retry_after_s=retry_after_s(response.headers.get("Retry-After"), now),
            gone=response.status == 410,
        )

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        """The answer, and the beginning of its text."""
        try:
            return await self._post_once(url, body, headers)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            # A kept connection may end just as it is used again: no fault of the target.
            return await self._post_once(url, body, headers)

    async def _post_once(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        async with self._session.post(
            URL(url), data=body, headers=headers, allow_redirects=False
        ) as response:
            return response, await _excerpt(response)

    def _told(self, exc: Exception) -> str:
        if isinstance(exc, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(exc, aiohttp.ClientConnectorDNSError):
            return printable(f"cannot resolve {exc.host}")
        if isinstance(exc, aiohttp.ClientConnectorError) and exc.os_error.strerror:
            return printable(exc.os_error.strerror)
        return printable(str(exc) or type(exc).__name__)


class _ThreadedResolver(AbstractResolver):
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in found
        ]  # fmt: skip

    async def close(self) -> None:
        """End without waiting for a name server."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _guarded(
    egress: Egress,
) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """Makes sockets, but none for an address that may not be reached.

    It is asked for each connection with the very address that is connected to next, whatever
    resolved it, so there is no moment between the check and its use.
    """

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        refusal = egress.refusal(str(address[0]), int(address[1]))
        if refusal is not None:
            raise PermissionError(errno.EACCES, refusal)
        return socket.socket(family, kind, proto)

    return make


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    content = b""
    while len(content) < _READ_BYTES:
        part = await response.content.read(_READ_BYTES - len(content))
        if not part:
            break
        content += part
    else:
        # There is more, or may be: not worth reading for the connection's sake.
        response.close()
    return printable(content.decode(errors="replace"))


def printable(text: str) -> str:
    """The beginning of a text from outside, as it may be kept and shown."""
    return _UNPRINTABLE.sub("\ufffd", text)[:_KEPT_CHARS]


def _fault_of(response: aiohttp.ClientResponse) -> str | None:
    if 300 <= response.status < 400:
        return f"status {response.status}: redirects are not followed, enter the final URL"
    return None


def _since_ms(started: float) -> int:
    return round((time.perf_counter() - started) * 1e3)
