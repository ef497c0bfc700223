"""Users over REST: invited, changed, reset, removed; and who may do that to whom."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.integration.api_site import client_of
from tests.integration.identity_site import PASSWORD, People, people_of
from tests.integration.test_api_shipments import STOPS
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant

ANN, BOB = "ann@acme.example", "bob@acme.example"


@pytest.fixture
async def people(
    database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    async with people_of(database_url, valkey_url) as people:
        yield people


async def test_users_are_listed_by_address_in_pages(people: People) -> None:
    for name in ("cem", "ann", "bob"):
        await people.invite(f"{name}@acme.example", "viewer" if name == "bob" else "service")
    first = (await people.admin.get("/v1/users", params={"limit": 2})).json()
    second = (
        await people.admin.get("/v1/users", params={"limit": 2, "cursor": first["next"]})
    ).json()
    addresses = [user["email"] for page in (first, second) for user in page["items"]]
    assert addresses == [ANN, BOB, "cem@acme.example"]
    assert second["next"] is None
    found = (await people.admin.get("/v1/users", params={"role": "viewer"})).json()["items"]
    assert [user["email"] for user in found] == [BOB]
    found = (await people.admin.get("/v1/users", params={"email": "CEM"})).json()["items"]
    assert [user["name"] for user in found] == ["cem@acme.example"]
    none = (await people.admin.get("/v1/users", params={"disabled": "true"})).json()["items"]
    assert none == []


async def test_one_address_is_one_user_whatever_its_case(people: People) -> None:
    made = await people.invite("Ann@Acme.Example")
    taken = await people.admin.post(
        "/v1/users", json={"email": "ANN@acme.example", "role": "viewer"}
    )
    assert (taken.status_code, taken.json()["field"]) == (409, "email")
    bob = await people.invite(BOB)
    moved = await people.admin.patch(f"/v1/users/{bob['id']}", json={"email": "ann@ACME.example"})
    assert (moved.status_code, moved.json()["field"]) == (409, "email")
    assert made["email"] == ANN


async def test_another_tenant_may_have_the_same_address_and_sees_nothing_here(
    people: People, database_url: str
) -> None:
    ours = await people.join(ANN)
    create_tenant(database_url, "other")
    key = create_key(database_url, "other", "theirs", "admin")
    async with client_of(people.site.url, key) as theirs:
        made = await theirs.post("/v1/users", json={"email": ANN, "role": "admin"})
        assert made.status_code == 201
        assert [user["id"] for user in (await theirs.get("/v1/users")).json()["items"]] == [
            made.json()["id"]
        ]
        path = f"/v1/users/{ours['id']}"
        for answer in (
            await theirs.get(path),
            await theirs.patch(path, json={"disabled": True}),
            await theirs.post(f"{path}/reset"),
            await theirs.delete(path),
        ):
            assert answer.status_code == 404
    assert (await people.sign_in(ANN))["session_id"]
    assert (await people.try_in(ANN, tenant="other")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody", "role": "viewer"}, "email"),
        ({"email": "a b@c", "role": "viewer"}, "email"),
        ({"email": ANN, "role": "king"}, "role"),
        ({"email": ANN}, "role"),
        ({"email": ANN, "role": "viewer", "name": "  "}, "name"),
        ({"email": ANN, "role": "viewer", "password": "x"}, "password"),
        ({"email": ANN, "role": "dispatcher", "party": "fast"}, "role"),
    ],
)
async def test_what_is_wrong_with_a_user_is_named(
    people: People, body: dict[str, str], field: str
) -> None:
    refused = await people.admin.post("/v1/users", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_a_change_is_made_only_over_the_version_that_was_read(people: People) -> None:
    user = await people.invite(ANN)
    path = f"/v1/users/{user['id']}"
    read = await people.admin.get(path)
    assert read.headers["etag"] == '"1"'
    changed = await people.admin.patch(path, json={"name": "Ann"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["name"], changed.headers["etag"]) == (
        200,
        "Ann",
        '"2"',
    )
    stale = await people.admin.patch(path, json={"name": "Anne"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412


async def test_the_last_admin_stays(people: People) -> None:
    ann = await people.join(ANN, "admin")
    path = f"/v1/users/{ann['id']}"
    for answer in (
        await people.admin.patch(path, json={"role": "viewer"}),
        await people.admin.patch(path, json={"disabled": True}),
        await people.admin.delete(path),
    ):
        assert (answer.status_code, answer.json()["field"]) == (409, "role")
    # Somebody who cannot sign in yet is no second admin.
    bob = await people.invite(BOB, "admin")
    assert (await people.admin.delete(path)).status_code == 409
    await people.post("invite", invite=bob["invite"], password=PASSWORD)
    assert (await people.admin.delete(path)).status_code == 204
    assert (await people.admin.get(path)).status_code == 404


async def test_of_two_admins_who_remove_each_other_at_once_one_stays(people: People) -> None:
    for round_ in range(4):
        addresses = [f"a{round_}@acme.example", f"b{round_}@acme.example"]
        people.sql("DELETE FROM user_account")
        users = [await people.join(address, "admin") for address in addresses]
        answers = await asyncio.gather(
            *(people.admin.delete(f"/v1/users/{user['id']}") for user in users)
        )
        assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_nobody_changes_their_own_role_and_nobody_grants_more_than_they_have(
    people: People, database_url: str
) -> None:
    ann = await people.join(ANN, "admin")
    await people.join(BOB, "admin")
    token = (await people.sign_in(ANN))["access_token"]
    async with client_of(people.site.url, token) as client:
        own = await client.patch(f"/v1/users/{ann['id']}", json={"role": "viewer"})
        assert (own.status_code, own.json()["field"]) == (403, "role")
        assert (await client.patch(f"/v1/users/{ann['id']}", json={"name": "A"})).status_code == 200
    for role in ("viewer", "dispatcher", "service"):
        key = create_key(database_url, "default", role, role)
        async with client_of(people.site.url, key) as client:
            assert (await client.get("/v1/users")).status_code == 403
            made = await client.post("/v1/users", json={"email": "x@y.example", "role": role})
            assert made.status_code == 403
            assert (await client.delete(f"/v1/users/{ann['id']}")).status_code == 403


async def test_a_reset_takes_everything_and_gives_one_token(people: People) -> None:
    user = await people.join(ANN)
    tokens = await people.sign_in(ANN)
    await people.factor(tokens["access_token"])
    reset = await people.admin.post(f"/v1/users/{user['id']}/reset")
    assert reset.status_code == 200
    assert reset.json()["invited"]
    assert not reset.json()["second_factor"]
    assert (await people.get("auth/me", tokens["access_token"])).status_code == 401
    assert (await people.try_in(ANN)).status_code == 401
    new = "nine loud geese walk"
    done = await people.post("invite", invite=reset.json()["invite"], password=new)
    assert done.status_code == 200
    await people.sign_in(ANN, new)


async def test_a_removed_user_leaves_no_session_and_stays_in_the_audit_log(
    people: People, database_url: str
) -> None:
    user = await people.join(ANN)
    tokens = await people.sign_in(ANN)
    assert (await people.admin.delete(f"/v1/users/{user['id']}")).status_code == 204
    assert (await people.get("auth/me", tokens["access_token"])).status_code == 401
    assert (await people.refresh(tokens["refresh_token"])).status_code == 401
    with psycopg.connect(database_url) as conn:
        for table in ("user_account", "user_session", "refresh_token"):
            assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)  # noqa: S608
    lines = (await people.admin.get("/v1/audit", params={"noun": "users"})).json()["items"]
    assert {(line["action"], line["key"]) for line in lines} >= {("create", ANN), ("delete", ANN)}


async def test_a_user_of_a_party_sees_its_shipments_and_nothing_else(people: People) -> None:
    for id_, shipper in (("ours", "fast"), ("theirs", "slow")):
        body = {"id": id_, "stops": STOPS, "parties": {"shipper": shipper}}
        made = await people.admin.post("/v1/shipments", json=body)
        assert made.status_code == 201, made.text
    user = await people.invite(ANN, "viewer", party="fast")
    await people.post("invite", invite=user["invite"], password=PASSWORD)
    tokens = (await people.refresh((await people.sign_in(ANN))["refresh_token"])).json()
    async with client_of(people.site.url, tokens["access_token"]) as ann:
        seen = (await ann.get("/v1/shipments")).json()["items"]
        assert [shipment["id"] for shipment in seen] == ["ours"]
        assert (await ann.get("/v1/shipments/theirs")).status_code == 404
        assert (await ann.get("/v1/devices")).status_code == 403
        assert (await ann.get("/v1/auth/me")).json()["party"] == "fast"
        assert len((await ann.get("/v1/auth/sessions")).json()["items"]) == 1
    raised = await people.admin.patch(f"/v1/users/{user['id']}", json={"role": "admin"})
    assert (raised.status_code, raised.json()["field"]) == (409, "role")
