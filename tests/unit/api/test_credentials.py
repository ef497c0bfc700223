"""Credentials are looked up seldom and forgotten soon."""

import pytest

from api.identity.credentials import Credentials, KeyProof, Proof
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.store.keys import digest_of

SOMEBODY = Principal(1, "default", "viewer", 7)


class Register:
    """A key register and a clock, both under the test's control."""

    def __init__(self) -> None:
        self.known: dict[Proof, Principal] = {KeyProof(digest_of("good")): SOMEBODY}
        self.tokens: dict[str, Proof] = {}
        self.asked = 0
        self.read = 0
        self.now_s = 100.0
        self.away = False
        self.credentials = Credentials(
            self.read_token, self.lookup, wall=lambda: self.now_s, clock=lambda: self.now_s
        )

    async def read_token(self, token: str) -> Proof | None:
        self.read += 1
        return self.tokens.get(token)

    async def lookup(self, proof: Proof) -> Principal | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.known.get(proof)

    async def principal(self, credential: str) -> Principal | None:
        grant = await self.credentials.grant(credential)
        return grant and grant.principal


@pytest.mark.parametrize(("key", "principal"), [("good", SOMEBODY), ("bad", None)])
async def test_a_key_is_asked_for_once_in_five_seconds(
    key: str, principal: Principal | None
) -> None:
    register = Register()
    for _ in range(3):
        assert await register.principal(key) == principal
    register.now_s += 4.9
    assert await register.principal(key) == principal
    assert register.asked == 1
    register.now_s += 0.2
    assert await register.principal(key) == principal
    assert register.asked == 2


async def test_a_revoked_key_is_refused_once_it_is_forgotten() -> None:
    register = Register()
    assert await register.principal("good") is SOMEBODY
    register.known.clear()
    register.now_s += 5
    assert await register.principal("good") is None


async def test_an_outage_is_not_remembered_as_a_wrong_key() -> None:
    register = Register()
    register.away = True
    with pytest.raises(StoreUnavailable):
        await register.principal("good")
    register.away = False
    assert await register.principal("good") is SOMEBODY


async def test_guessing_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.identity.credentials._REMEMBERED", 10)
    register = Register()
    for number in range(100):
        await register.principal(f"guess {number}")
        await register.principal(f"guess.{number}.token")
    credentials = register.credentials
    assert len(credentials._principals._known) <= 10
    assert len(credentials._proofs._known) <= 10


async def test_the_memory_holds_no_keys() -> None:
    register = Register()
    await register.principal("good")
    assert list(register.credentials._principals._known) == [KeyProof(digest_of("good"))]


async def test_a_token_is_verified_once_in_five_seconds_and_refused_when_it_ends() -> None:
    register = Register()
    proof = KeyProof(b"stands for a token", ends_s=register.now_s + 3)
    register.tokens["a.b.c"] = proof
    register.known[proof] = SOMEBODY
    for _ in range(3):
        assert await register.principal("a.b.c") is SOMEBODY
    assert register.read == 1
    register.now_s += 3
    assert await register.principal("a.b.c") is None
    grant_after_its_end = await register.credentials.principal(proof)
    assert grant_after_its_end is None


async def test_what_is_too_long_for_a_token_is_not_even_read() -> None:
    register = Register()
    assert await register.principal("a" * 20_000 + ".b.c") is None
    assert register.read == 0
