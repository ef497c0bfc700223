"""Devices' registration and credentials by the api, and what it tells brokers that ask."""

from typing import Any
from uuid import uuid4

import httpx
import psycopg

from tests.integration.api_site import Rows, Site, api_site, client_of
from tracking.device_secrets import is_password
from tracking.store.keys import create_key


async def post(site: Site, path: str, body: object = None) -> httpx.Response:
    return await site.client.post(path, json=body)


def admin(database_url: str, tenant: str = "default") -> str:
    return create_key(database_url, tenant, "test", "admin")


async def issued(site: Site, name: str, **body: object) -> dict[str, Any]:
    answer = await post(site, f"/v1/devices/{name}/credentials", body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_device_is_registered_before_its_first_message_and_once(
    database_url: str, valkey_url: str
) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        body = {"name": "aa:bb:01", "groups": ["north"], "attrs": {"plate": "V-1"}}
        made = await post(site, "/v1/devices", body)
        assert made.status_code == 201
        assert made.headers["Location"] == "/v1/devices/aa:bb:01"
        assert (await site.get(made.headers["Location"])).json() == made.json()
        assert (made.json()["groups"], made.json()["position"]) == (["north"], None)
        again = await post(site, "/v1/devices", body)
        assert (again.status_code, again.json()["field"]) == (409, "name")
        for name in ("", "a/b", "a b", "+", "#", "ü", "x" * 129):
            wrong = await post(site, "/v1/devices", {"name": name})
            assert (wrong.status_code, wrong.json()["field"]) == (422, "name")


async def test_a_password_is_shown_once_and_kept_as_a_hash_that_nobody_is_told(
    database_url: str, valkey_url: str
) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        await post(site, "/v1/devices", {"name": "van"})
        made = await issued(site, "van", label="in March")
        assert made["username"] == "default/van"
        assert made["publish"][0] == "wm/default/van/pos"
        assert made["subscribe"] == ["wm/default/van/cmd"]
        listed = (await site.get("/v1/devices/van/credentials")).json()["items"]
        assert [(one["id"], one["label"]) for one in listed] == [(made["id"], "in March")]
        assert "password" not in listed[0]
        (one,) = listed
        assert (await site.get(f"/v1/devices/van/credentials/{one['id']}")).json() == one
        assert (await site.get(f"/v1/devices/van/credentials/{uuid4()}")).status_code == 404
        with psycopg.connect(database_url) as conn:
            rows = conn.execute("SELECT secret_hash FROM device_credential").fetchall()
            audited = conn.execute(
                "SELECT after FROM audit_log WHERE noun = 'credentials'"
            ).fetchall()
        assert is_password(made["password"], rows[0][0])
        assert [after["secret_hash"] for (after,) in audited] == ["***"]
        assert (await site.get("/v1/devices/nobody/credentials")).status_code == 404
        assert (await post(site, "/v1/devices/nobody/credentials", {})).status_code == 404


async def test_pages_of_credentials_hold_each_once(database_url: str, valkey_url: str) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        await post(site, "/v1/devices", {"name": "van"})
        made = [(await issued(site, "van"))["username"] for _ in range(5)]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await site.get("/v1/devices/van/credentials", limit=2, **cursor)).json()
            seen += [item["username"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert seen == made[::-1]
        assert len(set(made)) == 5


async def test_wrong_requests_name_what_is_wrong(database_url: str, valkey_url: str) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        await post(site, "/v1/devices", {"name": "van"})
        for body, field in (
            ({"kind": "token"}, "kind"),
            ({"common_name": "default/van"}, "common_name"),
            ({"kind": "certificate", "common_name": "van"}, "common_name"),
            ({"kind": "certificate", "common_name": "other/van"}, "common_name"),
            ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
            ({"secret": 1}, "secret"),
        ):
            answer = await post(site, "/v1/devices/van/credentials", body)
            assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
        certificate = await issued(site, "van", kind="certificate")
        assert (certificate["username"], certificate["password"]) == ("default/van", None)
        path = f"/v1/devices/van/credentials/{certificate['id']}"
        assert (await post(site, f"{path}/rotate")).status_code == 409
        await post(site, "/v1/devices", {"name": "box"})
        taken = {"kind": "certificate", "common_name": "default/van"}
        assert (await post(site, "/v1/devices/box/credentials", taken)).status_code == 409
        assert (await site.client.delete(path)).status_code == 204
        assert (await site.client.delete(path)).status_code == 204
        assert (await post(site, "/v1/devices/box/credentials", taken)).status_code == 201
        password = await issued(site, "van")
        path = f"/v1/devices/van/credentials/{password['id']}"
        wrong = await post(site, f"{path}/rotate", {"overlap_s": -1})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "overlap_s")
        new = (await post(site, f"{path}/rotate", {"overlap_s": 0})).json()
        assert (await post(site, f"{path}/rotate")).status_code == 409
        assert (await issued(site, "van"))["username"] == "default/van"
        assert new["username"] == "default/van~2"


async def test_emqx_is_told_who_may_do_what(database_url: str, valkey_url: str) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        await post(site, "/v1/devices", {"name": "van"})
        van = await issued(site, "van")
        box = await issued(site, "van", kind="certificate", common_name="default/box")
        who = {"username": van["username"], "clientid": "IMEI-1"}
        reader = client_of(site.url, create_key(database_url, "default", "broker", "viewer"))

        async def asks(what: str, **members: str) -> str:
            answer = await reader.post(f"/v1/broker/emqx/{what}", json=members)
            assert (answer.status_code, answer.json()["is_superuser"]) == (200, False)
            result: str = answer.json()["result"]
            return result

        secret = {"password": van["password"]}
        none = {"cert_common_name": "undefined"}
        assert await asks("auth", **who, **secret, **none) == "allow"
        assert await asks("auth", **who, password="wrong") == "deny"  # noqa: S106
        assert await asks("auth", **who) == "deny"
        assert await asks("auth", username="default/nobody", password="x") == "deny"  # noqa: S106
        assert await asks("auth", username="dashboard", password="x") == "ignore"  # noqa: S106
        assert await asks("auth", **{**who, "clientid": "waymark-host-0"}, **secret) == "deny"
        assert await asks("auth", cert_common_name=box["username"], username="x") == "allow"
        assert await asks("auth", cert_common_name="default/stranger") == "deny"
        pos, cmd = {"topic": "wm/default/van/pos"}, {"topic": "wm/default/van/cmd"}
        for members, verdict in (
            ({**who, **pos, "action": "publish"}, "allow"),
            ({**who, **pos, "action": "subscribe"}, "deny"),
            ({**who, **cmd, "action": "subscribe"}, "allow"),
            ({**who, **cmd, "action": "publish"}, "deny"),
            ({**who, "topic": "wm/default/+/cmd", "action": "subscribe"}, "deny"),
            ({**who, "topic": "$share/g/wm/default/van/cmd", "action": "subscribe"}, "deny"),
            ({**who, "topic": "wm/default/box/pos", "action": "publish"}, "deny"),
            ({"cert_common_name": "default/box", **pos, "action": "publish"}, "allow"),
            ({"username": "dashboard", "topic": "#", "action": "subscribe"}, "ignore"),
        ):
            assert await asks("acl", **members) == verdict, members
        wrong = await reader.post("/v1/broker/emqx/acl", json={**who, **pos, "action": "burn"})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "action")
        await reader.aclose()


