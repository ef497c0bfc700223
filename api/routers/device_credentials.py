"""Devices' credentials at the broker."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import devices as examples
from api.identity.auth import Caller, Writer
from api.routers.devices import DeviceName
from api.schemas.devices import CredentialInput, IssuedCredential, RotationInput
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Paged, Selected
from api.services import Services, services_of
from tracking.access import Principal
from tracking.broker_access import Foreign, common_name_fault, foreign_topics, native_topics
from tracking.device_secrets import new_password, password_line
from tracking.feed import credentials_notice
from tracking.store.device_credentials import (
    DeviceCredential,
    NewCredential,
    get_credential,
    issue_credential,
    list_credentials,
    revoke_credential,
    rotate_credential,
)

router = APIRouter(prefix="/v1/devices/{name}/credentials", tags=["credentials"])


@router.get(
    "",
    **documented(
        "listDeviceCredentials",
        Page[DeviceCredential],
        example=examples.page_of(examples.CREDENTIAL),
    ),
)
async def credentials(
    request: Request, caller: Caller, name: DeviceName, query: Annotated[Paged, Query()]
) -> Response:
    """A device's credentials, the latest first, revoked ones included; never a password."""
    found = await services_of(request).pool.run(
        list_credentials,
        caller.tenant_id,
        name,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    if found is None:
        raise not_found(f"device {name!r}")
    return paged(
        found, query.limit, lambda last: number_cursor(last[0]), lambda numbered: numbered[1]
    )


@router.post(
    "",
    **documented(
        "issueDeviceCredential",
        IssuedCredential,
        example=examples.ISSUED,
        status=201,
        body=CredentialInput,
        body_example=examples.CREDENTIAL_INPUT,
        body_required=False,
        problems=[409],
        headers=["Location"],
    ),
)
async def issue(
    request: Request, caller: Writer, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """Issue a credential: a password, shown this once, or a certificate's common name.

    Without a `common_name` a certificate is known by `tenant/device`. Brokers hear of it within
    seconds.
    """
    given = decoded(await request.body() or b"{}", CredentialInput)
    if given.expires_at is not None and given.expires_at <= datetime.now(UTC):
        raise Problem(422, "expires_at: it is not ahead", field="expires_at")
    password = new_password() if given.kind == "password" else None
    new = NewCredential(
        id=uuid4(),
        kind=given.kind,
        label=given.label,
        author=caller.name,
        secret_hash=None if password is None else password_line(password),
        common_name=_common_name(given, caller.tenant, name),
        expires_at=given.expires_at,
    )
    services = services_of(request)
    made = await services.pool.run(issue_credential, caller.tenant_id, name, new)
    if made is None:
        raise not_found(f"device {name!r}")
    return await _issued(services, caller, name, made, password)


@router.get(
    "/{id}",
    **documented("getDeviceCredential", DeviceCredential, example=examples.CREDENTIAL),
)
async def credential(
    request: Request,
    caller: Caller,
    name: DeviceName,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[Selected, Query()],
) -> Response:
    """One credential, without its password."""
    found = await services_of(request).pool.run(get_credential, caller.tenant_id, name, id)
    if found is None:
        raise not_found(f"credential {id} of device {name!r}")
    return answer(found)


@router.post(
    "/{id}/rotate",
    **documented(
        "rotateDeviceCredential",
        IssuedCredential,
        example=examples.ISSUED,
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
    caller: Writer,
    name: DeviceName,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Issue a password in the place of another, which goes on to work for `overlap_s`.

    The new one has a user name of its own, as brokers keep one password for each.
    """
    given = decoded(await request.body() or b"{}", RotationInput)
    password = new_password()
    new = NewCredential(uuid4(), "password", "", caller.name, password_line(password))
    services = services_of(request)
    made = await services.pool.run(
        rotate_credential, caller.tenant_id, name, id, new=new, overlap_s=given.overlap_s
    )
    if made is None:
        raise not_found(f"credential {id} of device {name!r}")
    return await _issued(services, caller, name, made, password)


@router.delete("/{id}", **documented("revokeDeviceCredential", status=204))
async def revoke(
    request: Request,
    caller: Writer,
    name: DeviceName,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make a credential useless, within seconds also for who is connected with it."""
    services = services_of(request)
    if not await services.pool.run(revoke_credential, caller.tenant_id, name, id):
        raise not_found(f"credential {id} of device {name!r}")
    await services.publisher.publish([credentials_notice(caller.tenant)])
    return Response(status_code=204)


def _common_name(given: CredentialInput, tenant: str, device: str) -> str | None:
    """The name a certificate is known by.

    Raises:
        Problem: 422, it cannot be one, or a password has none.
    """
    if given.kind == "password":
        if given.common_name is not None:
            raise Problem(422, "common_name: a password has none", field="common_name")
        return None
    common_name = given.common_name or f"{tenant}/{device}"
    fault = common_name_fault(common_name, tenant)
    if fault is not None:
        raise Problem(422, f"common_name: {fault}", field="common_name")
    return common_name


async def _issued(
    services: Services,
    caller: Principal,
    device: str,
    made: DeviceCredential,
    password: str | None,
) -> Response:
    await services.publisher.publish([credentials_notice(caller.tenant)])
    settings = services.settings
    native = native_topics(f"{caller.tenant}/{device}")
    foreign = foreign_topics(
        caller.tenant, device, Foreign.of(settings.formats, settings.foreign_tenant)
    )
    shown = IssuedCredential(
        **msgspec.structs.asdict(made),
        password=password,
        publish=native.publish + foreign.publish,
        subscribe=native.subscribe + foreign.subscribe,
    )
    response = answer(shown)
    response.status_code = 201
    response.headers["Location"] = f"/v1/devices/{device}/credentials/{made.id}"
    # It holds a secret, which no proxy and no browser is to keep.
    response.headers["Cache-Control"] = "no-store"
    return response
