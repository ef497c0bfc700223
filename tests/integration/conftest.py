"""Fixtures of the tests that ask a running api."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.api_site import Rows, Site, api_site
from tracking.feed import Publisher


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """Writes rows of tenant `default`."""
    with Rows(database_url) as rows:
        yield rows


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    """An api, and a viewer's key; a module that needs another key has a `site` of its own."""
    async with api_site(database_url, valkey_url) as site:
        yield site


@pytest.fixture
async def publisher(valkey_url: str) -> AsyncIterator[Publisher]:
    """Publishes as a worker does."""
    async with Publisher(valkey_url) as publisher:
        yield publisher
