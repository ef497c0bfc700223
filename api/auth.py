"""Who asks: API keys, looked up in the database and remembered for seconds."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import forbidden, unauthorized
from api.services import services_of
from tracking.access import Action, Principal
from tracking.store.keys import digest_of

# A revoked key works this much longer; a fleet of map clients costs one query in this time.
_REMEMBERED_S = 5.0
# Beyond this many distinct keys in five seconds somebody is guessing.
_REMEMBERED = 10_000

Lookup = Callable[[bytes], Awaitable[Principal | None]]


class KeyCache:
    """Answers which principal a key is, asking `lookup` at most every few seconds per key.

    Keeps digests, never keys. Wrong keys are remembered too, so that guessing costs no queries.
    """

    def __init__(self, lookup: Lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[bytes, tuple[float, Principal | None]] = {}

    async def principal(self, key: str) -> Principal | None:
        """The principal of a key, None for a wrong or revoked one."""
        return await self.principal_of_digest(digest_of(key))

    async def principal_of_digest(self, digest: bytes) -> Principal | None:
        """As `principal`, for a caller that does not keep the key."""
        now = self._clock()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        principal = await self._lookup(digest)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = (now + _REMEMBERED_S, principal)
        return principal


_bearer = HTTPBearer(auto_error=False, description="An API key: `waymark key create`")


async def _authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Principal:
    if credentials is None:
        raise unauthorized("send an API key as `Authorization: Bearer <key>`")
    principal = await services_of(request).keys.principal(credentials.credentials)
    if principal is None:
        raise unauthorized("this API key is unknown or was revoked")
    return principal


def _who_may(action: Action) -> Callable[[Request, Principal], Principal]:
    def permitted(
        request: Request, principal: Annotated[Principal, Depends(_authenticated)]
    ) -> Principal:
        noun = request.scope["route"].tags[0]
        if not principal.may(noun, action):
            raise forbidden(principal, noun, action)
        return principal

    return permitted


# The dependencies of every route: who asks, and whether they may read, change or administer the
# noun that is the route's first tag. 401 without a valid credential, 403 without the permission.
Caller = Annotated[Principal, Depends(_who_may("read"))]
Writer = Annotated[Principal, Depends(_who_may("write"))]
Admin = Annotated[Principal, Depends(_who_may("admin"))]
