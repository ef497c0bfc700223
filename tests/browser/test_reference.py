"""The reference page on a real api, in a real browser, under the policy every answer carries."""

from collections.abc import Iterator

import httpx
import pytest

from tests.browser.conftest import Watched
from tests.integration.api_site import ThreadedSite


@pytest.fixture
def url(database_url: str, valkey_url: str) -> Iterator[str]:
    with ThreadedSite(database_url, valkey_url) as (url, _):
        yield url


def test_it_tells_every_operation_and_asks_nobody_else(url: str, watched: Watched) -> None:
    document = httpx.get(f"{url}/v1/openapi.json", trust_env=False).json()
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    watched.page.goto(f"{url}/v1/docs#getDevice")
    watched.until(f"document.querySelectorAll('details').length === {len(operations)}")
    watched.until("document.querySelector('#getDevice').open")
    text = watched.page.locator("#getDevice").inner_text()
    assert "devices:read" in text
    assert "odometer_m" in text
    watched.page.fill("#search", "snoozeAlert")
    watched.until("[...document.querySelectorAll('details')].filter(d => !d.hidden).length === 1")
    assert watched.hosts == {url.removeprefix("http://")}
    assert watched.complaints == []
