"""Checks of who knows the roads."""

import asyncio
from collections.abc import Iterator

from ingest.roads import open_roads
from tracking.errors import RoadsUnavailable, SettingsError
from tracking.roads import RoadSource, road_source
from tracking.settings import Settings
from waymark.doctor.finding import TIMEOUT_S, Finding, one_line, without_password


def check_roads(settings: Settings) -> Iterator[Finding]:
    """Whether the provider answers, where one is set."""
    source = road_source(settings.roads)
    if source is None:
        yield Finding("roads", "answers", "ok", "not used: WAYMARK_ROADS is none")
        return
    where = without_password(settings.roads)
    try:
        who = asyncio.run(_introduced(source, settings))
    except SettingsError as exc:
        yield Finding("roads", "settings", "fail", one_line(exc), "correct the variable")
    except (RoadsUnavailable, TimeoutError) as exc:
        yield Finding(
            "roads",
            "answers",
            "fail",
            f"{where}: {one_line(exc)}",
            "start it, or correct WAYMARK_ROADS; until then forecasts go by the detour",
        )
    else:
        yield Finding("roads", "answers", "ok", f"{who} at {where}")


async def _introduced(source: RoadSource, settings: Settings) -> str:
    async with open_roads(source, settings.roads_costing) as roads, asyncio.timeout(TIMEOUT_S):
        return await roads.introduce()
