"""Ways by road: whoever knows them, asked seldom and never in anybody's way."""

from ingest.roads.ahead import UnderWay, ways_ahead
from ingest.roads.answer import RoadPath
from ingest.roads.book import Ahead, RoadBook, Wanted
from ingest.roads.metrics import RoadMetrics
from ingest.roads.provider import Costing, Roads, open_roads

__all__ = [
    "Ahead",
    "Costing",
    "RoadBook",
    "RoadMetrics",
    "RoadPath",
    "Roads",
    "UnderWay",
    "Wanted",
    "open_roads",
    "ways_ahead",
]
