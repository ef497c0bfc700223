"""The api attacked with what its own OpenAPI document allows and forbids: no answer surprises."""

import json
import os
import re
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.engine import events, from_schema

from api.app import create_app
from api.document.openapi import operations_of
from tests.integration.api_site import Rows
from tests.integration.test_api_process import answers, api_process
from tests.services import free_port, wait_until
from tracking.settings import load_settings
from tracking.store.keys import create_key

pytestmark = pytest.mark.long

# Generated cases of each operation, beside some dozens that cover each rule of its schema.
CASES = int(os.environ.get("WAYMARK_TEST_CASES", "1"))

# What a schema cannot say of an operation, by check.
_PARTIAL = "with `partial` what was refused is told in the answer"
# Whose every body is refused here.
REFUSED = {
    "POST /v1/broker/mosquitto/acl": "no device has a credential",
    "POST /v1/webhooks/{id}/replay": "there are not as many events",
}
_LINES = "lines are judged when they are worked in"
_YEAR = "a track is told for a year at most"
NARROWED = {
    ("PUT /v1/fences", "negative_data_rejection"): _PARTIAL,
    ("POST /v1/fences/import", "negative_data_rejection"): _PARTIAL,
    ("POST /v1/fences/import", "positive_data_acceptance"): "not all bytes are a file of fences",
    ("POST /v1/alerts/acknowledge", "unsupported_method"): "GET asks for an alert of this id",
    ("GET /v1/assets/{id}/track", "positive_data_acceptance"): _YEAR,
    ("GET /v1/shipments/{id}/track", "positive_data_acceptance"): _YEAR,
    ("GET /v1/devices/{name}/positions", "positive_data_acceptance"): "files have no pages",
    ("GET /v1/devices/{name}/charts", "positive_data_acceptance"): "a chart has a length",
    ("POST /v1/backfill", "positive_data_acceptance"): _LINES,
    ("POST /v1/backfill", "negative_data_rejection"): _LINES,
    ("GET /v1/visits", "positive_data_acceptance"): "the names of time zones are no schema",
}

# Wrong credentials are a part of the attack.
_UNLIMITED: dict[str, Any] = dict.fromkeys(
    ("rate_credential_per_min", "rate_address_per_min", "rate_failed_per_min"), 0
)

_KEY = re.compile(r"[!-~]{1,255}")

# What the document says by the name of a format, or in words.
_moments = st.integers(86_400, 253_000_000_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
)
_boxes = st.tuples(
    st.integers(-180, 180), st.integers(-90, 0), st.integers(-180, 180), st.integers(0, 90)
).map(lambda box: ",".join(map(str, box)))
schemathesis.openapi.format("date-time", _moments)
schemathesis.openapi.format("bbox", _boxes)


def _as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


# Files, which schemathesis knows no way to write.
for _, _operation in operations_of(create_app(load_settings()).openapi()):
    for _media_type in _operation.get("requestBody", {}).get("content", {}):
        if not _media_type.endswith(("/json", "+json", "xml", "text/plain", "urlencoded")):
            schemathesis.serializer(_media_type)(_as_it_is)


@schemathesis.hook
def before_call(
    _: schemathesis.HookContext, case: "schemathesis.Case[Any]", __: dict[str, Any]
) -> None:
    """A key is for one request, and a time asked for begins before it ends."""
    headers: Any = case.headers or {}
    key = headers.get("Idempotency-Key")
    if key is not None and _KEY.fullmatch(str(key)):
        headers["Idempotency-Key"] = uuid.uuid4().hex
    query: dict[str, Any] = case.query or {}
    if _is_time(query.get("from")) and _is_time(query.get("to")):
        query["from"], query["to"] = sorted((query["from"], query["to"]))


def _is_time(value: object) -> bool:
    return isinstance(value, str) and re.match(r"\d{4}-", value) is not None


