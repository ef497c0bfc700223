"""Keys are looked up seldom and forgotten soon."""

import pytest

from api.auth import KeyCache
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.store.keys import digest_of

SOMEBODY = Principal(1, "default", "viewer", 7)


class Register:
    """A key register and a clock, both under the test's control."""

    def __init__(self) -> None:
        self.keys = {digest_of("good"): SOMEBODY}
        self.asked = 0
        self.now_s = 100.0
        self.away = False
        self.cache = KeyCache(self.lookup, lambda: self.now_s)

    async def lookup(self, digest: bytes) -> Principal | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.keys.get(digest)


@pytest.mark.parametrize(("key", "principal"), [("good", SOMEBODY), ("bad", None)])
async def test_a_key_is_asked_for_once_in_five_seconds(
    key: str, principal: Principal | None
) -> None:
    register = Register()
    for _ in range(3):
        assert await register.cache.principal(key) == principal
    register.now_s += 4.9
    assert await register.cache.principal(key) == principal
    assert register.asked == 1
    register.now_s += 0.2
    assert await register.cache.principal(key) == principal
    assert register.asked == 2


async def test_a_revoked_key_is_refused_once_it_is_forgotten() -> None:
    register = Register()
    assert await register.cache.principal("good") is SOMEBODY
    register.keys.clear()
    register.now_s += 5
    assert await register.cache.principal("good") is None


async def test_an_outage_is_not_remembered_as_a_wrong_key() -> None:
    register = Register()
    register.away = True
    with pytest.raises(StoreUnavailable):
        await register.cache.principal("good")
    register.away = False
    assert await register.cache.principal("good") is SOMEBODY


async def test_guessing_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth._REMEMBERED", 10)
    register = Register()
    for number in range(100):
        await register.cache.principal(f"guess {number}")
    assert len(register.cache._known) <= 10


async def test_the_cache_holds_no_keys() -> None:
    register = Register()
    await register.cache.principal("good")
    assert list(register.cache._known) == [digest_of("good")]
