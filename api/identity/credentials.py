"""Who asks: a credential becomes a principal. The one way in, for REST and the feed.

First it is proved to be whole: an API key by its digest, a token by its signature. Then the
database is asked what it stands for now, and that is remembered for seconds.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from tracking.access import Principal
from tracking.store.keys import digest_of

# What was revoked works this much longer; a fleet of map clients costs one query in this time.
_REMEMBERED_S = 5.0
# Beyond this many distinct credentials in five seconds somebody is guessing.
_REMEMBERED = 10_000
# What an OIDC provider issues may be large; what is larger is no token.
MAX_TOKEN = 16_384

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Answers to questions, each asked at most every few seconds.

    "No" is remembered too, so that guessing costs no queries; an error is not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[K, tuple[float, V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer of the last seconds, or a new one."""
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        answer = await ask()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (now + _REMEMBERED_S, answer)
        return answer

    def last(self, key: K) -> V | None:
        """The last answer, however old."""
        known = self._known.get(key)
        return None if known is None else known[1]


@dataclass(frozen=True, slots=True)
class KeyProof:
    """An API key, of which only the digest is kept."""

    digest: bytes
    ends_s: float = float("inf")


class Proof(Protocol):
    """A credential found whole, to be asked about again and again; hashable, and no secret."""

    @property
    def ends_s(self) -> float:
        """Until when it is good, whatever the database says."""

    def __hash__(self) -> int: ...


class Grant(NamedTuple):
    """What a credential opens, and how to ask whether it still does."""

    proof: Proof
    principal: Principal


ReadToken = Callable[[str], Awaitable[Proof | None]]
Lookup = Callable[[Proof], Awaitable[Principal | None]]


class Credentials:
    """Answers which principal a credential stands for; keeps neither keys nor tokens.

    Args:
        read_token: proves a token, ours or a provider's.
        lookup: asks what a proof stands for now.
    """

    def __init__(
        self,
        read_token: ReadToken,
        lookup: Lookup,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_token = read_token
        self._lookup = lookup
        self._wall = wall
        self._proofs: Remembered[bytes, Proof | None] = Remembered(clock)
        self._principals: Remembered[Proof, Principal | None] = Remembered(clock)

    async def grant(self, credential: str) -> Grant | None:
        """What a key or token opens, None for one that is wrong, over or revoked.

        Raises:
            StoreUnavailable: the database is away.
        """
        proof = await self._proof(credential)
        principal = None if proof is None else await self.principal(proof)
        return None if proof is None or principal is None else Grant(proof, principal)

    async def principal(self, proof: Proof) -> Principal | None:
        """Whom it stands for now, asked by who does not keep the credential; raises as above."""
        if proof.ends_s <= self._wall():
            return None
        return await self._principals.get(proof, lambda: self._lookup(proof))

    def stood(self, credential: str) -> bool:
        """Whether it was good when it was last asked about, if that is remembered."""
        digest = digest_of(credential)
        proof = self._proofs.last(digest) or KeyProof(digest)
        return self._principals.last(proof) is not None

    async def _proof(self, credential: str) -> Proof | None:
        digest = digest_of(credential)
        if credential.count(".") != 2 or len(credential) > MAX_TOKEN:
            return KeyProof(digest)
        return await self._proofs.get(digest, lambda: self._read_token(credential))
