"""Checks of what signing in needs: the secret key, and the OIDC providers."""

import asyncio
from collections.abc import Iterator

import aiohttp
import psycopg

from api.identity.oidc import fetch_keys
from tracking.errors import StoreError
from tracking.seal import Seal
from tracking.settings import Settings
from tracking.store.connection import connect
from tracking.store.signing_keys import list_signing_keys
from tracking.tokens import SigningKey, private_of
from waymark.doctor.finding import Finding, one_line


def check_identity(settings: Settings) -> Iterator[Finding]:
    """Whether people can sign in by password, and whether each provider tells its keys."""
    yield _secret_key(settings)
    for provider in settings.oidc:
        yield _provider(provider.issuer)


def _secret_key(settings: Settings) -> Finding:
    if settings.secret_key is None:
        return Finding(
            "api",
            "sign-in",
            "warn",
            "no WAYMARK_SECRET_KEY: nobody can sign in by password",
            "set it for every api process, for example to `openssl rand -base64 48`, and keep it",
        )
    seal = Seal(settings.secret_key.get_secret_value())
    try:
        keys = asyncio.run(_signing_keys(settings.database_url.get_secret_value()))
    except (StoreError, psycopg.Error):
        # What the database lacks was said already.
        keys = []
    if keys and not any(private_of(key, seal) for key in keys):
        return Finding(
            "api",
            "sign-in",
            "warn",
            "WAYMARK_SECRET_KEY is not the one this database was used with: second factors do not "
            "open",
            "set the former one; else `waymark user reset` whoever has a second factor",
        )
    return Finding("api", "sign-in", "ok", "WAYMARK_SECRET_KEY is set")


async def _signing_keys(database_url: str) -> list[SigningKey]:
    async with await connect(database_url, name="waymark-doctor") as conn:
        return await list_signing_keys(conn)


def _provider(issuer: str) -> Finding:
    try:
        keys = asyncio.run(fetch_keys(issuer))
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        return Finding(
            "oidc",
            "keys",
            "fail",
            f"{issuer}: {one_line(exc)}",
            "make its /.well-known/openid-configuration reachable, or correct WAYMARK_OIDC",
        )
    return Finding("oidc", "keys", "ok", f"{issuer} tells {len(keys)} keys")
