"""Real answers of a site that has something to tell, against what the OpenAPI document says."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest

from api.app import create_app
from api.document.openapi import operations_of
from api.document.operations import NDJSON
from tests.integration.api_site import Rows, Site, api_site
from tracking.settings import load_settings
from tracking.store.keys import create_key

DOCUMENT = create_app(load_settings()).openapi()
GETS = {
    path: one
    for (method, path), one in operations_of(DOCUMENT)
    # A stream never ends; `test_api_feed_sse` reads it.
    if method == "get" and path != "/v1/feed/sse"
}
SHAPE = {"type": "Circle", "center": [5.1, 52.1], "radius_m": 150}
# What a query needs to be one.
QUERIES = {
    "/v1/events/why-not": {"device": "van-7", "fence": "depot-1", "at": "2026-03-08T12:00:00Z"}
}


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "reader", "admin")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def seed(site: Site, database_url: str) -> dict[str, str]:
    """Something of each noun that needs no worker; the ids of those whose ids are made."""
    with Rows(database_url) as rows:
        rows.fixes(rows.device("van-7"), 10)
        rows.reason("van-7", "stale", 1)
        rows.dead_letter(b"nonsense")
        entered = {"fence": "depot-1", "fence_name": "Depot", "lon": 5.1, "lat": 52.1}
        event = rows.event("van-7", "fence.entered", data=entered, rule="depot-1")
        alert = rows.alert(event, "at-night")
    saved = await site.client.put("/v1/fences/depot-1", json={"shape": SHAPE})
    assert saved.is_success
    saved = await site.client.put("/v1/rules/depot-1", json={"types": ["fence.*"]})
    assert saved.is_success
    return {
        "/v1/alerts/{id}": alert,
        "/v1/dead-letters/{id}": "1",
        "/v1/events/{id}": event.id,
        "/v1/events/{id}/why": event.id,
    }


def assert_as_documented(path: str, response: httpx.Response) -> None:
    """The body fits the schema of its status and media type."""
    told: dict[str, Any] = GETS[path]["responses"]
    answer = told.get(str(response.status_code))
    assert answer is not None, f"{response.status_code} is not documented: {response.text}"
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    media_type = response.headers["content-type"].partition(";")[0]
    schema = answer["content"][media_type]["schema"]
    lines = media_type == NDJSON
    for text in response.text.splitlines() if lines else [response.text]:
        jsonschema.validate(
            json.loads(text) if media_type.endswith("json") else text,
            {**schema, "components": DOCUMENT["components"]},
            jsonschema.Draft202012Validator,
            format_checker=jsonschema.FormatChecker(),
        )


async def test_every_answer_is_as_documented(site: Site, database_url: str) -> None:
    ids = await seed(site, database_url)
    told = set()
    for path in GETS:
        concrete = path.replace("{id}", ids.get(path, "depot-1")).replace("{name}", "van-7")
        concrete = re.sub(r"\{\w+\}", "1", concrete)
        response = await site.client.get(concrete, params=QUERIES.get(path))
        assert_as_documented(path, response)
        if response.status_code == 200:
            told.add(path)
    # These at least had something to tell; a key has no sessions.
    expected = {path for path in GETS if "{" not in path or path in ids}
    assert expected - told == {"/v1/auth/sessions"}
