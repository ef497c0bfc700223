"""Signing in on the live map, on a real api: password, code, invitation, renewal, and out again."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyotp
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Watched
from tests.integration.api_site import ThreadedSite
from tests.integration.identity_site import PASSWORD, SECRET
from tracking.store.keys import create_key

ANN = "ann@acme.example"
LIVE = "window.waymark?.status === 'live'"
STORED = "JSON.parse(sessionStorage.getItem('waymark.session'))"


class Town:
    """An api with one user, over HTTP."""

    def __init__(self, url: str, admin_key: str) -> None:
        self.url = url
        self.client = httpx.Client(
            base_url=f"{url}/v1",
            headers={"Authorization": f"Bearer {admin_key}"},
            timeout=60,
            trust_env=False,
        )

    def post(self, path: str, token: str | None = None, **body: object) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.post(path, json=body, headers=headers)

    def invite(self) -> str:
        """Ann's one-time token."""
        return str(self.post("users", email=ANN, role="viewer").json()["invite"])

    def join(self) -> None:
        assert self.post("auth/invite", invite=self.invite(), password=PASSWORD).is_success

    def factor(self) -> pyotp.TOTP:
        """A second factor for Ann; its code of this moment is spent, the next one good already."""
        token = self.post("auth/token", email=ANN, password=PASSWORD).json()["access_token"]
        totp = pyotp.TOTP(self.post("auth/totp", token, password=PASSWORD).json()["secret"])
        assert self.post("auth/totp/confirm", token, code=totp.now()).is_success
        return totp


@pytest.fixture
def town(built_map: Path, database_url: str, valkey_url: str) -> Iterator[Town]:
    assert built_map.is_dir()
    key = create_key(database_url, "default", "admin", "admin")
    with ThreadedSite(database_url, valkey_url, key=key, secret_key=SECRET) as (url, _):
        town = Town(url, key)
        with town.client:
            yield town


def sign_in(page: Page, password: str = PASSWORD, code: str | None = None) -> None:
    page.get_by_label("E-mail").fill(ANN)
    page.get_by_label("Password", exact=True).fill(password)
    if code is not None:
        page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Show the fleet").click()


def test_with_a_password_one_is_in_and_a_reload_changes_nothing(
    watched: Watched, town: Town
) -> None:
    town.join()
    page = watched.page
    page.goto(town.url)
    sign_in(page, "not the password")
    page.get_by_text("this tenant, e-mail address and password").wait_for()
    sign_in(page)
    watched.until(LIVE)
    assert page.get_by_role("button", name=f"Sign out {ANN}").is_visible()
    stored = page.evaluate(STORED)
    page.reload()
    watched.until(LIVE)
    # What is stored serves: a reload spends no token.
    assert page.evaluate(STORED) == stored
    assert page.evaluate("localStorage.length") == 0
    # The browser notes the answer to the wrong password by itself.
    assert [c for c in watched.complaints if "401" not in c] == []


def test_the_code_is_asked_for_where_there_is_a_second_factor(watched: Watched, town: Town) -> None:
    town.join()
    totp = town.factor()
    page = watched.page
    page.goto(town.url)
    assert not page.get_by_label("Code").is_visible()
    sign_in(page)
    page.get_by_label("Code").wait_for()
    page.get_by_label("Code").fill("000000")
    page.keyboard.press("Enter")
    page.get_by_text("this code is wrong").wait_for()
    page.get_by_label("Code").fill(totp.at(time.time() + 30))
    page.keyboard.press("Enter")
    watched.until(LIVE)


def test_an_invitation_asks_for_a_password_and_signs_in(watched: Watched, town: Town) -> None:
    page = watched.page
    page.goto(f"{town.url}/#invite={town.invite()}")
    page.get_by_role("heading", name="Choose a password").wait_for()
    assert page.url == f"{town.url}/"
    page.get_by_label("New password").fill("password12345")
    page.keyboard.press("Enter")
    page.get_by_text("among the first that are guessed").wait_for()
    page.get_by_label("New password").fill(PASSWORD)
    page.keyboard.press("Enter")
    watched.until(LIVE)


def test_it_renews_itself_before_the_end_and_the_feed_stays_open(
    watched: Watched, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The map renews a minute early, so this is every two seconds; in truth tokens end after five.
    monkeypatch.setattr("api.identity.sign_in.ACCESS_S", 62)
    monkeypatch.setattr("tracking.tokens.ACCESS_S", 5)
    monkeypatch.setattr("tracking.tokens.LEEWAY_S", 0)
    monkeypatch.setattr("api.feed.session._GUARD_S", 0.1)
    town.join()
    page = watched.page
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(town.url)
    sign_in(page)
    watched.until(LIVE)
    first = page.evaluate(STORED)
    page.evaluate("() => { window.seen = new Set(); }")
    watched.until(f"window.seen.add({STORED}.access).size >= 5")
    assert page.evaluate("window.waymark.status") == "live"
    assert len([url for url in sockets if url.endswith("/v1/feed")]) == 1
    latest = page.evaluate(STORED)
    assert latest["id"] == first["id"]
    assert latest["refresh"] != first["refresh"]
    assert watched.complaints == []


def test_a_duplicated_tab_shares_the_session_and_neither_is_thrown_out(
    watched: Watched, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.identity.sign_in.ACCESS_S", 62)
    town.join()
    page = watched.page
    page.goto(town.url)
    sign_in(page)
    watched.until(LIVE)
    copy = page.evaluate("sessionStorage.getItem('waymark.session')")
    other = page.context.new_page()
    other.add_init_script(
        "sessionStorage.getItem('waymark.session') ?? "
        f"sessionStorage.setItem('waymark.session', {copy!r})"
    )
    second = Watched(other)
    second.page.goto(town.url)
    second.until(LIVE)
    for _ in range(3):
        before = page.evaluate(STORED)["refresh"]
        watched.until(f"{STORED}.refresh !== {before!r}")
        second.until(f"{STORED}.refresh !== {before!r}")
    assert page.evaluate("window.waymark.status") == "live"
    assert second.page.evaluate("window.waymark.status") == "live"
    assert watched.complaints == second.complaints == []


def test_signing_out_ends_the_session_and_forgets_it(watched: Watched, town: Town) -> None:
    town.join()
    page = watched.page
    page.goto(town.url)
    sign_in(page)
    watched.until(LIVE)
    stored = page.evaluate(STORED)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are signed out.").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    assert town.post("auth/refresh", refresh_token=stored["refresh"]).status_code == 401
    sign_in(page)
    watched.until(LIVE)


def test_whoever_is_signed_out_elsewhere_is_asked_to_sign_in(
    watched: Watched, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.feed.session._GUARD_S", 0.1)
    monkeypatch.setattr("api.identity.credentials._REMEMBERED_S", 0.0)
    town.join()
    page = watched.page
    page.goto(town.url)
    sign_in(page)
    watched.until(LIVE)
    (user,) = town.client.get("users").json()["items"]
    assert town.client.patch(f"users/{user['id']}", json={"disabled": True}).is_success
    page.get_by_role("heading", name="Sign in to Waymark").wait_for()
    error = page.locator("#signin-error").text_content() or ""
    assert re.search("expired or was revoked", error)
