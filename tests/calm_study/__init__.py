"""The protocol behind `geofence.calm`: streets as borders, noise, and what counts as a visit.

Everything is in metres of a local plane. The truth of a recording is T50: of the naive runs inside
and outside a zone those that are 50 m deep, or a minute long with three fixes and 10 m deep; the
others belong to the run before them. Nobody labelled these recordings: T50 is a judgement too, and
a real clip of a corner, 30 m deep, counts as false.
"""
