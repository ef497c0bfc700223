"""Signing in: tokens, sessions, passwords."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import users as examples
from api.identity.auth import Caller
from api.identity.sign_in import hashed, note, own_account, prove_again, refresh, sign_in, sign_out
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.users import (
    AcceptedAnswer,
    InviteInput,
    JwkSet,
    MeAnswer,
    PasswordInput,
    RefreshInput,
    RevokeInput,
    SessionAnswer,
    SessionList,
    SignInInput,
    TokenAnswer,
)
from api.services import services_of
from tracking.store.accounts import accept_invite, invited_account, set_password
from tracking.store.acting import SYSTEM, acting
from tracking.store.keys import digest_of
from tracking.store.sessions import end_session, list_sessions
from tracking.store.users import get_user
from tracking.tokens import jwks

router = APIRouter(prefix="/v1/auth", tags=["auth"])

SessionId = Annotated[UUID, Path(description="As in the list of sessions")]
NoParameters = Annotated[NoQuery, Query()]


@router.post(
    "/token",
    **documented(
        "signIn",
        TokenAnswer,
        example=examples.TOKENS,
        body=SignInInput,
        body_example=examples.SIGN_IN,
        problems=[401, 422, 429, 503],
    ),
)
async def token(request: Request, _: NoParameters) -> Response:
    """Sign in with address and password, and the code of the second factor where there is one.

    Without the code, or with a wrong one, the 401 names `code`.
    """
    given = decoded(await request.body(), SignInInput)
    return answer(await sign_in(request, given))


@router.post(
    "/refresh",
    **documented(
        "refreshToken",
        TokenAnswer,
        example=examples.TOKENS,
        body=RefreshInput,
        body_example=examples.REFRESH,
        problems=[401, 422, 503],
    ),
)
async def refreshed(request: Request, _: NoParameters) -> Response:
    """Exchange a refresh token for the next pair. Each is good once.

    Shown again within 10 s it gives the same successor; later, its session ends.
    """
    given = decoded(await request.body(), RefreshInput)
    return answer(await refresh(request, given.refresh_token))


@router.post(
    "/revoke",
    **documented(
        "signOut",
        status=204,
        body=RevokeInput,
        body_example=examples.REVOKE,
        problems=[422, 503],
    ),
)
async def revoke(request: Request, _: NoParameters) -> Response:
    """Sign out: end the session of a refresh token, or all of its owner's; 204 if there is none."""
    given = decoded(await request.body(), RevokeInput)
    await sign_out(request, given.refresh_token, everywhere=given.all)
    return Response(status_code=204)


@router.post(
    "/invite",
    **documented(
        "acceptInvite",
        AcceptedAnswer,
        example=examples.ACCEPTED,
        body=InviteInput,
        body_example=examples.INVITE,
        problems=[404, 422, 429, 503],
    ),
)
async def accept(request: Request, _: NoParameters) -> Response:
    """Set a password with the one-time token of an invitation or a reset."""
    given = decoded(await request.body(), InviteInput)
    pool, digest = services_of(request).pool, digest_of(given.invite)
    with acting(SYSTEM):
        account = await pool.run(invited_account, digest)
        if account is None:
            raise not_found("such invitation: it may have been used, or have expired")
        kept = await hashed(request, account, given.password, field="password")
        if not await pool.run(accept_invite, digest, kept):
            raise not_found("such invitation: it may have been used, or have expired")
        await note(request, account.principal, "invite_accepted")
    return answer(AcceptedAnswer(account.tenant, account.email))


@router.get("/me", **documented("getMe", MeAnswer, example=examples.ME))
async def me(request: Request, caller: Caller, _: NoParameters) -> Response:
    """Who asks, and what they may."""
    user = None
    if caller.user_id is not None:
        user = await services_of(request).pool.run(get_user, caller.tenant_id, caller.user_id)
    scopes = None if caller.scopes is None else sorted(caller.scopes)
    return answer(
        MeAnswer(
            kind=caller.kind,
            tenant=caller.tenant,
            role=caller.role,
            name=caller.name,
            scopes=scopes,
            party=caller.party,
            session_id=caller.session_id,
            user=user,
        )
    )


@router.post(
    "/password",
    **documented(
        "changePassword",
        status=204,
        body=PasswordInput,
        body_example=examples.PASSWORD,
        problems=[409, 429],
    ),
)
async def password(request: Request, caller: Caller, _: NoParameters) -> Response:
    """Change your password; your other sessions end."""
    account = await own_account(services_of(request), caller)
    given = decoded(await request.body(), PasswordInput)
    await prove_again(request, account, given.password)
    kept = await hashed(request, account, given.new_password, field="new_password")
    changed = await services_of(request).pool.run(
        set_password, account, kept, keep=caller.session_id
    )
    if not changed:
        raise Problem(409, "the password was changed meanwhile")
    return Response(status_code=204)


@router.get("/sessions", **documented("listSessions", SessionList, example=examples.SESSIONS))
async def sessions(request: Request, caller: Caller, _: NoParameters) -> Response:
    """Your sessions, the latest first."""
    services = services_of(request)
    account = await own_account(services, caller)
    found = await services.pool.run(list_sessions, caller.tenant_id, account.id)
    return answer(
        SessionList(
            [
                SessionAnswer(
                    **{name: getattr(one, name) for name in one.__struct_fields__},
                    current=one.id == caller.session_id,
                )
                for one in found
            ]
        )
    )


@router.delete("/sessions/{id}", **documented("endSession", status=204))
async def end(
    request: Request,
    caller: Caller,
    id: SessionId,  # noqa: A002 -- the name in the path, and so in problems
    _: NoParameters,
) -> Response:
    """End one of your sessions, within seconds everywhere."""
    services = services_of(request)
    account = await own_account(services, caller)
    if not await services.pool.run(end_session, caller.tenant_id, account.id, id):
        raise not_found(f"session {str(id)!r} of yours")
    return Response(status_code=204)


@router.get(
    "/jwks.json", **documented("getJwks", JwkSet, example=examples.JWKS, problems=[422, 503])
)
async def keys(request: Request, _: NoParameters) -> Response:
    """The public keys of access tokens, for services that verify them themselves."""
    response = answer(jwks(await services_of(request).identity.keyring.published()))
    # A key is published for an hour before it signs.
    response.headers["Cache-Control"] = "public, max-age=600"
    return response