@dataclass
class Findings:
    """What surprised, and how much was asked."""

    document: dict[str, Any]
    cases: int = 0
    # By operation: bodies that were understood, and valid ones refused for what no schema says.
    taken: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    surprises: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            self.cases += 1
            response = interaction.response
            if response is not None and response.status_code in {200, 201, 202, 204, 404, 409}:
                self.taken[recorder.label] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info is None or (recorder.label, check.name) in NARROWED:
                    continue
                if self._is_explained(recorder.label, check.name, interaction):
                    continue
                self.surprises.setdefault((recorder.label, check.name), []).append(
                    _told(check.failure_info.failure, interaction)
                )

    def _is_explained(self, operation: str, check: str, interaction: Any) -> bool:  # noqa: ANN401 -- schemathesis' own, as below
        request, response = interaction.request, interaction.response
        if check == "response_schema_conformance" and "fields=" in request.uri:
            return self._is_part(operation, response)
        if check != "positive_data_acceptance":
            return False
        problem = json.loads(response.content)
        if response.status_code == 400:
            # Only one that was given out is a cursor.
            return bool(problem["field"] == "cursor" and "cursor=" in request.uri)
        if response.status_code == 412:
            # Only one that was read is the version there is.
            return "If-Match" in request.headers
        # Rules between members, and names of what must be there: told with their place.
        self.explained[operation] += 1
        return bool(request.body and problem["field"])

    def _is_part(self, operation: str, response: Any) -> bool:  # noqa: ANN401
        """Whether an answer is what was documented, but for the members nobody asked for."""
        method, _, path = operation.partition(" ")
        told = self.document["paths"][path][method.lower()]["responses"]["200"]["content"]
        media_type = response.headers["content-type"][0].partition(";")[0]
        schema = {**told[media_type]["schema"], "components": self.document["components"]}
        jsonschema.validate(json.loads(response.content), _without_required(schema))
        return True

    def report(self) -> str:
        refused = sum(self.explained.values())
        lines = [f"{self.cases:,} cases, {refused:,} valid bodies refused with the place of why"]
        for (operation, check), told in self.surprises.items():
            lines.append(f"{operation}: {check}, {len(told)} times")
            lines += told[:3]
        return "\n".join(lines)


def _without_required(schema: Any) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(schema, list):
        return [_without_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_required(part)
        for name, part in schema.items()
        if name != "required" or not isinstance(part, list)
    }


def _told(failure: Exception, interaction: Any) -> str:  # noqa: ANN401 -- schemathesis' own
    request, response = interaction.request, interaction.response
    lines = [
        str(failure)[:400],
        f"{request.method} {request.uri}",
        repr({name: value for name, value in request.headers.items() if name != "Authorization"}),
        repr((request.body or b"")[:600]),
    ]
    if response is not None:
        lines.append(f"{response.status_code} {response.content[:400]!r}")
    return "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def site(database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and key of an api that has something to tell, in a process of its own."""
    with Rows(database_url) as rows:
        rows.fixes(rows.device("van-7"), 10)
        rows.fence("depot-1")
        trip = rows.event("van-7", data={"lon": 5.1, "lat": 52.1})
        rows.alert(trip, "depot-at-night")
        rows.dead_letter(b"nonsense")
    key = create_key(database_url, "default", "attacker", "admin")
    port = free_port()
    urls: dict[str, Any] = {"database_url": database_url, "redis_url": valkey_url}
    secret = "of a test, and long enough to be one"  # noqa: S105
    with api_process(
        tmp_path,
        output=subprocess.DEVNULL,
        secret_key=secret,
        http_port=port,
        **urls,
        **_UNLIMITED,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), "the api answers")
        yield url, key


@pytest.mark.timeout(0)
def test_no_answer_surprises(site: tuple[str, str]) -> None:
    url, key = site
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "base-url": url,
            "auth": {"openapi": {"bearer": {"bearer": key}}},
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "generation": {"max-examples": CASES, "deterministic": True, "no-shrink": True},
        }
    )
    schema = schemathesis.openapi.from_url(url + "/v1/openapi.json", config=config)
    # An answer that never ends; `test_api_sse` reads it.
    attacked = schema.exclude(path="/v1/feed/sse")
    findings, errors = Findings(schema.raw_schema), []
    for event in from_schema(attacked).execute():
        if isinstance(event, events.ScenarioFinished):
            findings.add(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            errors.append(event)
    assert errors == []
    assert not findings.surprises, findings.report()
    # None of the others refuses everything.
    refused = {operation for operation in findings.explained if not findings.taken[operation]}
    assert refused <= REFUSED.keys()
