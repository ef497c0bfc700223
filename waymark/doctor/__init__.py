"""`waymark doctor`: every setting, and a check of every server, with what to do when one fails."""

from collections.abc import Iterator

from tracking.settings import Settings
from waymark.doctor.broker import check_broker
from waymark.doctor.finding import Finding
from waymark.doctor.identity import check_identity
from waymark.doctor.roads import check_roads
from waymark.doctor.settings_table import Row, markdown_table, settings_rows
from waymark.doctor.stores import check_database, check_redis

__all__ = ["Finding", "Row", "examine", "markdown_table", "settings_rows"]


def examine(settings: Settings) -> Iterator[Finding]:
    """Check database, Redis, broker, what signing in needs and the roads, one after the other.

    A dead one takes a few seconds.
    """
    yield from check_database(settings.database_url.get_secret_value())
    yield from check_redis(settings.redis_url.get_secret_value())
    yield from check_broker(settings)
    yield from check_identity(settings)
    yield from check_roads(settings)
