"""What every request may use, made once per process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from api.broker_door import BrokerDoor
    from api.command_waits import CommandWaits
    from api.exports.desk import ExportDesk
    from api.feed.fanout import Fanout
    from api.fencebooks import FenceBooks
    from api.identity.credentials import Credentials
    from api.identity.gate import Gate
    from api.identity.parts import Identity
    from api.latest import Latest
    from api.metrics import Metrics
    from tracking.feed import Publisher
    from tracking.settings import Settings
    from tracking.store.pool import ReadPool


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one api process."""

    settings: "Settings"
    pool: "ReadPool"
    credentials: "Credentials"
    gate: "Gate"
    identity: "Identity"
    fanout: "Fanout"
    books: "FenceBooks"
    latest: "Latest"
    exports: "ExportDesk"
    publisher: "Publisher"
    metrics: "Metrics"
    door: "BrokerDoor"
    command_waits: "CommandWaits"


def services_of(connection: HTTPConnection) -> Services:
    """The services of the process that answers this request or socket."""
    return cast("Services", connection.app.state.services)
