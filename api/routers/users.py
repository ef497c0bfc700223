"""Users: invited, changed, reset and removed by who administers the tenant."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import name_cursor, read_name_cursor
from api.conventions.etags import changed_meanwhile, tagged, wanted_versions
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import users as examples
from api.identity.auth import Admin
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.users import Invited, UserChange, UserInput, UserQuery
from api.services import services_of
from tracking.access import Principal
from tracking.store.keys import digest_of
from tracking.store.users import (
    INVITED_FOR,
    Changes,
    User,
    UserFilter,
    change_user,
    create_user,
    delete_user,
    get_user,
    list_users,
    reset_user,
)
from tracking.times import utc_now
from tracking.users import checked_email, checked_name, new_invite, normal_email

router = APIRouter(prefix="/v1/users", tags=["users"])

UserId = Annotated[int, Path(ge=1, le=2**31 - 1, description="As in the list of users")]


@router.get("", **documented("listUsers", Page[User], example=examples.USERS))
async def users(request: Request, caller: Admin, query: Annotated[UserQuery, Query()]) -> Response:
    """Users by address."""
    email = None if query.email is None else normal_email(query.email)
    found = await services_of(request).pool.run(
        list_users,
        caller.tenant_id,
        UserFilter(email, query.role, query.disabled),
        after=read_name_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: name_cursor(last.email))


@router.post(
    "",
    **documented(
        "inviteUser",
        Invited,
        example=examples.INVITED,
        status=201,
        body=UserInput,
        body_example=examples.USER_INPUT,
        problems=[409],
        headers=["Location", "ETag"],
    ),
)
async def invite(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """Make a user. Give them `invite`, which is told this once: it sets their password."""
    given = decoded(await request.body(), UserInput)
    _may_grant(caller, given.role)
    if given.party is not None and given.role != "viewer":
        raise Problem(422, "whoever is of a party is a viewer", field="role")
    email, token = checked_email(given.email), new_invite()
    user = await services_of(request).pool.run(
        create_user,
        caller.tenant_id,
        email=email,
        name=checked_name(given.name or email),
        role=given.role,
        invite=digest_of(token),
        party=given.party,
    )
    if user is None:
        raise Problem(409, f"{email} is another user's", field="email")
    response = tagged(_invited(user, token), user.version)
    response.status_code = 201
    response.headers["Location"] = f"/v1/users/{user.id}"
    return response


@router.get("/{id}", **documented("getUser", User, example=examples.USER, headers=["ETag"]))
async def user(
    request: Request,
    caller: Admin,
    id: UserId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One user."""
    found = await services_of(request).pool.run(get_user, caller.tenant_id, id)
    if found is None:
        raise not_found(f"user {id}")
    return tagged(answer(found), found.version)


@router.patch(
    "/{id}",
    **documented(
        "changeUser",
        User,
        example=examples.USER,
        body=UserChange,
        body_example=examples.USER_CHANGE,
        problems=[409, 412],
        headers=["ETag"],
    ),
)
async def change(
    request: Request,
    caller: Admin,
    id: UserId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Change a user, but never your own role, nor the last admin's.

    Takes effect within seconds, in open sessions too. With `If-Match` only over that version.
    """
    given = decoded(await request.body(), UserChange)
    pool = services_of(request).pool
    if given.role is not None:
        _may_grant(caller, given.role)
        if id == caller.user_id:
            raise Problem(403, "nobody changes their own role", field="role")
    changes = Changes(
        None if given.email is None else checked_email(given.email),
        None if given.name is None else checked_name(given.name),
        given.role,
        given.disabled,
    )
    found = await pool.run(
        change_user, caller.tenant_id, id, changes, only_over=wanted_versions(request)
    )
    if found is None:
        there = await pool.run(get_user, caller.tenant_id, id)
        if there is None:
            raise not_found(f"user {id}")
        raise changed_meanwhile(f"user {id}", there.version)
    return tagged(answer(found), found.version)


@router.delete("/{id}", **documented("deleteUser", status=204, problems=[409]))
async def delete(
    request: Request,
    caller: Admin,
    id: UserId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Remove a user with all sessions; not the last admin."""
    if not await services_of(request).pool.run(delete_user, caller.tenant_id, id):
        raise not_found(f"user {id}")
    return Response(status_code=204)


@router.post("/{id}/reset", **documented("resetUser", Invited, example=examples.INVITED))
async def reset(
    request: Request,
    caller: Admin,
    id: UserId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Take password, second factor and sessions away; `invite`, told this once, sets a new one."""
    pool, token = services_of(request).pool, new_invite()
    there = await pool.run(get_user, caller.tenant_id, id)
    if there is not None:
        _may_grant(caller, there.role)
    found = await pool.run(reset_user, caller.tenant_id, id, digest_of(token))
    if found is None:
        raise not_found(f"user {id}")
    return _invited(found, token)


def _invited(user: User, token: str) -> Response:
    told = {name: getattr(user, name) for name in user.__struct_fields__}
    response = answer(Invited(**told, invite=token, invite_expires_at=utc_now() + INVITED_FOR))
    response.headers["Cache-Control"] = "no-store"
    return response


def _may_grant(caller: Principal, role: str) -> None:
    """Refuse who would hand out more than they have: whoever gets it could be themselves."""
    if not caller.may_grant(role):
        raise Problem(403, f"this credential may not make anybody {role}", field="role")
