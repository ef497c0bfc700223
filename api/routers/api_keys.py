"""API keys: made, rotated and revoked by admins of their tenant."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import TAGS, documented
from api.examples.fleet import page_of
from api.examples.keys import API_KEY, KEY_INPUT, MADE_KEY
from api.identity.auth import Admin
from api.schemas.fences import decoded
from api.schemas.keys import KeyInput, MadeKey, RotationInput, checked_expiry
from api.schemas.parameters import NoQuery, Paged
from api.services import services_of
from tracking.access import Principal, checked_scopes
from tracking.store.keys import (
    ApiKey,
    KeyDraft,
    end_key,
    get_key,
    make_key,
    new_key,
    page_of_keys,
    rotate_key,
)

router = APIRouter(prefix="/v1/api-keys", tags=["api-keys"])

KeyId = Annotated[int, Path(ge=1, le=2**31 - 1, description="The key's id, which is no secret")]


@router.get("", **documented("listApiKeys", Page[ApiKey], example=page_of(API_KEY)))
async def list_all(request: Request, caller: Admin, query: Annotated[Paged, Query()]) -> Response:
    """Keys of the tenant, oldest first, those that have ended too."""
    found = await services_of(request).pool.run(
        page_of_keys,
        caller.tenant_id,
        after=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.id))


@router.post(
    "",
    **documented(
        "createApiKey",
        MadeKey,
        example=MADE_KEY,
        status=201,
        body=KeyInput,
        body_example=KEY_INPUT,
        headers=["Location"],
    ),
)
async def create(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """Make a key, which is shown this once. It may not do more than whoever makes it."""
    given = decoded(await request.body(), KeyInput)
    scopes = None if given.scopes is None else checked_scopes(given.scopes, TAGS)
    _check_grant(caller, given.role, scopes)
    key = new_key()
    expires_at = checked_expiry(given.expires_at)
    draft = KeyDraft(given.name, given.role, scopes, expires_at, given.party)
    made = await services_of(request).pool.run(make_key, caller.tenant_id, key, draft)
    return _shown(made, key)


@router.get("/{id}", **documented("getApiKey", ApiKey, example=API_KEY))
async def get(
    request: Request,
    caller: Admin,
    id: KeyId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One key; `last_used_at` is exact to a minute."""
    return answer(await _known(request, caller, id))


@router.delete("/{id}", **documented("revokeApiKey", status=204))
async def revoke(
    request: Request,
    caller: Admin,
    id: KeyId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make a key useless within seconds; it stays in the list."""
    if not await services_of(request).pool.run(end_key, caller.tenant_id, id):
        raise not_found(f"API key {id}")
    return Response(status_code=204)


@router.post(
    "/{id}/rotate",
    **documented(
        "rotateApiKey",
        MadeKey,
        example=MADE_KEY,
        status=201,
        body=RotationInput,
        body_example=RotationInput(),
        body_required=False,
        problems=[409],
        headers=["Location"],
    ),
)
async def rotate(
    request: Request,
    caller: Admin,
    id: KeyId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make a key in place of this one, which ends `overlap_s` later: a day, if not given.

    The new one may do the same, and lives as long as this one was made for.
    """
    body = await request.body()
    given = decoded(body, RotationInput) if body else RotationInput()
    old = await _known(request, caller, id)
    _check_grant(caller, old.role, old.scopes)
    key = new_key()
    overlap = timedelta(seconds=given.overlap_s)
    made = await services_of(request).pool.run(rotate_key, caller.tenant_id, id, key, overlap)
    if made is None:
        raise Problem(409, f"API key {id} has expired or was revoked: make a new one")
    return _shown(made, key)


async def _known(request: Request, caller: Principal, key_id: int) -> ApiKey:
    found = await services_of(request).pool.run(get_key, caller.tenant_id, key_id)
    if found is None:
        raise not_found(f"API key {key_id}")
    return found


def _check_grant(caller: Principal, role: str, scopes: list[str] | None) -> None:
    if not caller.may_grant(role, scopes):
        raise Problem(403, "this key could do more than the credential that asks for it")


def _shown(made: ApiKey, key: str) -> Response:
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    response = answer(MadeKey(**fields, key=key))
    response.status_code = 201
    response.headers["Location"] = f"/v1/api-keys/{made.id}"
    return response
