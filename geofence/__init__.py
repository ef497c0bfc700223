"""Pure geometry and the machines that turn it into visits: no clock, no I/O.

`shapes` what a fence may be; `formats` how people write it; `cover` its H3 cells; `index` which
fences a place is in, and how deep; `calm` when being inside counts as having entered.
"""
