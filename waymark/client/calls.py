"""What may be asked of the api, as data, and how one method serves both clients. No I/O.

A noun's methods say what is asked: each returns a `Call`. `@operation` makes of it a method that
asks, awaited where the noun belongs to an `AsyncWaymark` and not where it belongs to a `Waymark`;
`@listing` one that iterates over all pages. So neither client has methods of its own to drift.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)
from urllib.parse import quote, urlencode

import msgspec

from waymark.client.errors import Unintelligible

if TYPE_CHECKING:
    from waymark.client.feed import AsyncStream, BlockingStream
    from waymark.client.following import Following

P = ParamSpec("P")
T = TypeVar("T")
Row = TypeVar("Row")
Way = TypeVar("Way")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Param = str | bool | float | datetime | Sequence[str] | None
Body = Mapping[str, Any]

# Made of a type once: 40 us, more than most answers take to decode.
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class Page(msgspec.Struct, Generic[Row], frozen=True):
    """A part of a list; `next` is the cursor of the one behind it."""

    items: list[Row]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and what its answer is decoded as; None where it has no body.

    `key` is the idempotency key of a write; without one each sending of the call gets its own.
    """

    method: Method
    path: str
    answer: type[T]
    params: Mapping[str, Param] = field(default_factory=dict)
    body: Body | None = None
    only_over: int | None = None
    key: str | None = None

    @property
    def target(self) -> str:
        """Path and query, escaped."""
        pairs = [(name, one) for name, value in self.params.items() for one in _texts(value)]
        return f"{self.path}?{urlencode(pairs, quote_via=quote)}" if pairs else self.path

    @property
    def headers(self) -> dict[str, str]:
        """What is particular to this call, beside its idempotency key."""
        told = {}
        if self.body is not None:
            told["Content-Type"] = "application/json"
        if self.only_over is not None:
            told["If-Match"] = f'"{self.only_over}"'
        return told

    @property
    def content(self) -> bytes | None:
        """The body as JSON."""
        return None if self.body is None else msgspec.json.encode(self.body)

    def decoded(self, body: bytes) -> T:
        """The answer; members this client does not know are left out.

        Raises:
            Unintelligible: it is no such answer.
        """
        try:
            # What has no body is null, the only value of `type(None)`.
            return _decoder(self.answer).decode(body or b"null")
        except msgspec.DecodeError as exc:
            raise Unintelligible(f"the answer to {self.method} {self.path}: {exc}") from exc

    def at(self, cursor: str) -> "Call[T]":
        """The same at another page."""
        return replace(self, params={**self.params, "cursor": cursor})


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def path(*parts: str | int) -> str:
    """A path of the api out of words and names; a name may have anything in it.

    Raises:
        ValueError: a name would lead elsewhere.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            raise ValueError(f"{part!r} is no name")
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def _texts(value: Param) -> list[str]:
    match value:
        case None:
            return []
        case bool():
            return [str(value).lower()]
        case datetime() | date():
            return [value.isoformat()]
        case str() | int() | float():
            return [str(value)]
        case _:
            return [str(one) for one in value]


class AsyncWay(Protocol):
    """How an async client asks."""

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """The answer, after all tries it takes."""

    def rows(self, call: Call[Page[Row]]) -> AsyncIterator[Row]:
        """The rows of all pages."""

    def follow(self, following: "Following[T]") -> "AsyncStream[T]":
        """What a feed brings."""


class BlockingWay(Protocol):
    """How a client asks that blocks."""

    def send(self, call: Call[T]) -> T:
        """The answer, after all tries it takes."""

    def rows(self, call: Call[Page[Row]]) -> Iterator[Row]:
        """The rows of all pages."""

    def follow(self, following: "Following[T]") -> "BlockingStream[T]":
        """What a feed brings."""


class Noun(Generic[Way]):
    """What the api knows of one kind of thing; `Way` is `AsyncWay` or `BlockingWay`."""

    def __init__(self, way: Way) -> None:
        self.way = way


class operation(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method of a noun that asks what the decorated one says."""

    def __init__(self, call: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.call = call
        self.__doc__ = call.__doc__

    @overload
    def __get__(self, noun: None, owner: type) -> Self: ...
    @overload
    def __get__(self, noun: Noun[AsyncWay], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, noun: Noun[BlockingWay], owner: type) -> Callable[P, T]: ...
    def __get__(self, noun: Noun[Any] | None, owner: type) -> Any:
        """The decorator itself from the class, the method that asks from an instance."""
        return self if noun is None else bound(self.call, noun, noun.way.send)


class listing(Generic[P, Row]):  # noqa: N801 -- a decorator
    """As `operation`, for lists: an iterator that turns the pages by itself."""

    def __init__(self, call: Callable[Concatenate[Any, P], Call[Page[Row]]]) -> None:
        self.call = call
        self.__doc__ = call.__doc__

    @overload
    def __get__(self, noun: None, owner: type) -> Self: ...
    @overload
    def __get__(self, noun: Noun[AsyncWay], owner: type) -> Callable[P, AsyncIterator[Row]]: ...
    @overload
    def __get__(self, noun: Noun[BlockingWay], owner: type) -> Callable[P, Iterator[Row]]: ...
    def __get__(self, noun: Noun[Any] | None, owner: type) -> Any:
        """As `operation`."""
        return self if noun is None else bound(self.call, noun, noun.way.rows)


def bound(said: Callable[..., Any], noun: Noun[Any], ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401 -- typed by `__get__`
    """The method of a noun that asks what `said` says."""

    @wraps(said)
    def method(*args: object, **kwargs: object) -> object:
        return ask(said(noun, *args, **kwargs))

    return method
