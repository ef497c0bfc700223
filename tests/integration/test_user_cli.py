"""`waymark user`, `tenant` and `key` as processes, on a real database."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.api_site import api_site
from tests.integration.identity_site import PASSWORD, SECRET, People

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ANN = "ann@acme.example"


@pytest.fixture
def waymark(database_url: str, tmp_path: Path) -> Run:
    def run(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "waymark", *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=given,
            timeout=60,
            cwd=tmp_path,
            env={
                **os.environ,
                "WAYMARK_DATABASE_URL": database_url,
                "COLUMNS": "200",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )

    return run


async def test_a_user_is_made_listed_disabled_and_reset(
    waymark: Run, database_url: str, valkey_url: str
) -> None:
    made = waymark("user", "create", "Ann@Acme.example", "--name", "Ann", "--role", "service")
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"wmi_[A-Za-z0-9_-]{43}\n", made.stdout)
    (user,) = json.loads(waymark("user", "list", "--json").stdout)
    assert (user["email"], user["name"], user["role"], user["invited"]) == (
        ANN,
        "Ann",
        "service",
        True,
    )
    async with api_site(database_url, valkey_url, secret_key=SECRET) as site:
        people = People(site, database_url)
        invite = made.stdout.strip()
        assert (await people.post("invite", invite=invite, password=PASSWORD)).is_success
        await people.sign_in(ANN)
        assert waymark("user", "disable", "ANN@acme.example").returncode == 0
        assert (await people.try_in(ANN)).status_code == 401
        assert "disabled" in waymark("user", "list").stdout
        assert waymark("user", "disable", ANN, "--undo").returncode == 0
        await people.sign_in(ANN)
        reset = waymark("user", "reset", ANN)
        assert (await people.try_in(ANN)).status_code == 401
        invite = reset.stdout.strip()
        assert (await people.post("invite", invite=invite, password=PASSWORD)).is_success
        await people.sign_in(ANN)


async def test_a_password_may_be_given_at_once(
    waymark: Run, database_url: str, valkey_url: str
) -> None:
    poor = waymark("user", "create", ANN, "--password-stdin", given="password1234\n")
    assert poor.returncode == 2
    assert "guessed" in poor.stderr
    assert waymark("user", "create", ANN, "--password-stdin", given=PASSWORD + "\n").returncode == 0
    async with api_site(database_url, valkey_url, secret_key=SECRET) as site:
        await People(site, database_url).sign_in(ANN)


def test_tenants_are_made_and_listed(waymark: Run) -> None:
    for _ in range(2):
        assert waymark("tenant", "create", "acme").returncode == 0
    assert waymark("user", "create", ANN, "--tenant", "acme").returncode == 0
    tenants = json.loads(waymark("tenant", "list", "--json").stdout)
    assert {one["name"]: one["users_n"] for one in tenants} == {"acme": 1, "default": 0}
    assert "acme" in waymark("tenant", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("user", "create", "nobody"), "'nobody' is no e-mail address"),
        (("user", "create", ANN, "--tenant", "no"), "there is no tenant 'no'"),
        (("user", "create", ANN, "--name", "\x07"), "a name has 1 to 128 characters"),
        (("user", "disable", "bob@acme.example"), "default has no user bob@acme.example"),
        (("user", "reset", "bob@acme.example"), "default has no user bob@acme.example"),
        (("tenant", "create", "a/b"), "'a/b' cannot name a tenant"),
    ],
)
def test_a_mistake_is_one_line(waymark: Run, arguments: tuple[str, ...], sentence: str) -> None:
    done = waymark(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_last_admin_is_not_disabled_and_nobody_is_made_twice(waymark: Run) -> None:
    waymark("user", "create", ANN, "--role", "admin", "--password-stdin", given=PASSWORD + "\n")
    last = waymark("user", "disable", ANN)
    assert last.returncode == 2
    assert "last admin" in last.stderr
    twice = waymark("user", "create", ANN.upper())
    assert twice.returncode == 2
    assert "already" in twice.stderr


async def test_a_key_is_made_with_scopes_and_an_end(
    waymark: Run, database_url: str, valkey_url: str
) -> None:
    made = waymark("key", "create", "map", "--scope", "rules:read", "--days", "2")
    assert made.returncode == 0, made.stderr
    (listed,) = json.loads(waymark("key", "list", "--json").stdout)
    assert listed["scopes"] == ["rules:read"]
    assert listed["expires_at"] > listed["created_at"]
    async with api_site(database_url, valkey_url, key=made.stdout.strip()) as site:
        assert (await site.get("/v1/rules")).status_code == 200
        assert (await site.get("/v1/devices")).status_code == 403
    wrong = waymark("key", "create", "map", "--scope", "rules")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no permission like fences:write" in wrong.stderr
