"""All nouns of the api, each with its methods."""

from typing import Generic

from waymark.client.assets import Assets, Attachments
from waymark.client.calls import Way
from waymark.client.devices import Devices
from waymark.client.eta import Eta
from waymark.client.events import Events
from waymark.client.feed import Feed
from waymark.client.fences import Fences
from waymark.client.pickups import Pickups
from waymark.client.shipments import Orders, Shipments


class Nouns(Generic[Way]):
    """What both clients are."""

    def __init__(self, way: Way) -> None:
        self.shipments = Shipments(way)
        self.orders = Orders(way)
        self.pickups = Pickups(way)
        self.assets = Assets(way)
        self.attachments = Attachments(way)
        self.devices = Devices(way)
        self.fences = Fences(way)
        self.events = Events(way)
        self.eta = Eta(way)
        self.feed = Feed(way)
