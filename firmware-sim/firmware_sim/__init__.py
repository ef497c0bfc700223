"""A simulator of vehicles, RFID readers and sensors that speaks MQTT and can misbehave on demand.

It shares no code with the system it exercises: it is an independent witness of what was sent.
"""

from firmware_sim.itinerary import read_itineraries
from firmware_sim.journey import Journey
from firmware_sim.options import Faults, OptionError, Options
from firmware_sim.plan import DevicePlan, Plan, Simulation, plan
from firmware_sim.readings import Delivery, Reading

__all__ = [
    "Delivery",
    "DevicePlan",
    "Faults",
    "Journey",
    "OptionError",
    "Options",
    "Plan",
    "Reading",
    "Simulation",
    "plan",
    "read_itineraries",
]
