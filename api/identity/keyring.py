"""The keys of our access tokens, as one api process knows them."""

import asyncio
import logging
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tracking.seal import Seal
from tracking.store.acting import SYSTEM, acting
from tracking.store.pool import ReadPool
from tracking.store.signing_keys import add_signing_key, drop_signing_keys, list_signing_keys
from tracking.tokens import Access, SigningKey, issue, kid_of, make_key, plan, private_of, read

logger = logging.getLogger(__name__)

# A key that another process dropped is no longer trusted after this.
_READ_AGAIN_S = 60.0
# Tokens with keys that there are not must not become queries.
_AT_MOST_EVERY_S = 1.0


class Keyring:
    """Signs and verifies; makes a key when the first is needed or the latest is old.

    Without a seal it only verifies. Tasks share one instance.
    """

    def __init__(
        self, pool: ReadPool, seal: Seal | None, wall: Callable[[], float] = time.time
    ) -> None:
        self._pool = pool
        self._seal = seal
        self._wall = wall
        self._keys: list[SigningKey] = []
        self._publics: dict[str, Ed25519PublicKey] = {}
        self._privates: dict[str, Ed25519PrivateKey] = {}
        self._read_s = float("-inf")
        self._reading = asyncio.Lock()

    async def issue(self, access: Access) -> str:
        """A token for a session.

        Raises:
            StoreUnavailable: the database is away.
            RuntimeError: there is no seal.
        """
        now_s = self._wall()
        await self._read(older_than_s=_READ_AGAIN_S)
        what = plan(self._keys, set(self._privates), now_s)
        if what.make_one:
            await self._make(now_s)
            what = plan(self._keys, set(self._privates), now_s)
        if what.outdated:
            with acting(SYSTEM):
                await self._pool.run(drop_signing_keys, list(what.outdated))
            await self._read(older_than_s=0)
        if what.signer is None:
            raise RuntimeError("there is no key to sign with")
        kid = what.signer.kid
        return issue(access, kid, self._privates[kid], now_s)

    async def read(self, token: str) -> tuple[Access, float] | None:
        """What a token of ours says and until when, None for any other.

        Raises:
            StoreUnavailable: the database is away.
        """
        kid = kid_of(token)
        if kid is None:
            return None
        known = kid in self._publics
        await self._read(older_than_s=_READ_AGAIN_S if known else _AT_MOST_EVERY_S)
        return read(token, self._publics, self._wall())

    async def published(self) -> list[SigningKey]:
        """All keys whose tokens may be met; makes the first, so that others can read it."""
        await self._read(older_than_s=_AT_MOST_EVERY_S)
        if not self._keys and self._seal is not None:
            await self._make(self._wall())
        return self._keys

    async def _make(self, now_s: float) -> None:
        if self._seal is None:
            raise RuntimeError("without WAYMARK_SECRET_KEY there is nothing to seal a key with")
        key = make_key(self._seal, now_s)
        with acting(SYSTEM):
            if await self._pool.run(add_signing_key, key, list(self._publics)):
                logger.info("made signing key %s", key.kid)
        await self._read(older_than_s=0)

    async def _read(self, *, older_than_s: float) -> None:
        """Have what the database had at most so long ago."""
        async with self._reading:
            if time.monotonic() - self._read_s < older_than_s:
                return
            with acting(SYSTEM):
                self._keys = await self._pool.run(list_signing_keys)
            self._read_s = time.monotonic()
            self._publics = {
                key.kid: Ed25519PublicKey.from_public_bytes(key.public) for key in self._keys
            }
            if self._seal is not None:
                opened = {key.kid: private_of(key, self._seal) for key in self._keys}
                self._privates = {kid: one for kid, one in opened.items() if one is not None}
