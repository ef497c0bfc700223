"""When it will be there: forecasts learned from what was driven. Pure: numpy, no clock, no I/O.

Two forecasters. `LaneEta` knows the places on the way, a timetable's stops or a shipment's, with
planned times or without. `TripEta` knows a destination, and the path where one is given. Both start
from a prior and move it by what past trips took between the same places; `Band` says how sure that
is, `Trust` which of several forecasts has lately been right.
"""
