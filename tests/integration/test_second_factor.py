"""The second factor over HTTP: asked for, spent, replaced, lost."""

# ruff: noqa: S106 -- nobody's passwords

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.identity_site import PASSWORD, People, people_of

ANN = "ann@acme.example"


@pytest.fixture
async def people(database_url: str, valkey_url: str) -> AsyncIterator[People]:
    async with people_of(database_url, valkey_url) as people:
        yield people


async def test_it_is_asked_for_and_each_code_is_good_once(people: People) -> None:
    await people.join(ANN)
    totp, _ = await people.factor((await people.sign_in(ANN))["access_token"])
    missing = await people.try_in(ANN)
    assert (missing.status_code, missing.json()["field"]) == (401, "code")
    wrong = await people.try_in(ANN, code="000000")
    assert (wrong.status_code, wrong.json()["field"]) == (401, "code")
    code = totp.now()
    both = await asyncio.gather(*(people.try_in(ANN, code=code) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [200, 401]
    assert (await people.try_in(ANN, code=code)).status_code == 401


async def test_the_password_is_judged_before_the_code(people: People) -> None:
    await people.join(ANN)
    totp, _ = await people.factor((await people.sign_in(ANN))["access_token"])
    wrong = await people.try_in(ANN, "not the password", code=totp.now())
    assert wrong.json()["field"] is None


async def test_a_recovery_code_works_once(people: People) -> None:
    await people.join(ANN)
    _, codes = await people.factor((await people.sign_in(ANN))["access_token"])
    assert len(set(codes)) == 10
    await people.sign_in(ANN, code=codes[3].upper())
    assert (await people.try_in(ANN, code=codes[3])).status_code == 401
    await people.sign_in(ANN, code=codes[4].replace("-", " "))
    ((kept,),) = people.sql("SELECT recovery FROM user_account")
    assert len(kept) == 8


async def test_nothing_counts_before_it_is_confirmed(people: People) -> None:
    await people.join(ANN)
    token = (await people.sign_in(ANN))["access_token"]
    assert (await people.post("totp/confirm", token, code="123456")).status_code == 409
    offered = (await people.post("totp", token, password=PASSWORD)).json()
    assert "Waymark" in offered["uri"]
    wrong = await people.post("totp/confirm", token, code="000000")
    assert (wrong.status_code, wrong.json()["field"]) == (422, "code")
    await people.sign_in(ANN)
    ((pending,),) = people.sql("SELECT totp_pending FROM user_account")
    assert offered["secret"].encode() not in pending


async def test_replacing_or_removing_it_takes_password_and_code(people: People) -> None:
    await people.join(ANN)
    token = (await people.sign_in(ANN))["access_token"]
    assert (await people.post("totp", token, password="not this one")).status_code == 401
    totp, codes = await people.factor(token)
    assert (await people.post("totp", token, password=PASSWORD)).status_code == 401
    assert (await people.post("totp/remove", token, password=PASSWORD)).status_code == 401
    gone = await people.post("totp/remove", token, password=PASSWORD, code=totp.now())
    assert gone.status_code == 204
    await people.sign_in(ANN)
    assert (await people.try_in(ANN, code=codes[0])).status_code == 200


async def test_the_next_code_is_taken_already_and_one_of_two_minutes_ago_is_not(
    people: People,
) -> None:
    await people.join(ANN)
    totp, _ = await people.factor((await people.sign_in(ANN))["access_token"])
    assert (await people.try_in(ANN, code=totp.at(time.time() - 120))).status_code == 401
    await people.sign_in(ANN, code=totp.at(time.time() + 30))