async def test_mosquitto_go_auth_is_told_by_form_and_by_json(
    database_url: str, valkey_url: str
) -> None:
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        await post(site, "/v1/devices", {"name": "van"})
        van = await issued(site, "van")
        who = {"username": van["username"], "clientid": "van"}

        async def asks(what: str, **members: str | int) -> int:
            path = f"/v1/broker/mosquitto/{what}"
            form = await site.client.post(path, data=members)
            json = await site.client.post(path, json=members)
            assert form.status_code == json.status_code
            if form.status_code == 200:
                assert form.json() == json.json() == {"Ok": True, "Error": ""}
            else:
                assert form.headers["content-type"] == "application/problem+json"
            return form.status_code

        assert await asks("user", **who, password=van["password"]) == 200
        assert await asks("user", **who, password="wrong") == 403  # noqa: S106
        assert await asks("user", username="default/nobody", password="wrong") == 403  # noqa: S106
        assert await asks("superuser", username=van["username"]) == 403
        for topic, granted in (
            ("wm/default/van/pos", {2}),
            ("wm/default/van/ack", {2}),
            ("wm/default/van/cmd", {1, 4}),
            ("wm/default/+/cmd", set()),
            ("wm/default/box/pos", set()),
            ("#", set()),
        ):
            for acc in (1, 2, 3, 4):
                status = await asks("acl", **who, topic=topic, acc=acc)
                assert status == (200 if acc in granted else 403), (topic, acc)
        assert await asks("acl", **who, topic="#", acc=9) == 422
        assert await asks("acl", **who, topic="#", acc="x") == 422
        assert await asks("acl", **who, topic="#") == 422
        broken = await site.client.post(
            "/v1/broker/mosquitto/acl",
            content=b"acc=\xff",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert broken.status_code == 422


async def test_a_broker_is_told_of_revoked_credentials_and_only_of_its_own_tenants(
    database_url: str, valkey_url: str
) -> None:
    with Rows(database_url, "other"):
        key = admin(database_url, "other")
    async with (
        api_site(database_url, valkey_url, key=admin(database_url)) as site,
        client_of(site.url, key) as other,
    ):
        await post(site, "/v1/devices", {"name": "van"})
        van = await issued(site, "van")
        asked = {"username": van["username"], "password": van["password"]}
        # It must not decide what another tenant's broker is told.
        theirs = await other.post("/v1/broker/emqx/auth", json=asked)
        assert theirs.json()["result"] == "deny"
        ours = await post(site, "/v1/broker/emqx/auth", asked)
        assert ours.json()["result"] == "allow"
        again = await other.post("/v1/broker/emqx/auth", json=asked)
        assert again.json()["result"] == "deny"
        path = f"/v1/devices/van/credentials/{van['id']}"
        assert (await site.client.delete(path)).status_code == 204
    # What an api remembers for seconds another one never knew.
    async with api_site(database_url, valkey_url, key=admin(database_url)) as site:
        ours = await post(site, "/v1/broker/emqx/auth", asked)
        assert ours.json()["result"] == "deny"
