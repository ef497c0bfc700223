"""The OpenAPI document: valid, complete, and its examples true to its schemas."""

from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from api.app import create_app
from api.document.openapi import operations_of
from tracking.settings import load_settings

DOCUMENT = create_app(load_settings()).openapi()
OPERATIONS = dict(operations_of(DOCUMENT))


def contents(operation: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(where, media type, content) of every success and body of an operation."""
    bodies = {
        status: response
        for status, response in operation["responses"].items()
        if status.startswith("2")
    }
    assert bodies, operation["operationId"]
    if "requestBody" in operation:
        bodies["body"] = operation["requestBody"]
    return [
        (where, media_type, content)
        for where, body in bodies.items()
        for media_type, content in body.get("content", {}).items()
    ]


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT)


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_every_success_and_body_has_a_schema_and_an_example_that_fits(key: tuple[str, str]) -> None:
    operation = OPERATIONS[key]
    for where, media_type, content in contents(operation):
        assert content["schema"], (where, media_type)
        assert "example" in content, (where, media_type)
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        jsonschema.validate(
            content["example"],
            schema,
            jsonschema.Draft202012Validator,
            format_checker=jsonschema.FormatChecker(),
        )


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_a_success_without_a_body_is_a_204(key: tuple[str, str]) -> None:
    for status, response in OPERATIONS[key]["responses"].items():
        assert not status.startswith("2") or ("content" in response) is (status != "204")


def test_no_schema_is_spelled_out_twice() -> None:
    inlined = [
        (key, where)
        for key in OPERATIONS
        for where, media_type, content in contents(OPERATIONS[key])
        if "properties" in content["schema"]
    ]
    assert inlined == []


def test_every_reference_leads_somewhere() -> None:
    text = msgspec.json.encode(DOCUMENT).decode()
    for part in text.split('"$ref":"#/')[1:]:
        place: Any = DOCUMENT
        for name in part.partition('"')[0].split("/"):
            place = place[name]


def test_operations_are_named_once_and_readably() -> None:
    names = [OPERATIONS[key]["operationId"] for key in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name[0].islower() and "_" not in name for name in names)


def test_every_tag_is_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for operation in OPERATIONS.values() for tag in operation["tags"]} <= described
