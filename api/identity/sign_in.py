"""Signing in by password: what is asked in which order, and what is told to whom.

A wrong address, a wrong password and a disabled user get one answer, in about one time.
"""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from fastapi import Request

from api.conventions.problems import Problem, unauthorized
from api.identity.parts import Identity
from api.schemas.users import SignInInput, TokenAnswer
from api.services import Services, services_of
from tracking.access import Principal
from tracking.errors import InputError
from tracking.passwords import check_password, hash_password, is_outdated, is_password
from tracking.refreshing import new_refresh_token, successor_of
from tracking.second_factor import matching_step, recovery_digest
from tracking.store.accounts import (
    Account,
    charge_guess,
    find_account,
    forgive_guesses,
    get_account,
    rehash_password,
    spend_recovery,
    spend_step,
)
from tracking.store.acting import SYSTEM, Mandate, acting
from tracking.store.audit import record
from tracking.store.keys import digest_of
from tracking.store.sessions import Client, end_session, refresh_session, start_session, token_owner
from tracking.store.users import end_sessions
from tracking.tokens import ACCESS_S, Access
from tracking.users import normal_email

logger = logging.getLogger(__name__)


class Code(NamedTuple):
    """That a second factor is asked for, where there is one; and what was given for it."""

    given: str | None


_WRONG = "this tenant, e-mail address and password do not belong together"
_MAX_AGENT = 256


async def sign_in(request: Request, given: SignInInput) -> TokenAnswer:
    """Begin a session.

    Raises:
        Problem: 401, what was given is not right, or a code is needed; 429, guessed too often; 503,
            the server has no secret key.
    """
    services = services_of(request)
    services.identity.sealed()
    email = normal_email(given.email)
    token = new_refresh_token()
    with acting(SYSTEM):
        account = await services.pool.run(find_account, given.tenant, email)
        account = await _proved(
            request, account, (given.tenant, email), given.password, Code(given.code)
        )
        if is_outdated(account.password or ""):
            renewed = await services.identity.threads.run(hash_password, given.password)
            await services.pool.run(rehash_password, account, renewed)
            account = account._replace(password=renewed)
        started = await services.pool.run(
            start_session, account, digest_of(token), client_of(request)
        )
    if started is None:
        raise unauthorized(_WRONG)
    principal = account.principal._replace(session_id=started.id)
    await note(request, principal, "sign_in", {"session": str(started.id)})
    return await _tokens(services, principal, token, started.expires_at)


async def refresh(request: Request, token: str) -> TokenAnswer:
    """Exchange a refresh token.

    Raises:
        Problem: 401, it is not good (any more); if it was spent before, its session has ended now.
    """
    services = services_of(request)
    successor = successor_of(token, services.identity.sealed())
    with acting(SYSTEM):
        done = await services.pool.run(refresh_session, digest_of(token), digest_of(successor))
    if done is None or done.verdict == "over":
        raise unauthorized("this refresh token is unknown, has expired or was revoked: sign in")
    if done.verdict == "reused":
        session = {"session": str(done.principal.session_id)}
        await note(request, done.principal, "refresh_token_reused", session)
        raise unauthorized("this refresh token was used before, so its session has ended: sign in")
    return await _tokens(services, done.principal, successor, done.expires_at)


async def sign_out(request: Request, token: str, *, everywhere: bool) -> None:
    """End the session of a refresh token, or all of its owner's, if it is anybody's."""
    pool = services_of(request).pool
    with acting(SYSTEM):
        who = await pool.run(token_owner, digest_of(token))
    if who is None:
        return
    access = Access.of(who)
    with acting(_mandate(request, who)):
        if everywhere:
            await pool.run(end_sessions, who.tenant_id, access.user_id, "signed_out")
        else:
            await pool.run(end_session, who.tenant_id, access.user_id, access.session_id)


async def prove_again(
    request: Request, account: Account, password: str, code: Code | None = None
) -> None:
    """Let pass who proves once more that the account is theirs; without `code` by the password.

    Raises:
        Problem: as `sign_in`.
    """
    with acting(SYSTEM):
        await _proved(request, account, (account.tenant, account.email), password, code)


