"""What the api takes about visits, explanations and areas."""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import Field

from api.conventions.answers import Page
from api.conventions.problems import Problem
from api.schemas.parameters import Paged, Selected, Text, Time
from tracking.stays import AreaDevice
from tracking.times import Moment
from tracking.visit_summary import VisitGroup


class VisitQuery(Paged):
    """Which visits, and how to tell them."""

    fence: Text | None = Field(None, description="Visits of this fence")
    device: Text | None = Field(None, description="Visits of this device")
    layer: Text | None = Field(None, description="Visits of the fences of this layer")
    start: Time | None = Field(
        None, alias="from", description="Visits that reach to this time or beyond"
    )
    end: Time | None = Field(None, alias="to", description="Visits that began before this time")
    open: bool | None = Field(None, description="Whether the device is still inside")
    format: Literal["json", "csv"] | None = None
    group_by: Literal["fence", "device", "day"] | None = Field(
        None, description="Tell what they come to instead of each"
    )
    time_zone: Text = Field("UTC", description="Of the days, an IANA name")

    def zone(self) -> ZoneInfo:
        """The time zone.

        Raises:
            Problem: 422, there is none of this name.
        """
        return zone_of(self.time_zone)


def zone_of(name: str) -> ZoneInfo:
    """The time zone in a `time_zone` parameter.

    Raises:
        Problem: 422, there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Problem(
            422, f"time_zone: {name!r} is no time zone like Europe/Berlin", field="time_zone"
        ) from None


class VisitSummaryPage(Page[VisitGroup], frozen=True):
    """What visits come to, and all of them together; there is no second page."""

    total: VisitGroup


class WhyNotQuery(Selected):
    """What did not happen, where, to whom, and about when."""

    device: Text
    fence: Text
    at: Time
    within_s: float = Field(600.0, gt=0, le=3_600, description="Look this far on either side")


class AreaDevicesPage(Page[AreaDevice], frozen=True):
    """Who was in an area; `notes` is what was mended in its shape. There is no second page."""

    notes: list[str]


class AreaInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An area and a time. Stays end where a device was not heard of for `gap_s`."""

    shape: dict[str, Any]
    start: Moment
    end: Moment
    gap_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 900.0
