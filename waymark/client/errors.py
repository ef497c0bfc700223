"""Every error the client raises on purpose.

WaymarkError
 +-- Unauthorized       401: the credential is none, or not good any more
 +-- Forbidden          403: it may not do this
 +-- NotFound           404: it is not there, or not yours
 +-- Conflict           409: what is there contradicts it
 +-- ChangedMeanwhile   412: somebody changed it since you read it
 +-- Refused            the other 4xx: what was asked is wrong; `field` names the member
 +-- RateLimited        429: too often; `retry_after_s`
 +-- Unavailable        5xx, or no answer: away for the moment, and for longer than was waited for
 +-- Gap                the feed does not know the cursor; `head` is its own
 +-- Unintelligible     an answer that is none of this api's: another server, or a newer version
 +-- Closed             the client was closed while it was asked something
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class WaymarkError(Exception):
    """Base of all errors a caller may want to catch; `str(error)` says what to do.

    `status` is that of HTTP, None where nothing answered. `type` is the problem's, such as
    `urn:waymark:problem:conflict`. The log of the api knows the `request_id`.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002 -- RFC 9457's own word
        field: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.detail = detail
        self.status = status
        self.type = type
        self.field = field
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        super().__init__(detail)

    def __str__(self) -> str:
        advice = f" ({self.advice})" if self.advice else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.detail}{advice}{request}"


class Unauthorized(WaymarkError):  # noqa: N818 -- HTTP's words, as below
    """The credential is unknown, has expired or was revoked."""

    advice = "give another `key`, or a `token` callback that brings a fresh one"


class Forbidden(WaymarkError):  # noqa: N818
    """The credential is good, and may not do this."""

    advice = "use a credential whose role and scopes allow it"


class NotFound(WaymarkError):  # noqa: N818
    """It is not there, or belongs to somebody else: nobody can tell which."""


class Conflict(WaymarkError):  # noqa: N818
    """What was asked contradicts what is there; `detail` says what."""

    advice = "read what is there, then decide anew"


class ChangedMeanwhile(WaymarkError):  # noqa: N818
    """Somebody changed it after the version of `only_over`."""

    advice = "read it again, then edit over its new version"


class Refused(WaymarkError):  # noqa: N818
    """What was asked is wrong, and stays so however often it is sent; `field` names the member."""


class RateLimited(WaymarkError):  # noqa: N818
    """Too many requests; `retry_after_s` tells when the next is let in."""

    advice = "ask less often"


class Unavailable(WaymarkError):  # noqa: N818
    """No answer, or one that says that what the api needs is away, after all tries."""

    advice = "try again later; what was sent under an idempotency key may be sent again"


class Gap(WaymarkError):  # noqa: N818
    """The feed does not know the cursor to begin at: its event log ends before it, at `head`.

    The api's database was brought back from a copy, or is another one.
    """

    advice = "read by REST what you need, then begin at `head`"

    def __init__(self, detail: str, head: int) -> None:
        super().__init__(detail)
        self.head = head


class Unintelligible(WaymarkError):  # noqa: N818
    """Something answered that this client does not understand."""

    advice = "check the address, and that client and api are of about the same version"


class Closed(WaymarkError):  # noqa: N818
    """The client was closed."""


class Lost(Exception):  # noqa: N818 -- caught by the client itself, as below
    """A connection that could not be made, or ended. Callers never see it.

    `code` is the status of a refused handshake or the code of a websocket's closing.
    """

    def __init__(
        self, reason: str, *, code: int | None = None, retry_after_s: float | None = None
    ) -> None:
        self.reason = reason
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(reason)


class _Problem(msgspec.Struct):
    detail: str
    type: str | None = None
    field: str | None = None
    request_id: str | None = None


_KINDS: dict[int, type[WaymarkError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: ChangedMeanwhile,
    429: RateLimited,
}
_problem = msgspec.json.Decoder(_Problem)


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> WaymarkError:
    """The error that a refusal is; what is no problem+json, of a proxy say, is told as it is."""
    kind = _KINDS.get(status)
    if kind is None:
        kind = Unavailable if status >= 500 else Refused if status >= 400 else Unintelligible
    try:
        told = _problem.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body[:200].decode(errors="replace").strip()
        told = _Problem(f"status {status}: {text}" if text else f"status {status}")
    return kind(
        told.detail,
        status=status,
        type=told.type,
        field=told.field,
        request_id=told.request_id,
        retry_after_s=retry_after_s(headers),
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`; None where it is missing, or a date, as proxies may send."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
