"""`fields=name,position.lon`: of each object only these members. Pure."""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

from api.conventions.problems import Problem

# Where a list keeps its objects, and these what can be chosen of.
_LISTS = {"items": None, "features": "properties"}

# As deep as members are named in documents; what is deeper may be asked for all the same.
_DEPTH = 2

Tree = dict[str, "Tree"]


class Fields:
    """A choice of members, as a tree: a member without branches is told whole."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    @classmethod
    def of(cls, text: str, kinds: tuple[Any, ...]) -> "Fields":
        """The choice in a `fields` parameter, of what an answer of one of `kinds` has.

        Raises:
            Problem: 422, naming those it does not have.
        """
        paths = [path.split(".") for path in text.split(",")]
        unknown = [
            ".".join(path)
            for path in paths
            if not any(_known(_chosen_of(kind), path) for kind in kinds)
        ]
        if unknown:
            named = ", ".join(repr(name) for name in unknown)
            raise Problem(422, f"fields: there is no {named} here", field="fields")
        tree: Tree = {}
        for path in paths:
            branch = tree
            for name in path:
                branch = branch.setdefault(name, {})
        return cls(tree)

    @staticmethod
    def names(kinds: tuple[Any, ...]) -> list[str]:
        """Every member that can be asked for, the parts of one as `position.lon`."""
        found = [name for kind in kinds for name in _names(_chosen_of(kind), _DEPTH)]
        return list(dict.fromkeys(found))

    def pick(self, body: bytes) -> bytes:
        """The JSON of an object or a list of them, with these members in the order they had."""
        document = msgspec.json.decode(body)
        for name, within in _LISTS.items():
            if isinstance(document.get(name), list) and "next" in document:
                document[name] = [
                    _picked(one, self._tree)
                    if within is None
                    else one | {within: _picked(one[within], self._tree)}
                    for one in document[name]
                ]
                return msgspec.json.encode(document)
        return msgspec.json.encode(_picked(document, self._tree))


def _picked(value: Any, tree: Tree) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(value, list):
        return [_picked(one, tree) for one in value]
    if not isinstance(value, dict) or not tree:
        return value
    return {name: _picked(part, tree[name]) for name, part in value.items() if name in tree}


@lru_cache(maxsize=256)
def _chosen_of(kind: object) -> inspect.Type:
    """The objects of a list, or the one object."""
    whole = inspect.type_info(kind)
    members = {field.encode_name: field.type for field in _members(whole) or ()}
    for name, within in _LISTS.items():
        found = members.get(name)
        if "next" in members and isinstance(found, inspect.ListType):
            item = found.item_type
            inner = {field.encode_name: field.type for field in _members(item) or ()}
            return item if within is None else inner[within]
    return whole


def _known(kind: inspect.Type, path: list[str]) -> bool:
    members = _members(kind)
    if not path or members is None:
        # Below what is anybody's own JSON everything may be asked for.
        return all(path)
    return any(_known(field.type, path[1:]) for field in members if field.encode_name == path[0])


def _names(kind: inspect.Type, depth: int) -> list[str]:
    found = []
    for field in (_members(kind) or ()) if depth else ():
        found.append(field.encode_name)
        found += [f"{field.encode_name}.{name}" for name in _names(field.type, depth - 1)]
    return found


def _members(kind: inspect.Type) -> tuple[inspect.Field, ...] | None:
    """What an object of the type has; nothing if it is no object, None if nobody can tell."""
    match kind:
        case inspect.Metadata(type=inner):
            return _members(inner)
        case inspect.StructType(fields=fields):
            return fields
        case inspect.ListType(item_type=item):
            return _members(item)
        case inspect.UnionType(types=types):
            found = [_members(one) for one in types]
            return None if None in found else tuple(f for fields in found if fields for f in fields)
        case inspect.AnyType() | inspect.DictType() | inspect.CustomType() | inspect.RawType():
            return None
    return ()
