"""Who asks and may they: the dependencies of every route."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from api.conventions.idempotency import begin
from api.conventions.problems import forbidden, unauthorized
from api.services import services_of
from tracking.access import Action, Principal
from tracking.store.acting import Mandate, act

# Of whatever kind it is: what was guessed learns nothing.
REFUSED = "this credential is unknown, has expired or was revoked"

# Nothing is audited that these do.
_READING = {"GET", "HEAD"}


class _WhoMay(SecurityBase):
    """Who asks, if they may read, change or administer the noun of the route.

    A dependency by itself: as three nested ones a request cost 100 us more.
    """

    def __init__(self, action: Action) -> None:
        self.model = HTTPBearer(
            description="An API key (`waymark key create`) or an access token "
            "(`POST /v1/auth/token`)"
        )
        self.scheme_name = "bearer"
        self._action = action

    async def __call__(self, request: Request) -> Principal:
        """The principal; the request's task acts for it from here on."""
        principal = await _authenticated(request)
        noun = request.scope["route"].tags[0]
        if not principal.may(noun, self._action):
            raise forbidden(principal, noun, self._action)
        # PUT and DELETE come to the same however often they are sent, but are not answered alike:
        # what is gone is not there, and what changed has another version.
        if self._action != "read" and request.method not in _READING:
            await begin(request, principal)
        return principal


async def _authenticated(request: Request) -> Principal:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise unauthorized("send an API key or access token as `Authorization: Bearer ...`")
    services = services_of(request)
    grant = await services.credentials.grant(credential.strip())
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


# The dependencies of every route: who asks, and whether they may read, change or administer the
# noun that is the route's first tag. 401 without a valid credential, 403 without the permission.
Caller = Annotated[Principal, Security(_WhoMay("read"), scopes=["read"])]
Writer = Annotated[Principal, Security(_WhoMay("write"), scopes=["write"])]
Admin = Annotated[Principal, Security(_WhoMay("admin"), scopes=["admin"])]
