"""API keys and tenants in a real database."""

import hashlib
import re
from collections.abc import Callable

import psycopg
import pytest

from tracking.access import Principal
from tracking.errors import InputError, StoreUnavailable
from tracking.store.keys import authenticate, create_key, list_keys, revoke_key
from tracking.store.tenants import create_tenant


async def principal_of(database_url: str, key: str) -> object:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        return await authenticate(conn, key)


def use_of(database_url: str) -> object:
    return list_keys(database_url)[0].last_used_at


async def test_a_key_stands_for_its_tenant_and_role(database_url: str) -> None:
    tenant_id = create_tenant(database_url, "acme")
    key = create_key(database_url, "acme", "map in the hall", "dispatcher")
    key_id = list_keys(database_url, "acme")[0].id
    assert await principal_of(database_url, key) == Principal(
        tenant_id, "acme", "dispatcher", key_id, "map in the hall"
    )


def test_a_key_is_long_random_and_not_kept(database_url: str) -> None:
    keys = {create_key(database_url, "default", "x") for _ in range(5)}
    assert len(keys) == 5
    assert all(re.fullmatch(r"wmk_[A-Za-z0-9_-]{43}", key) for key in keys)
    with psycopg.connect(database_url) as conn:
        kept = {row[0] for row in conn.execute("SELECT digest FROM api_key")}
    assert kept == {hashlib.sha256(key.encode()).digest() for key in keys}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda key: key[:-1], id="cut"),
        pytest.param(lambda key: key + "A", id="longer"),
        pytest.param(lambda key: key.swapcase(), id="other case"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: "wmk_" + "\x00" * 43, id="NUL"),
    ],
)
async def test_nothing_but_the_key_itself_is_let_in(
    database_url: str, spoil: Callable[[str], str]
) -> None:
    key = create_key(database_url, "default", "x")
    assert await principal_of(database_url, spoil(key)) is None


async def test_a_revoked_key_stands_for_nobody(database_url: str) -> None:
    key = create_key(database_url, "default", "x")
    key_id = list_keys(database_url)[0].id
    revoke_key(database_url, key_id)
    first = list_keys(database_url)[0].revoked_at
    revoke_key(database_url, key_id)
    assert list_keys(database_url)[0].revoked_at == first
    assert await principal_of(database_url, key) is None


async def test_use_is_noted_at_most_once_a_minute(database_url: str) -> None:
    key = create_key(database_url, "default", "x")
    assert use_of(database_url) is None
    await principal_of(database_url, key)
    first = use_of(database_url)
    await principal_of(database_url, key)
    assert use_of(database_url) == first
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE api_key SET last_used_at = now() - interval '61 s'")
    aged = use_of(database_url)
    await principal_of(database_url, key)
    assert use_of(database_url) != aged


def test_keys_are_listed_by_tenant(database_url: str) -> None:
    create_tenant(database_url, "acme")
    create_key(database_url, "default", "one")
    create_key(database_url, "acme", "two")
    assert [info.name for info in list_keys(database_url)] == ["one", "two"]
    assert [info.name for info in list_keys(database_url, "acme")] == ["two"]


def test_mistakes_are_named(database_url: str) -> None:
    with pytest.raises(InputError, match=r"no tenant 'nope'; there are: default") as tenant:
        create_key(database_url, "nope", "x")
    with pytest.raises(InputError, match="viewer") as role:
        create_key(database_url, "default", "x", "king")
    with pytest.raises(InputError) as name:
        create_key(database_url, "default", " ")
    with pytest.raises(InputError, match="no api key 77") as key_id:
        revoke_key(database_url, 77)
    fields = [error.value.field for error in (tenant, role, name, key_id)]
    assert fields == ["tenant", "role", "name", "key_id"]


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "-x", "x" * 65, "ü", "a:b"])
def test_a_tenant_s_name_fits_a_topic_and_a_channel(database_url: str, name: str) -> None:
    with pytest.raises(InputError):
        create_tenant(database_url, name)


def test_a_tenant_is_made_once(database_url: str) -> None:
    assert create_tenant(database_url, "acme") == create_tenant(database_url, "acme")


def test_an_absent_database_is_one_clear_sentence() -> None:
    with pytest.raises(StoreUnavailable, match="cannot reach the database"):
        list_keys("postgresql://127.0.0.1:1/x")
