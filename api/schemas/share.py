"""What the api takes about share links."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from api.conventions.answers import Page
from api.conventions.problems import Problem
from api.schemas.assets import GivenMoment
from tracking.sharing import ShareLink

_LIVES = timedelta(days=14)
_LIVES_AT_MOST = timedelta(days=366)


class ShareInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link to be made: for who waits at `stop` (the last one), until `expires_at` (14 days).

    The exact place is shown from when that stop is at most `stops_away` stops ahead; with 0 from
    when it is arriving there.
    """

    stop: Annotated[int, Meta(ge=0, le=99)] | None = None
    stops_away: Annotated[int, Meta(ge=0, le=100)] = 1
    expires_at: GivenMoment | None = None


class MadeLink(ShareLink, frozen=True):
    """A link, and the only time that its token is shown. `path` is its public page."""

    token: str
    path: str


class ShareLinks(Page[ShareLink], frozen=True):
    """The links to a shipment; there is one page."""


def expiry_of(given: ShareInput) -> datetime:
    """When a link ends.

    Raises:
        Problem: 422, it has ended already, or would outlive a year.
    """
    now = datetime.now(UTC)
    if given.expires_at is None:
        return now + _LIVES
    if not now < given.expires_at <= now + _LIVES_AT_MOST:
        raise Problem(
            422, "expires_at: this is past, or more than a year ahead", field="expires_at"
        )
    return given.expires_at
