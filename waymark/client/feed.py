"""The live feed: events without holes, and positions."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from waymark.client.calls import AsyncWay, BlockingWay, Noun, Way, bound
from waymark.client.devices import Box, Position
from waymark.client.events import Event
from waymark.client.following import EventTail, FeedState, Following, PositionTail, Wanted

P = ParamSpec("P")
Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
OnState = Callable[[FeedState], object]


class AsyncStream(Protocol[Item_co]):
    """What happens, for ever, resumed by itself; cancelling `anext` loses nothing."""

    @property
    def cursor(self) -> int | None:
        """Up to where everything was given out; of events, what to give as `since` later."""

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Item_co: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def aclose(self) -> None:
        """End it, also from another task."""


class BlockingStream(Protocol[Item_co]):
    """What happens, for ever, resumed by itself."""

    @property
    def cursor(self) -> int | None:
        """Up to where everything was given out; of events, what to give as `since` later."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Item_co: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None:
        """End it, also from another thread, in which `for` waits."""


class stream(Generic[P, Item]):  # noqa: N801 -- a decorator
    """As `calls.operation`, for what has no end."""

    def __init__(self, following: Callable[Concatenate[Any, P], Following[Item]]) -> None:
        self.following = following
        self.__doc__ = following.__doc__

    @overload
    def __get__(self, noun: None, owner: type) -> Self: ...
    @overload
    def __get__(self, noun: Noun[AsyncWay], owner: type) -> Callable[P, AsyncStream[Item]]: ...
    @overload
    def __get__(
        self, noun: Noun[BlockingWay], owner: type
    ) -> Callable[P, BlockingStream[Item]]: ...
    def __get__(self, noun: Noun[Any] | None, owner: type) -> Any:
        """As `calls.operation`."""
        return self if noun is None else bound(self.following, noun, noun.way.follow)


class Feed(Noun[Way]):
    """`/v1/feed`, over a websocket."""

    @stream
    def events(
        self,
        *,
        since: int | None = None,
        known_until: datetime | None = None,
        types: Sequence[str] | None = None,
        devices: Sequence[str] | None = None,
        fences: Sequence[str] | None = None,
        shipments: Sequence[str] | None = None,
        bbox: Box | None = None,
        on_state: OnState | None = None,
    ) -> Following[Event]:
        """Every event behind the cursor `since`, or from now on: in order, none left out or twice.

        `types` are names (`trip.started`) or families (`trip.*`); all filters given must fit. With
        `known_until`, when the event at `since` was recorded, a stream can begin also where the
        api's database was brought back from a copy; without, that is a `Gap`.
        """
        wanted = Wanted(types, devices, fences, shipments, bbox, positions=False)
        return Following(EventTail(wanted, since, known_until), on_state)

    @stream
    def positions(
        self,
        *,
        devices: Sequence[str] | None = None,
        shipments: Sequence[str] | None = None,
        bbox: Box | None = None,
        on_state: OnState | None = None,
    ) -> Following[Position]:
        """Where everything is, then what moves: the newest fix of each device.

        Of `shipments`: of whatever carries them. Who reads slowly gets fewer and newer ones; for
        every fix there is `devices.positions`.
        """
        wanted = Wanted((), devices, None, shipments, bbox)
        return Following(PositionTail(wanted), on_state)
