"""OIDC providers as one api process knows them: their keys are fetched, kept, and fetched again."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import aiohttp
import msgspec

from tracking.errors import ProviderUnavailable
from tracking.oidc import External, Jwk, OidcRefused, UnknownKey, issuer_of, read_external
from tracking.settings import OidcProvider

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_S = 5.0
_MAX_BYTES = 1_048_576
# Keys that were withdrawn are trusted this much longer, while the provider is there.
_FRESH_S = 3_600.0
# Tokens with invented keys must not become requests.
_AT_MOST_EVERY_S = 10.0


class _Document(msgspec.Struct):
    """The part of a discovery document that is needed."""

    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class Providers:
    """Reads tokens of the providers in the settings. Tasks share one instance."""

    def __init__(
        self,
        configured: Iterable[OidcProvider],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._known = {one.issuer: _Provider(one, clock) for one in configured}

    async def read(self, token: str) -> tuple[External, float] | None:
        """Whom a token stands for and until when, None for one of nobody known or a wrong one.

        Raises:
            ProviderUnavailable: its provider was never reached so far.
        """
        provider = self._known.get(issuer_of(token) or "")
        if provider is None:
            return None
        try:
            return await provider.read(token, self._wall())
        except OidcRefused as exc:
            logger.info("a token of %s is refused: %s", provider.config.issuer, exc)
            return None

    async def close(self) -> None:
        """Give up what is being fetched."""
        for provider in self._known.values():
            await provider.close()


class _Provider:
    def __init__(self, config: OidcProvider, clock: Callable[[], float]) -> None:
        self.config = config
        self._clock = clock
        self._keys: list[Jwk] | None = None
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def read(self, token: str, now_s: float) -> tuple[External, float]:
        if self._keys is None:
            await self._fetch()
        elif self._clock() - self._fetched_s > _FRESH_S:
            # What there is serves meanwhile, for as long as the provider is away.
            self._start()
        try:
            return read_external(token, self.config, self._known_keys(), now_s)
        except UnknownKey:
            await self._fetch()
            return read_external(token, self.config, self._known_keys(), now_s)

    def _known_keys(self) -> list[Jwk]:
        if self._keys is None:
            raise ProviderUnavailable(self.config.issuer)
        return self._keys

    def _start(self) -> asyncio.Task[None] | None:
        """Fetch, unless that is going on, or was done a moment ago."""
        if self._fetching is None and self._clock() - self._tried_s >= _AT_MOST_EVERY_S:
            self._tried_s = self._clock()
            self._fetching = asyncio.create_task(self._work(), name="oidc.fetch")
        return self._fetching

    async def _fetch(self) -> None:
        task = self._start()
        if task is not None:
            # Others wait for the same one.
            await asyncio.shield(task)

    async def _work(self) -> None:
        try:
            self._keys = await fetch_keys(self.config.issuer)
            self._fetched_s = self._clock()
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            logger.warning(
                "the keys of %s cannot be read: %s", self.config.issuer, str(exc) or repr(exc)
            )
        finally:
            self._fetching = None

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)


async def fetch_keys(issuer: str) -> list[Jwk]:
    """The keys of a provider, found by OpenID Connect Discovery.

    Raises:
        ValueError: what it says is not what was asked for.
        aiohttp.ClientError: it does not answer as it should; TimeoutError: nor in time.
    """
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _decoded(await _get(session, url), _Document)
        if document.issuer != issuer:
            raise ValueError(f"{url} is about {document.issuer!r}")
        if issuer.startswith("https:") and not document.jwks_uri.startswith("https:"):
            raise ValueError(f"{document.jwks_uri} is not https")
        return list(_decoded(await _get(session, document.jwks_uri), _KeySet).keys)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(65_536):
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"{url} answers more than {_MAX_BYTES} bytes")
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        return bytes(body)


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as exc:
        raise ValueError(f"it is not what a provider answers: {exc}") from exc
