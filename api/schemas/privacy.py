"""What the api takes and tells about privacy."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from api.document.route import NDJSON, documented
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


class DossierLine(msgspec.Struct, frozen=True):
    """A row of a table, as the database has it; what proves a secret is left out."""

    table: str
    row: dict[str, Any]


class Lines(NamedTuple):
    """Lines on their way into a file."""

    encoded: bytes

    def lines(self) -> bytes:
        """As they are."""
        return self.encoded

    def columns(self) -> Mapping[str, Any]:
        """Tables of many kinds have no columns in common."""
        raise NotImplementedError


_LINE = DossierLine("position", {"fix_time": "2026-03-08T06:30:00+00:00", "lon": 5.1041})
DOSSIER_OF_DEVICE = documented(
    "exportDevice", DossierLine, example=_LINE, media_type=NDJSON, problems=(429,)
)
DOSSIER_OF_PERSON = documented(
    "exportUser", DossierLine, example=_LINE, media_type=NDJSON, problems=(429,)
)
