"""The schema as plain SQL files, forward-only; see `tracking.store.migrate`.

`NNNN_words.sql` runs everywhere; `NNNN_words.timescale.sql` and `NNNN_words.native.sql` are two
flavours of one step, of which the one the server can run is applied.
"""
