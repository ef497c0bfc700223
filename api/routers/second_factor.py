"""The second factor: offered, confirmed, taken away."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import Problem
from api.document.route import documented
from api.examples import users as examples
from api.identity.auth import Caller
from api.identity.sign_in import Code, own_account, prove_again, totp_secret
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.users import CodeInput, EnrolAnswer, OwnerInput, RecoveryAnswer
from api.services import services_of
from tracking.second_factor import (
    enrolment_uri,
    matching_step,
    new_recovery_codes,
    new_secret,
    recovery_digest,
)
from tracking.store.accounts import (
    confirm_second_factor,
    offer_second_factor,
    remove_second_factor,
)

router = APIRouter(prefix="/v1/auth/totp", tags=["auth"])


@router.post(
    "",
    **documented(
        "enrolSecondFactor",
        EnrolAnswer,
        example=examples.ENROL,
        body=OwnerInput,
        body_example=examples.PROOF,
        problems=[429],
    ),
)
async def enrol(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Get a secret for an authenticator app; it counts once a code of it is confirmed."""
    services = services_of(request)
    account = await own_account(services, caller)
    given = decoded(await request.body(), OwnerInput)
    await prove_again(request, account, given.password, Code(given.code))
    secret = new_secret()
    sealed = services.identity.sealed().close(f"totp:{account.id}", secret.encode())
    await services.pool.run(offer_second_factor, account, sealed)
    return answer(EnrolAnswer(secret, enrolment_uri(secret, account.email, account.tenant)))


@router.post(
    "/confirm",
    **documented(
        "confirmSecondFactor",
        RecoveryAnswer,
        example=examples.RECOVERY,
        body=CodeInput,
        body_example=examples.CODE,
        problems=[409],
    ),
)
async def confirm(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Use the second factor from now on; the recovery codes are told this once."""
    services = services_of(request)
    account = await own_account(services, caller)
    given = decoded(await request.body(), CodeInput)
    secret = totp_secret(services.identity, account, account.totp_pending)
    if secret is None:
        raise Problem(409, "no second factor waits to be confirmed: ask for one first")
    step = matching_step(secret, given.code, time.time(), after=0)
    if step is None:
        raise Problem(422, "it is not the code of this moment: is the clock right?", field="code")
    codes = new_recovery_codes()
    digests = [recovery_digest(code) for code in codes]
    if not await services.pool.run(confirm_second_factor, account, step, digests):
        raise Problem(409, "another second factor was asked for meanwhile: confirm that")
    return answer(RecoveryAnswer(codes))


@router.post(
    "/remove",
    **documented(
        "removeSecondFactor",
        status=204,
        body=OwnerInput,
        body_example=examples.PROOF,
        problems=[429],
    ),
)
async def remove(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Sign in with the password alone again."""
    services = services_of(request)
    account = await own_account(services, caller)
    given = decoded(await request.body(), OwnerInput)
    await prove_again(request, account, given.password, Code(given.code))
    await services.pool.run(remove_second_factor, account)
    return Response(status_code=204)
