"""The client for asyncio: does what scripts ask for with httpx and websockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from waymark.client.calls import AsyncWay, Call, Page
from waymark.client.connecting import TIMEOUT_S, Address, check_credential, lost_of
from waymark.client.errors import Closed, Lost
from waymark.client.exchange import (
    Answer,
    Authorize,
    Done,
    Give,
    Patience,
    Pause,
    Run,
    Send,
    exchange,
)
from waymark.client.following import Following, Listen, Open, Say, Tail
from waymark.client.nouns import Nouns

T = TypeVar("T")
Row = TypeVar("Row")
Item = TypeVar("Item")


class AsyncWaymark(Nouns[AsyncWay]):
    """The tracking api at `url`. Any number of tasks may use one; it ends with its context.

    `key` is an API key. `token` brings an access token instead: it is awaited for the first one,
    and again when that is refused or about to expire.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
        timeout_s: float = TIMEOUT_S,
        patience: Patience | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self)
        check_credential(key, token)
        self._address = Address.of(url, tls)
        self._patience = patience or Patience()
        self._credential = _Credential(key, token)
        self._http = httpx.AsyncClient(**self._address.http(timeout_s))
        # Those that were not ended: whoever breaks out of a loop leaves one behind.
        self._streams = set[_Stream[Any]]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every stream and connection; what is asked from then on raises `Closed`."""
        for stream in list(self._streams):
            await stream.aclose()
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """The answer to any call, as the methods of the nouns make them."""
        answer: T = await self._drive(Run(exchange(call, self._patience)))
        return answer

    async def rows(self, call: Call[Page[Row]]) -> AsyncIterator[Row]:
        """The rows of all pages."""
        page = await self.send(call)
        while True:
            for row in page.items:
                yield row
            if page.next is None:
                return
            page = await self.send(call.at(page.next))

    def follow(self, following: Following[Item]) -> "_Stream[Item]":
        """A stream of what the feed brings, as the methods of `feed` make them."""
        run = Run(following.script(self._patience))
        stream = _Stream(following.tail, run, self._address, self._perform, self._streams.discard)
        self._streams.add(stream)
        return stream

    async def _perform(self, effect: object) -> object:
        """Do what a script asks for, and return what came of it.

        Raises:
            Lost: it could not be done.
        """
        match effect:
            case Send():
                return await self._exchange(effect)
            case Authorize(refused=refused):
                return await self._credential.token(refused)
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
                return None
            case _:
                raise TypeError(effect)

    async def _drive(self, run: Run) -> Any:  # noqa: ANN401 -- a run does not know
        while not isinstance(effect := run.effect, Done):
            try:
                came = await self._perform(effect)
            except Lost as lost:
                run.failed(lost)
            else:
                run.told(came)
        return effect.value

    async def _exchange(self, asked: Send) -> Answer:
        if self._http.is_closed:
            raise Closed("this client was closed")
        try:
            answer = await self._http.request(
                asked.method, asked.target, headers=asked.headers, content=asked.body
            )
        except httpx.HTTPError as exc:
            raise lost_of(exc) from exc
        return Answer(answer.status_code, answer.headers, answer.content)


class _Credential:
    def __init__(self, key: str | None, bring: Callable[[], Awaitable[str]] | None) -> None:
        self._token = key
        self._bring = bring
        self._lock = asyncio.Lock()

    async def token(self, refused: str | None) -> str:
        # Whoever waited meanwhile takes what the first one brought.
        async with self._lock:
            if self._bring is not None and self._token in {None, refused}:
                self._token = await self._bring()
            return self._token or ""


class _Stream(Generic[Item]):
    """See `feed.AsyncStream`."""

    def __init__(
        self,
        tail: Tail[Item],
        run: Run,
        address: Address,
        otherwise: Callable[[object], Awaitable[object]],
        ended: Callable[["_Stream[Any]"], object],
    ) -> None:
        self._tail = tail
        self._run = run
        self._address = address
        # Does what does not concern the socket.
        self._otherwise = otherwise
        self._ended = ended
        self._socket: ClientConnection | None = None
        self._closed = asyncio.Event()

    @property
    def cursor(self) -> int | None:
        """Up to where everything was given out."""
        return self._tail.since

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._closed.is_set():
            try:
                effect = self._run.effect
            except BaseException:
                await self.aclose()
                raise
            if isinstance(effect, Give):
                self._run.told(None)
                item: Item = effect.item
                return item
            try:
                came = await self._perform(effect)
            except Lost as lost:
                await self._hang_up()
                self._run.failed(lost)
            else:
                self._run.told(came)
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it; whoever waits for the next item is told that there is none."""
        self._closed.set()
        self._ended(self)
        await self._hang_up()

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _perform(self, effect: object) -> object:
        try:
            match effect:
                case Open(token=token):
                    await self._hang_up()
                    self._socket = await connect(**self._address.feed(token))
                    return None
                case Say(message=message):
                    await self._say(message)
                    return None
                case Listen():
                    return await self._open.recv(decode=False)
                case Pause(seconds=seconds):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._closed.wait(), seconds)
                    return None
                case _:
                    return await self._otherwise(effect)
        except (OSError, TimeoutError, WebSocketException) as exc:
            raise lost_of(exc) from exc

    async def _say(self, message: bytes) -> None:
        socket = self._open
        try:
            await socket.send(message, text=True)
        except asyncio.CancelledError:
            # Nobody knows whether it was sent, and it must not be twice on one connection.
            self._socket = None
            socket.transport.abort()
            raise

    @property
    def _open(self) -> ClientConnection:
        if self._socket is None:
            raise Lost("the stream was closed")
        return self._socket
