"""The JSON schemas of types, as the components of a document."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

Json = dict[str, Any]

REFERENCE = "#/components/schemas/"
_GENERIC = re.compile(r"([A-Za-z]+)_(\w+)_")


class Schemas:
    """Every type the document speaks of, each once."""

    def __init__(self, kinds: list[Any]) -> None:
        self._kinds = list(dict.fromkeys(kinds))
        found, components = msgspec.json.schema_components(
            self._kinds, ref_template=REFERENCE + "{name}"
        )
        self._schemas = [_readable(schema) for schema in found]
        self.components = {
            _plain_name(name): _readable(schema) for name, schema in sorted(components.items())
        }

    def of(self, kind: object) -> Json:
        """The schema of a type, mostly a reference."""
        schema: Json = self._schemas[self._kinds.index(kind)]
        return schema


def _plain_name(name: str) -> str:
    """`Page_Device_` is DevicePage."""
    generic = _GENERIC.fullmatch(name)
    return f"{generic[2]}{generic[1]}" if generic else name


def _readable(schema: Any) -> Any:  # noqa: ANN401 -- any JSON
    """A schema with plain names, and docstrings in one piece."""
    if isinstance(schema, list):
        return [_readable(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    read = {name: _readable(part) for name, part in schema.items()}
    if isinstance(read.get("$ref"), str):
        read["$ref"] = REFERENCE + _plain_name(read["$ref"].removeprefix(REFERENCE))
    if isinstance(read.get("description"), str):
        read["description"] = re.sub(r"\n +", "\n", read["description"]).strip()
    if isinstance(read.get("title"), str):
        read.pop("title")
    return read
