"""The forecasters on real recordings: Austin's buses, a campus shuttle, Porto's taxis.

`python -m tests.eta_study ../shared` prints the table of docs/eta.md; other files of the same forms
may be named. Trips are replayed in the order of time, and learned from when they have ended.
"""
