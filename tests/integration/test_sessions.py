"""Sessions: refreshed, listed, ended; and what a spent token means."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api.feed import session
from tests.integration.api_site import api_site, client_of
from tests.integration.feed_client import feed_client
from tests.integration.identity_site import SECRET, People, people_of
from tests.integration.test_api_feed import close_code
from tracking.store.keys import create_key

ANN = "ann@acme.example"


@pytest.fixture
async def people(
    database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    async with people_of(database_url, valkey_url) as people:
        await people.join(ANN)
        yield people


async def me(people: People, token: str) -> int:
    return (await people.get("auth/me", token)).status_code


async def refused(people: People, tokens: dict[str, str]) -> None:
    """Wait until an access token is worth nothing."""
    while await me(people, tokens["access_token"]) == 200:  # noqa: ASYNC110 -- nobody tells us
        await asyncio.sleep(0.05)


async def grace_is_over(people: People) -> None:
    people.sql("UPDATE refresh_token SET spent_at = spent_at - interval '11 s'")


class TestRefreshing:
    async def test_each_token_is_exchanged_for_the_next_in_the_same_session(
        self, people: People
    ) -> None:
        tokens = await people.sign_in(ANN)
        seen = {tokens["refresh_token"]}
        for _ in range(3):
            answer = await people.refresh(tokens["refresh_token"])
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json()["session_id"] == tokens["session_id"]
            tokens = answer.json()
            seen.add(tokens["refresh_token"])
            assert await me(people, tokens["access_token"]) == 200
        assert len(seen) == 4

    async def test_only_digests_are_kept(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        rows = people.sql("SELECT row_to_json(r)::text FROM refresh_token r")
        assert tokens["refresh_token"][4:] not in json.dumps(rows)

    async def test_a_spent_token_that_comes_back_ends_the_session_for_both(
        self, people: People
    ) -> None:
        tokens = await people.sign_in(ANN)
        other = await people.sign_in(ANN)
        newer = (await people.refresh(tokens["refresh_token"])).json()
        await grace_is_over(people)
        thief = await people.refresh(tokens["refresh_token"])
        assert thief.status_code == 401
        assert "used before" in thief.json()["detail"]
        assert (await people.refresh(newer["refresh_token"])).status_code == 401
        assert await me(people, newer["access_token"]) == 401
        # The same person's other sessions are another family.
        assert (await people.refresh(other["refresh_token"])).status_code == 200
        lines = (await people.admin.get("/v1/audit", params={"noun": "auth"})).json()["items"]
        assert "refresh_token_reused" in {line["action"] for line in lines}

    async def test_refreshing_at_once_locks_nobody_out(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        for _ in range(3):
            answers = await asyncio.gather(
                *(people.refresh(tokens["refresh_token"]) for _ in range(12))
            )
            assert {answer.status_code for answer in answers} == {200}
            successors = {answer.json()["refresh_token"] for answer in answers}
            assert len(successors) == 1
            tokens = answers[0].json()
        assert await me(people, tokens["access_token"]) == 200
        # One row for each that was given out: the race made no second family.
        assert people.sql("SELECT count(*) FROM refresh_token") == [(4,)]

    async def test_a_lost_answer_can_be_asked_for_again(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        lost = (await people.refresh(tokens["refresh_token"])).json()
        again = (await people.refresh(tokens["refresh_token"])).json()
        assert again["refresh_token"] == lost["refresh_token"]
        assert again["refresh_expires_at"] == lost["refresh_expires_at"]

    async def test_within_seconds_too_a_token_is_reused_once_its_successor_is_spent(
        self, people: People
    ) -> None:
        tokens = await people.sign_in(ANN)
        newer = (await people.refresh(tokens["refresh_token"])).json()
        newest = (await people.refresh(newer["refresh_token"])).json()
        assert (await people.refresh(tokens["refresh_token"])).status_code == 401
        assert (await people.refresh(newest["refresh_token"])).status_code == 401

    async def test_of_a_thief_and_the_owner_who_race_neither_keeps_a_session(
        self, people: People
    ) -> None:
        """Both hold the same token; whoever comes second after the grace ends it for both."""
        for _ in range(4):
            tokens = await people.sign_in(ANN)
            first = (await people.refresh(tokens["refresh_token"])).json()
            await grace_is_over(people)
            answers = await asyncio.gather(
                people.refresh(first["refresh_token"]), people.refresh(tokens["refresh_token"])
            )
            assert answers[1].status_code == 401
            left = [a.json()["refresh_token"] for a in answers if a.status_code == 200]
            assert [(await people.refresh(token)).status_code for token in left] in ([], [401])

    async def test_a_token_ends_after_a_week_and_a_session_after_a_month(
        self, people: People
    ) -> None:
        tokens = await people.sign_in(ANN)
        ((week, month),) = people.sql(
            "SELECT extract(epoch FROM r.expires_at - now()) / 86400, "
            "extract(epoch FROM s.ends_at - now()) / 86400 "
            "FROM refresh_token r JOIN user_session s ON s.id = r.session_id"
        )
        assert 6.9 < week <= 7
        assert 29.9 < month <= 30
        people.sql("UPDATE user_session SET ends_at = now() + interval '1 day'")
        newer = (await people.refresh(tokens["refresh_token"])).json()
        ((days,),) = people.sql(
            "SELECT extract(epoch FROM max(expires_at - now())) / 86400 FROM refresh_token "
            "WHERE spent_at IS NULL"
        )
        assert days <= 1
        people.sql("UPDATE refresh_token SET expires_at = now()")
        assert (await people.refresh(newer["refresh_token"])).status_code == 401

    async def test_what_is_no_refresh_token_is_refused(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        for wrong in ("wmr_" + "x" * 43, tokens["access_token"][:200], "x"):
            assert (await people.refresh(wrong)).status_code == 401
        assert await me(people, tokens["refresh_token"]) == 401


class TestEnding:
    async def test_sessions_are_listed_and_ended_one_by_one(self, people: People) -> None:
        here, there = await people.sign_in(ANN), await people.sign_in(ANN)
        await people.join("bob@acme.example")
        bob = await people.sign_in("bob@acme.example")
        listed = (await people.get("auth/sessions", here["access_token"])).json()["items"]
        assert {one["id"]: one["current"] for one in listed} == {
            here["session_id"]: True,
            there["session_id"]: False,
        }
        assert listed[0]["user_agent"].startswith("python-httpx")
        assert listed[0]["address"] == "127.0.0.1"
        async with client_of(people.site.url, here["access_token"]) as client:
            path = f"/v1/auth/sessions/{there['session_id']}"
            assert (await client.delete(path)).status_code == 204
            assert (await client.delete(path)).status_code == 404
            theirs = await client.delete(f"/v1/auth/sessions/{bob['session_id']}")
            assert theirs.status_code == 404
        assert await me(people, there["access_token"]) == 401
        assert await me(people, bob["access_token"]) == 200

    async def test_signing_out_ends_this_session_or_all(self, people: People) -> None:
        first, second, third = [await people.sign_in(ANN) for _ in range(3)]
        done = await people.post("revoke", refresh_token=first["refresh_token"])
        assert done.status_code == 204
        assert await me(people, first["access_token"]) == 401
        assert await me(people, second["access_token"]) == 200
        await people.post("revoke", refresh_token=second["refresh_token"], all=True)
        assert await me(people, third["access_token"]) == 401
        # Once more, or with nonsense, nothing is told.
        for token in (first["refresh_token"], "wmr_nonsense"):
            assert (await people.post("revoke", refresh_token=token)).status_code == 204

    async def test_what_was_revoked_works_for_seconds_at_most(
        self, database_url: str, valkey_url: str
    ) -> None:
        async with people_of(database_url, valkey_url) as people:
            await people.join("eve@acme.example")
            tokens = await people.sign_in("eve@acme.example")
            assert await me(people, tokens["access_token"]) == 200
            await people.post("revoke", refresh_token=tokens["refresh_token"])
            async with asyncio.timeout(15):
                await refused(people, tokens)

    async def test_a_disabled_user_is_out_and_stays_out_when_enabled_again(
        self, people: People
    ) -> None:
        tokens = await people.sign_in(ANN)
        user = (await people.admin.get("/v1/users")).json()["items"][0]
        path = f"/v1/users/{user['id']}"
        assert (await people.admin.patch(path, json={"disabled": True})).status_code == 200
        assert await me(people, tokens["access_token"]) == 401
        assert (await people.refresh(tokens["refresh_token"])).status_code == 401
        assert (await people.try_in(ANN)).status_code == 401
        assert (await people.admin.patch(path, json={"disabled": False})).status_code == 200
        assert await me(people, tokens["access_token"]) == 401
        await people.sign_in(ANN)

    async def test_another_role_holds_in_open_sessions(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        user = (await people.admin.get("/v1/users")).json()["items"][0]
        async with client_of(people.site.url, tokens["access_token"]) as ann:
            fence = {"shape": {"type": "Circle", "center": [5, 52], "radius_m": 100}}
            assert (await ann.put("/v1/fences/a", json=fence)).is_success
            await people.admin.patch(f"/v1/users/{user['id']}", json={"role": "viewer"})
            assert (await ann.put("/v1/fences/b", json=fence)).status_code == 403
            assert (await ann.get("/v1/fences")).status_code == 200


class TestTheFeed:
    async def test_an_access_token_opens_the_feed_and_its_end_closes_it(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_GUARD_S", 0.05)
        tokens = await people.sign_in(ANN)
        async with feed_client(people.site, header=False, token=tokens["access_token"]) as client:
            await client.subscribe()
            await people.post("revoke", refresh_token=tokens["refresh_token"])
            assert await close_code(client) == session.UNAUTHORIZED

    async def test_the_feed_lives_on_past_the_end_of_a_token_by_the_next_one(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "_GUARD_S", 0.05)
        monkeypatch.setattr("tracking.tokens.LEEWAY_S", 0)
        monkeypatch.setattr("tracking.tokens.ACCESS_S", 2)
        tokens = await people.sign_in(ANN)
        async with feed_client(people.site, header=False, token=tokens["access_token"]) as client:
            await client.subscribe()
            monkeypatch.setattr("tracking.tokens.ACCESS_S", 900)
            newer = (await people.refresh(tokens["refresh_token"])).json()
            await client.send(op="auth", token=newer["access_token"])
            async with asyncio.timeout(20):
                await refused(people, tokens)
            await client.settle()
            assert client.of("pong")
        async with feed_client(people.site, header=False, token=tokens["access_token"]) as client:
            assert await close_code(client) == session.UNAUTHORIZED


class TestSigningKeys:
    async def test_two_apis_that_start_at_once_make_one_key_and_know_each_other(
        self, people: People, database_url: str, valkey_url: str
    ) -> None:
        people.sql("DELETE FROM signing_key")
        key = create_key(database_url, "default", "second", "admin")
        async with (
            api_site(database_url, valkey_url, key=key, secret_key=SECRET) as one,
            api_site(database_url, valkey_url, key=key, secret_key=SECRET) as two,
        ):
            both = [People(one, database_url), People(two, database_url)]
            tokens = await asyncio.gather(*(each.sign_in(ANN) for each in both))
            assert people.sql("SELECT count(*) FROM signing_key") == [(1,)]
            for each in both:
                for token in tokens:
                    assert await me(each, token["access_token"]) == 200

    async def test_an_old_key_is_followed_by_a_new_one_and_its_tokens_stay_good(
        self, people: People, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.identity.keyring._READ_AGAIN_S", 0.0)
        old = await people.sign_in(ANN)
        people.sql("UPDATE signing_key SET made_at = now() - interval '30 days'")
        await people.sign_in(ANN)
        kids = [row[0] for row in people.sql("SELECT kid FROM signing_key ORDER BY made_at")]
        assert len(kids) == 2
        younger = "UPDATE signing_key SET made_at = now() - %s::interval WHERE kid = %s"
        # Announced for an hour, then it signs.
        people.sql(younger, "2 h", kids[1])
        new = await people.sign_in(ANN)
        assert [await me(people, t["access_token"]) for t in (old, new)] == [200, 200]
        used = Counter(map(kid_of, (old, new)))
        assert used == Counter(kids)
        people.sql(younger, "2 d", kids[1])
        await people.sign_in(ANN)
        assert people.sql("SELECT kid FROM signing_key") == [(kids[1],)]
        assert await me(people, old["access_token"]) == 401

    async def test_under_another_secret_key_everything_goes_on_but_second_factors(
        self, people: People, database_url: str, valkey_url: str
    ) -> None:
        tokens = await people.sign_in(ANN)
        key = create_key(database_url, "default", "second", "admin")
        async with api_site(database_url, valkey_url, key=key, secret_key=SECRET[::-1]) as site:
            moved = People(site, database_url)
            assert await me(moved, tokens["access_token"]) == 200
            again = await moved.refresh(tokens["refresh_token"])
            assert again.status_code == 200
            assert await me(moved, again.json()["access_token"]) == 200
            await moved.sign_in(ANN)
        ((sealed,),) = people.sql("SELECT sealed FROM signing_key ORDER BY made_at LIMIT 1")
        assert len(sealed) == 12 + 32 + 16

    async def test_a_token_of_somebody_else_s_key_is_refused(self, people: People) -> None:
        tokens = await people.sign_in(ANN)
        head, body, signature = tokens["access_token"].split(".")
        flipped = signature[:-5] + ("A" if signature[-5] != "A" else "B") + signature[-4:]
        assert await me(people, f"{head}.{body}.{flipped}") == 401
        assert await me(people, f"{head}.{body}.") == 401


def kid_of(tokens: dict[str, str]) -> str:
    import jwt  # noqa: PLC0415 -- of these tests alone

    return str(jwt.get_unverified_header(tokens["access_token"])["kid"])


async def test_what_these_routes_do_not_know_is_refused(people: People) -> None:
    async with people.anybody as client:
        answers = [
            await client.post("/v1/auth/token", content=b"{"),
            await client.post("/v1/auth/token", json={"email": "a@b"}),
            await client.post("/v1/auth/refresh", json={"refresh_token": 1}),
            await client.post("/v1/auth/revoke", json={"refresh_token": "x", "more": 1}),
            await client.post("/v1/auth/refresh?x=1", json={"refresh_token": "x"}),
        ]
    assert [answer.status_code for answer in answers] == [422] * 5
    assert [answer.json()["field"] for answer in answers] == [
        None,
        "password",
        "refresh_token",
        "more",
        "x",
    ]
