"""What the api takes and tells about privacy."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tracking.store.erasures import Erasure
from tracking.store.retention import Retention

_Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]+$")]


class ErasureInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to forget: a device by its name, or a person by e-mail address."""

    device: _Name | None = None
    user: _Name | None = None


ERASURE_INPUT = ErasureInput(device="van-7")
_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
ERASURE = Erasure(
    id=UUID("0195756f-5a00-7000-8000-5f1d2c3b4a59"),
    kind="device",
    subject="van-7",
    requested_at=_MORNING,
    requested_by="ann@acme.example",
    rows_n=184_202,
    finished_at=_MORNING.replace(minute=32),
    number=17,
)
RETENTION = Retention(positions_days=400, events_days=1_100, audit_days=2_200)
