"""Signing in by password: who gets in, who does not, and what they are told."""

# ruff: noqa: S106 -- nobody's passwords

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import jwt
import psycopg
import pyotp
import pytest

from api.identity.password_threads import _THREADS
from tests.integration.api_site import api_site
from tests.integration.identity_site import PASSWORD, SECRET, People, people_of
from tracking.passwords import is_password
from tracking.store.tenants import create_tenant

ANN = "ann@acme.example"


@pytest.fixture
async def people(
    database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    async with people_of(database_url, valkey_url) as people:
        yield people


@pytest.fixture
def _hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that no busy machine outlasts; how long they are is told by the tests of `guessing`."""

    def wait_s(failed: int, *, free: int, longest_s: int) -> int:
        return 3_600 if failed >= free and longest_s else 0

    monkeypatch.setattr("tracking.guessing.wait_s", wait_s)


class TestGettingIn:
    async def test_an_invited_user_sets_a_password_and_signs_in(self, people: People) -> None:
        user = await people.invite("Ann@Acme.example", name="Ann Larsen")
        assert user["invited"]
        accepted = await people.post("invite", invite=user["invite"], password=PASSWORD)
        assert accepted.json() == {"tenant": "default", "email": ANN}
        answer = await people.try_in("ANN@acme.example", tenant="default")
        assert answer.headers["cache-control"] == "no-store"
        tokens = answer.json()
        assert tokens["expires_in"] == 900
        me = (await people.get("auth/me", tokens["access_token"])).json()
        assert (me["kind"], me["tenant"], me["role"]) == ("user", "default", "dispatcher")
        assert me["user"]["name"] == "Ann Larsen"
        assert me["user"]["signed_in_at"] is not None
        assert me["session_id"] == tokens["session_id"]
        assert (await people.get("devices", tokens["access_token"])).status_code == 200
        assert (await people.get("users", tokens["access_token"])).status_code == 403

    async def test_an_invitation_works_once_and_for_a_week(self, people: People) -> None:
        user = await people.invite(ANN)
        people.sql("UPDATE user_account SET invite_expires_at = now() - interval '1 s'")
        late = await people.post("invite", invite=user["invite"], password=PASSWORD)
        assert late.status_code == 404
        people.sql("UPDATE user_account SET invite_expires_at = now() + interval '1 day'")
        both = await asyncio.gather(
            *(people.post("invite", invite=user["invite"], password=PASSWORD) for _ in range(2))
        )
        assert sorted(answer.status_code for answer in both) == [200, 404]

    @pytest.mark.parametrize(
        "password",
        ["short", "Password1234!", "ann ann ann!", "ann@acme.example", "123456789012", "x" * 300],
    )
    async def test_a_password_that_is_guessed_first_is_refused_by_name(
        self, people: People, password: str
    ) -> None:
        user = await people.invite(ANN)
        refused = await people.post("invite", invite=user["invite"], password=password)
        assert refused.status_code == 422
        assert refused.json()["field"] == "password"
        assert (await people.post("invite", invite=user["invite"], password=PASSWORD)).is_success

    async def test_nothing_of_a_password_is_kept_but_argon2id(self, people: People) -> None:
        await people.join(ANN)
        ((kept, invite),) = people.sql("SELECT password, invite FROM user_account")
        assert kept.startswith("$argon2id$v=19$m=47104,t=2,p=1$")
        assert invite is None

    async def test_a_hash_of_other_parameters_is_renewed_by_signing_in(
        self, people: People
    ) -> None:
        import argon2  # noqa: PLC0415 -- of this test alone

        await people.join(ANN)
        weak = argon2.PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
        with psycopg.connect(people.database_url) as conn:
            conn.execute("UPDATE user_account SET password = %s", (weak,))
        await people.sign_in(ANN)
        ((kept,),) = people.sql("SELECT password FROM user_account")
        assert "m=47104" in kept
        await people.sign_in(ANN)

    async def test_without_a_secret_key_it_says_what_is_missing(
        self, database_url: str, valkey_url: str
    ) -> None:
        async with api_site(database_url, valkey_url) as site:
            people = People(site, database_url)
            refused = await people.try_in(ANN)
            assert refused.status_code == 503
            assert "WAYMARK_SECRET_KEY" in refused.json()["detail"]
            assert (await site.get("/v1/devices")).status_code == 200
            assert (await site.get("/v1/auth/jwks.json")).json() == {"keys": []}


class TestBeingKeptOut:
    async def test_wrong_address_password_tenant_and_disabled_look_the_same(
        self, people: People, database_url: str
    ) -> None:
        await people.join(ANN)
        gone = await people.join("bob@acme.example")
        create_tenant(database_url, "other")
        disabled = await people.admin.patch(f"/v1/users/{gone['id']}", json={"disabled": True})
        assert disabled.json()["disabled"]
        await people.invite("new@acme.example")
        answers = [
            await people.try_in(ANN, "not the password"),
            await people.try_in("nobody@acme.example"),
            await people.try_in("bob@acme.example"),
            await people.try_in("new@acme.example"),
            await people.try_in(ANN, tenant="other"),
            await people.try_in(ANN, tenant="nowhere"),
        ]
        told = {
            (a.status_code, a.json()["detail"], a.json()["field"], a.json()["type"])
            for a in answers
        }
        assert len(told) == 1
        assert told.pop()[0] == 401

    async def test_it_takes_about_as_long_whoever_it_is(self, people: People) -> None:
        await people.join(ANN)

        async def took_s(n: int, email: str) -> float:
            started = time.perf_counter()
            answer = await people.try_in(email.format(n), "not the password")
            assert answer.status_code == 401
            return time.perf_counter() - started

        times = [(await took_s(n, ANN), await took_s(n, "x{}@a.example")) for n in range(4)]
        # The quickest of each: what else the machine does only adds.
        known_s, unknown_s = (min(each) for each in zip(*times, strict=True))
        # A hash is some 70 ms; without it an answer takes a few.
        assert unknown_s > 0.5 * known_s
        assert known_s > 0.5 * unknown_s

    @pytest.mark.usefixtures("_hours")
    async def test_after_five_guesses_one_waits_and_many_at_once_are_no_way_around(
        self, people: People
    ) -> None:
        await people.join(ANN)
        answers = await asyncio.gather(*(people.try_in(ANN, "not this") for _ in range(12)))
        codes = [answer.status_code for answer in answers]
        assert codes.count(401) == 5
        assert codes.count(429) == 7
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
        # The right password too: else it would tell that it is.
        assert (await people.try_in(ANN)).status_code == 429
        people.sql("UPDATE sign_in_guess SET retry_at = now()")
        assert (await people.try_in(ANN, "not this")).status_code == 401
        assert (await people.try_in(ANN)).status_code == 429
        assert people.sql("SELECT max(failed) FROM sign_in_guess") == [(6,)]
        people.sql("UPDATE sign_in_guess SET retry_at = now()")
        await people.sign_in(ANN)
        # It was the owner: all is forgotten.
        for _ in range(4):
            assert (await people.try_in(ANN, "not this")).status_code == 401
        await people.sign_in(ANN)

    @pytest.mark.usefixtures("_hours")
    async def test_where_the_owner_was_known_a_stranger_does_not_keep_them_out(
        self, people: People
    ) -> None:
        await people.join(ANN)
        await people.sign_in(ANN)
        # Guessed at from all over the world.
        people.sql(
            "UPDATE sign_in_guess SET failed = 99, retry_at = now() + interval '1 min' "
            "WHERE trusted_until IS NULL"
        )
        await people.sign_in(ANN)
        people.sql("UPDATE sign_in_guess SET trusted_until = now() WHERE trusted_until > now()")
        people.sql("UPDATE sign_in_guess SET retry_at = now() + interval '1 min' WHERE failed = 0")
        assert (await people.try_in(ANN)).status_code == 429

    @pytest.mark.usefixtures("_hours")
    async def test_addresses_that_do_not_exist_wait_like_those_that_do(
        self, people: People
    ) -> None:
        for tenant in ("default", "nowhere"):
            answers = [await people.try_in("nobody@acme.example", tenant=tenant) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429]

    async def test_what_was_counted_is_forgotten_after_a_day(self, people: People) -> None:
        await people.join(ANN)
        await people.try_in(ANN, "not this")
        await people.try_in("nobody@acme.example")
        people.sql("UPDATE sign_in_guess SET forget_at = now(), failed = 50")
        await people.try_in("somebody@acme.example")
        assert people.sql("SELECT max(failed), count(*) FROM sign_in_guess") == [(1, 2)]

    async def test_too_many_at_once_are_sent_away_before_anything_is_counted(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.identity.password_threads._WAITING", 0)
        await people.invite(ANN)
        refused = await people.try_in(ANN)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert people.sql("SELECT count(*) FROM sign_in_guess") == [(0,)]

    async def test_while_passwords_are_hashed_others_are_answered(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish, begun = threading.Event(), threading.Semaphore(0)

        def slow(kept: str | None, password: str) -> bool:
            begun.release()
            assert finish.wait(60)
            return is_password(kept, password)

        monkeypatch.setattr("api.identity.sign_in.is_password", slow)
        busy = [asyncio.create_task(people.try_in(f"{n}@a.example")) for n in range(15)]
        for _ in range(_THREADS):
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        assert (await people.admin.get("/v1/devices")).status_code == 200
        # As many at a time as there are threads; the others wait for their turn.
        assert not begun.acquire(blocking=False)
        finish.set()
        assert {answer.status_code for answer in await asyncio.gather(*busy)} == {401}

    @pytest.mark.parametrize("act", ["reset", "disable"])
    async def test_who_signs_in_while_being_locked_out_stays_out(
        self, people: People, monkeypatch: pytest.MonkeyPatch, act: str
    ) -> None:
        user = await people.join(ANN)
        begun, finish = threading.Event(), threading.Event()

        def slow(kept: str | None, password: str) -> bool:
            begun.set()
            assert finish.wait(60)
            return is_password(kept, password)

        monkeypatch.setattr("api.identity.sign_in.is_password", slow)
        entering = asyncio.create_task(people.try_in(ANN))
        assert await asyncio.to_thread(begun.wait, 60)
        path = f"/v1/users/{user['id']}"
        if act == "reset":
            assert (await people.admin.post(f"{path}/reset")).status_code == 200
        else:
            assert (await people.admin.patch(path, json={"disabled": True})).status_code == 200
        finish.set()
        assert (await entering).status_code == 401
        assert people.sql("SELECT count(*) FROM user_session") == [(0,)]


class TestPasswords:
    async def test_changing_it_ends_the_other_sessions(self, people: People) -> None:
        await people.join(ANN)
        here, there = await people.sign_in(ANN), await people.sign_in(ANN)
        new = "nine loud geese walk"
        wrong = await people.post(
            "password", here["access_token"], password="not this one", new_password=new
        )
        assert wrong.status_code == 401
        poor = await people.post(
            "password", here["access_token"], password=PASSWORD, new_password="ann@acme.example"
        )
        assert (poor.status_code, poor.json()["field"]) == (422, "new_password")
        done = await people.post(
            "password", here["access_token"], password=PASSWORD, new_password=new
        )
        assert done.status_code == 204
        assert (await people.get("auth/me", here["access_token"])).status_code == 200
        assert (await people.get("auth/me", there["access_token"])).status_code == 401
        assert (await people.refresh(there["refresh_token"])).status_code == 401
        assert (await people.refresh(here["refresh_token"])).status_code == 200
        assert (await people.try_in(ANN)).status_code == 401
        await people.sign_in(ANN, password=new)

    @pytest.mark.usefixtures("_hours")
    async def test_a_stolen_access_token_is_no_way_to_guess_the_password(
        self, people: People
    ) -> None:
        await people.join(ANN)
        token = (await people.sign_in(ANN))["access_token"]
        answers = [
            await people.post("password", token, password=f"guess {n}", new_password=PASSWORD)
            for n in range(6)
        ]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]

    async def test_a_key_has_no_password_and_no_sessions(self, people: People) -> None:
        key = people.site.key
        assert (await people.get("auth/sessions", key)).status_code == 403
        assert (await people.get("auth/me", key)).json()["kind"] == "key"
        refused = await people.post("password", key, password="x", new_password=PASSWORD)
        assert refused.status_code == 403


async def test_the_access_token_can_be_verified_by_others(people: People) -> None:
    user = await people.join(ANN)
    token = (await people.sign_in(ANN))["access_token"]
    async with people.anybody as client:
        keys = (await client.get("/v1/auth/jwks.json")).json()
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    (key,) = [jwt.PyJWK(key) for key in keys["keys"] if key["kid"] == header["kid"]]
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="waymark", issuer="waymark")
    assert claims["sub"] == str(user["id"])
    assert (claims["tenant"], claims["role"]) == ("default", "dispatcher")
    assert claims["exp"] - claims["iat"] == 900


async def test_what_happened_stands_in_the_audit_log_and_no_secret_does(people: People) -> None:
    await people.join(ANN)
    tokens = await people.sign_in(ANN)
    totp, codes = await people.factor(tokens["access_token"])
    await people.try_in(ANN, "not the password")
    await people.sign_in(ANN, code=codes[0])
    await people.post("revoke", refresh_token=tokens["refresh_token"])
    lines = (await people.admin.get("/v1/audit", params={"limit": 100})).json()["items"]
    acts = {(line["noun"], line["action"], line["actor_name"]) for line in lines}
    assert {
        ("users", "create", "admin"),
        ("auth", "invite_accepted", ANN),
        ("auth", "sign_in", ANN),
        ("auth", "sign_in_failed", ANN),
        ("auth", "recovery_code_used", ANN),
        ("auth", "update", ANN),
    } <= acts
    text = repr(lines)
    for secret in (PASSWORD, "argon2", totp.secret, codes[0], codes[1], tokens["refresh_token"]):
        assert secret not in text
    assert isinstance(totp, pyotp.TOTP)
    assert SECRET not in text
