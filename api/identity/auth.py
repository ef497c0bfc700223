"""Who asks and may they: the dependencies of every route."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.conventions.idempotency import begin
from api.conventions.problems import forbidden, unauthorized
from api.services import services_of
from tracking.access import Action, Principal
from tracking.store.acting import Mandate, act

# Of whatever kind it is: what was guessed learns nothing.
REFUSED = "this credential is unknown, has expired or was revoked"

_bearer = HTTPBearer(
    scheme_name="bearer",
    auto_error=False,
    description="An API key (`waymark key create`) or an access token (`POST /v1/auth/token`)",
)

# Nothing is audited that these do.
_READING = {"GET", "HEAD"}


async def _authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Principal:
    if credentials is None:
        raise unauthorized("send an API key or access token as `Authorization: Bearer ...`")
    services = services_of(request)
    grant = await services.credentials.grant(credentials.credentials)
    if grant is None:
        raise unauthorized(REFUSED)
    services.gate.enter_as(grant.principal, request.scope)
    act(
        Mandate.of(
            grant.principal,
            request_id=request.state.request_id,
            ip=request.client.host if request.client else "",
            changes=request.method not in _READING,
        )
    )
    return grant.principal


def _who_may(action: Action) -> Callable[[Request, Principal], Awaitable[Principal]]:
    async def permitted(
        request: Request, principal: Annotated[Principal, Depends(_authenticated)]
    ) -> Principal:
        noun = request.scope["route"].tags[0]
        if not principal.may(noun, action):
            raise forbidden(principal, noun, action)
        # The other methods change nothing, or the same however often they are sent.
        if action != "read" and request.method == "POST":
            await begin(request, principal)
        return principal

    return permitted


# The dependencies of every route: who asks, and whether they may read, change or administer the
# noun that is the route's first tag. 401 without a valid credential, 403 without the permission.
Caller = Annotated[Principal, Security(_who_may("read"), scopes=["read"])]
Writer = Annotated[Principal, Security(_who_may("write"), scopes=["write"])]
Admin = Annotated[Principal, Security(_who_may("admin"), scopes=["admin"])]
