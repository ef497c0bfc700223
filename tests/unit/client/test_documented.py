"""What the client asks for, the api says it has; what the api says it answers, the client reads."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

import jsonschema
import msgspec
import pytest

from api.app import create_app
from api.document.openapi import operations_of
from tracking.settings import load_settings
from waymark.client.calls import Call, Noun, listing, operation
from waymark.client.nouns import Nouns

DOCUMENT = create_app(load_settings()).openapi()
Json = dict[str, Any]

ROUTES = {
    (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", template.replace(".", r"\.")))): told
    for (method, template), told in operations_of(DOCUMENT)
}
# By the names of parameters; what is a body is the documented example.
GIVEN: Json = {
    "event_id": "0b6f9d0e-6f0c-5d57-9d0f-3f1e2a4c5b6d",
    "attachment_id": 41,
    "override": 1,
    "link": 3,
    "load": ("device", "van-7"),
    "carrier": ("asset", "truck-12"),
    "at": datetime(2026, 3, 8, tzinfo=UTC),
    "stop": 1,
    "stops_away": 1,
    "expires_at": None,
    "window": {"from": "2026-03-08T06:00:00Z"},
}
# What only the answers about one tell.
UNLISTED = {
    "shipments.list": {"$.items.route.line", "$.items.last_seen"},
    "devices.list": {"$.items.ledger"},
}
# What is told and not read: CloudEvents' own, and the other half of a track.
CLOUD = {"specversion", "datacontenttype"}
UNREAD = {"$.parts", "$.items", "$.next"}


class Method(NamedTuple):
    """One method of a noun."""

    noun: Noun[Any]
    name: str
    call: Any

    def __str__(self) -> str:
        return f"{type(self.noun).__name__.lower()}.{self.name}"

    def build(self, body: object = None) -> Call[Any]:
        """The call, with something for each parameter."""
        named = list(inspect.signature(self.call).parameters.values())[1:]
        values = {
            one.name: body if "Mapping" in str(one.annotation) and one.name not in GIVEN
            else GIVEN.get(one.name, "x" if one.default is one.empty else None)
            for one in named
        }  # fmt: skip
        call: Call[Any] = self.call(self.noun, **values)
        return call


def methods() -> Iterator[Method]:
    way: Any = None
    for noun in vars(Nouns(way)).values():
        for name, said in vars(type(noun)).items():
            if isinstance(said, (operation, listing)):
                yield Method(noun, name, said.call)


METHODS = list(methods())


def route_of(call: Call[Any]) -> Json:
    """The documented operation a call goes to; what is spelled out goes before what is named."""
    found = [
        told
        for (method, template), told in ROUTES.items()
        if method == call.method and template.fullmatch(call.path)
    ]
    assert found, f"{call.method} {call.path} is no route of the api"
    exact = [told for (_, template), told in ROUTES.items() if template.pattern == call.path]
    return next((told for told in found if told in exact), found[0])


def resolved(schema: Json) -> Json:
    while "$ref" in schema:
        schema = DOCUMENT["components"][schema["$ref"].split("/")[2]][schema["$ref"].split("/")[3]]
    return schema


def success_of(told: Json) -> Json | None:
    """The documented JSON of a success; None for one without."""
    status = min(status for status in told["responses"] if status.startswith("2"))
    content: Json = told["responses"][status].get("content", {})
    return next((one for name, one in content.items() if name.endswith("json")), None)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_asks_for_a_route_of_the_api_as_documented(method: Method) -> None:
    told = route_of(method.build({}))
    body = None
    if "requestBody" in told:
        body = told["requestBody"]["content"]["application/json"]
    call = method.build(None if body is None else body["example"])
    known = {resolved(parameter)["name"] for parameter in told["parameters"]}
    assert set(call.params) <= known
    assert ("If-Match" in known) or call.only_over is None
    assert (call.body is None) is (body is None)
    if body is not None and call.content is not None:
        schema = {**body["schema"], "components": DOCUMENT["components"]}
        jsonschema.validate(msgspec.json.decode(call.content), schema)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_documented_answer_is_read_whole(method: Method) -> None:
    call = method.build({})
    told = success_of(route_of(call))
    if told is None:
        assert call.answer is type(None)
        return
    assert call.decoded(msgspec.json.encode(told["example"])) is not None
    imagined, unread = compared(call.answer, told["schema"])
    new = {member for member in unread if member.rpartition(".")[2] not in CLOUD}
    assert set(imagined) == UNLISTED.get(str(method), set()), "misspelled, or gone from the api"
    assert new <= UNREAD, "new in the api: add it"


def compared(kind: Any, schema: Json, where: str = "$") -> tuple[list[str], list[str]]:  # noqa: ANN401
    """The members that a client's type has and the documented one lacks, and the other way."""
    schema = resolved(schema)
    if "anyOf" in schema:
        several = [compared(kind, one, where) for one in schema["anyOf"]]
        return min(several, key=lambda lists: len(lists[0])) if is_structured(kind) else ([], [])
    for part in get_args(kind) if not is_struct(kind) else ():
        if is_structured(part):
            return compared(part, schema.get("items", schema), where)
    if not is_struct(kind):
        return [], []
    properties = schema.get("properties", {})
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    imagined = [f"{where}.{name}" for name in fields if name not in properties]
    unread = [f"{where}.{name}" for name in properties if name not in fields]
    for name in fields.keys() & properties.keys():
        inner = compared(fields[name].type, properties[name], f"{where}.{name}")
        imagined += inner[0]
        unread += inner[1]
    return imagined, unread


def is_struct(kind: Any) -> bool:  # noqa: ANN401
    origin = getattr(kind, "__origin__", kind)
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct)


def is_structured(kind: Any) -> bool:  # noqa: ANN401
    return is_struct(kind) or any(is_structured(part) for part in get_args(kind))


def test_members_that_are_new_are_no_error() -> None:
    method = next(one for one in METHODS if str(one) == "shipments.get")
    call = method.build({})
    told = success_of(route_of(call))
    assert told is not None
    example = {**told["example"], "status": "beamed_up", "mood": {"good": True}}
    assert call.decoded(msgspec.json.encode(example)).status == "beamed_up"


def test_the_client_is_light() -> None:
    program = (
        "import sys, waymark.client; "
        "print([m for m in ('api', 'tracking', 'ingest', 'fastapi', 'pydantic', 'psycopg', 'numpy')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert found.stdout.strip() == b"[]"
