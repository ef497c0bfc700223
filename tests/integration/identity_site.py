"""An api that people sign in to, and people."""

# ruff: noqa: S105 -- nobody's passwords

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pyotp

from tests.integration.api_site import Site, api_site, client_of
from tracking.store.keys import create_key

SECRET = "a secret key of a test, long enough"
PASSWORD = "five quiet herons fly"
Json = dict[str, Any]


class People:
    """Users of tenant `default`, made and used over HTTP alone."""

    def __init__(self, site: Site, database_url: str) -> None:
        self.site = site
        self.admin = site.client
        self.database_url = database_url

    @property
    def anybody(self) -> httpx.AsyncClient:
        """A client that shows nothing."""
        return httpx.AsyncClient(base_url=self.site.url, timeout=60, trust_env=False)

    async def post(self, path: str, token: str | None = None, **body: object) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.anybody as client:
            return await client.post(f"/v1/auth/{path}", json=body, headers=headers)

    async def get(self, path: str, token: str) -> httpx.Response:
        async with client_of(self.site.url, token) as client:
            return await client.get(f"/v1/{path}")

    async def invite(self, email: str, role: str = "dispatcher", **more: str) -> Json:
        answer = await self.admin.post("/v1/users", json={"email": email, "role": role, **more})
        assert answer.status_code == 201, answer.text
        user: Json = answer.json()
        return user

    async def join(self, email: str, role: str = "dispatcher") -> Json:
        """A user who has set the usual password."""
        user = await self.invite(email, role)
        answer = await self.post("invite", invite=user["invite"], password=PASSWORD)
        assert answer.status_code == 200, answer.text
        return user

    async def try_in(self, email: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        return await self.post("token", None, email=email, password=password, **more)

    async def sign_in(self, email: str, password: str = PASSWORD, **more: str) -> Json:
        answer = await self.try_in(email, password, **more)
        assert answer.status_code == 200, answer.text
        tokens: Json = answer.json()
        return tokens

    async def refresh(self, token: str) -> httpx.Response:
        return await self.post("refresh", refresh_token=token)

    async def factor(self, access_token: str) -> tuple[pyotp.TOTP, list[str]]:
        """A second factor for whoever has this token, and its recovery codes; no code is spent."""
        offered = await self.post("totp", access_token, password=PASSWORD)
        assert offered.status_code == 200, offered.text
        totp = pyotp.TOTP(offered.json()["secret"])
        confirmed = await self.post("totp/confirm", access_token, code=totp.now())
        assert confirmed.status_code == 200, confirmed.text
        self.sql("UPDATE user_account SET totp_step = 0")
        return totp, confirmed.json()["recovery_codes"]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What only time would bring about."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            done = conn.execute(statement.encode(), values or None)
            return done.fetchall() if done.description else []


@asynccontextmanager
async def people_of(
    database_url: str, valkey_url: str, **overrides: object
) -> AsyncIterator[People]:
    """Serve for the time of the context; its client is an admin's."""
    key = create_key(database_url, "default", "admin", "admin")
    settings = {"secret_key": SECRET, **overrides}
    async with api_site(database_url, valkey_url, key=key, **settings) as site:
        yield People(site, database_url)
