"""What the api takes and tells about API keys."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from api.conventions.problems import Problem
from tracking.access import Role
from tracking.fence_input import Name
from tracking.store.keys import ApiKey
from tracking.times import Moment

_DAY_S = 86_400


class KeyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. `scopes` are permissions like `fences:write` or `*:read`.

    With a `party` it reads the shipments of that shipper, carrier or consignee, and nothing else.
    """

    name: Name
    role: Role = "viewer"
    scopes: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    party: Name | None = None


class RotationInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key goes on beside the new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=90 * _DAY_S)] = _DAY_S


class MadeKey(ApiKey, frozen=True):
    """A key, and the only time that it is shown."""

    key: str


def checked_expiry(moment: datetime | None) -> Moment | None:
    """When a key ends by itself.

    Raises:
        Problem: 422, it has ended before it began.
    """
    if moment is not None and not datetime.now(UTC) < moment.astimezone(UTC):
        raise Problem(422, "expires_at: this is not in the future", field="expires_at")
    return moment