async def own_account(services: Services, caller: Principal) -> Account:
    """The account of who asks.

    Raises:
        Problem: 403, it is a key, or somebody an OIDC provider sent.
    """
    account = None
    if caller.user_id is not None:
        account = await services.pool.run(get_account, caller.tenant_id, caller.user_id)
    if account is None:
        raise Problem(403, "only who signs in by password has a password and sessions here")
    return account


async def hashed(request: Request, account: Account, password: str, *, field: str) -> str:
    """What is kept of a new password.

    Raises:
        Problem: 422, it is guessed first.
    """
    try:
        check_password(password, email=account.email, name=account.name)
    except InputError as exc:
        raise Problem(422, str(exc), field=field) from None
    threads = services_of(request).identity.threads
    threads.refuse_if_busy()
    return await threads.run(hash_password, password)


def totp_secret(identity: Identity, account: Account, sealed: bytes | None) -> str | None:
    """The secret of a second factor, None if there is none, or under another secret key."""
    opened = None if sealed is None else identity.sealed().open(f"totp:{account.id}", sealed)
    if sealed is not None and opened is None:
        logger.error("the second factor of user %d is sealed with another key", account.id)
    return None if opened is None else opened.decode()


async def note(
    request: Request, who: Principal, action: str, detail: Mapping[str, object] | None = None
) -> None:
    """Write into the audit log what somebody did, or somebody did in their name."""
    with acting(_mandate(request, who)):
        await services_of(request).pool.run(record, action, "auth", who.name, detail)


def _mandate(request: Request, who: Principal) -> Mandate:
    address = client_of(request).address or ""
    return Mandate.of(who, request_id=request.state.request_id, ip=address)


def client_of(request: Request) -> Client:
    """From where a request comes."""
    agent = request.headers.get("user-agent", "")[:_MAX_AGENT]
    return Client(request.client.host if request.client else None, agent or None)


async def _tokens(
    services: Services, principal: Principal, refresh_token: str, expires_at: datetime
) -> TokenAnswer:
    access = Access.of(principal)
    return TokenAnswer(
        access_token=await services.identity.keyring.issue(access),
        expires_in=ACCESS_S,
        refresh_token=refresh_token,
        refresh_expires_at=expires_at,
        session_id=access.session_id,
    )


async def _proved(
    request: Request,
    account: Account | None,
    whose: tuple[str, str],
    password: str,
    code: Code | None,
) -> Account:
    """Let pass who knows the password, and has the second factor if there is one.

    Each try is counted before it is looked at; what was counted is forgiven to the owner.
    """
    services = services_of(request)
    threads, pool = services.identity.threads, services.pool
    threads.refuse_if_busy()
    address = client_of(request).address or ""
    wait_s = await pool.run(charge_guess, *whose, address)
    if wait_s > 0:
        after = {"Retry-After": str(int(wait_s) + 1)}
        raise Problem(429, f"too many wrong tries: wait {int(wait_s) + 1} s", headers=after)
    right = await threads.run(is_password, account and account.password, password)
    if account is None or not right or account.disabled:
        if account is not None:
            await note(request, account.principal, "sign_in_failed")
        raise unauthorized(_WRONG)
    if code is not None and account.totp_secret is not None:
        await _prove_second(request, account, code.given)
    await pool.run(forgive_guesses, *whose, address)
    return account


async def _prove_second(request: Request, account: Account, code: str | None) -> None:
    if not code:
        raise _wrong_code("the code of your authenticator app is needed too")
    services = services_of(request)
    secret = totp_secret(services.identity, account, account.totp_secret)
    step = secret and matching_step(secret, code, time.time(), after=account.totp_step)
    if step and await services.pool.run(spend_step, account, step):
        return
    if await services.pool.run(spend_recovery, account, recovery_digest(code)):
        await note(request, account.principal, "recovery_code_used")
        return
    await note(request, account.principal, "sign_in_failed", {"second_factor": True})
    raise _wrong_code("this code is wrong, or was used before")


def _wrong_code(detail: str) -> Problem:
    return Problem(401, detail, field="code", headers={"WWW-Authenticate": "Bearer"})
