"""What the numbers in a row mean: the unit of its features and the bits of its flags. Plain Python, for everyone.

A row's features are int16 in units of 1 / X_SCALE; column 0, the constant, is X_SCALE.
"""

from __future__ import annotations

from typing import Final

X_SCALE: Final = 4096  # a feature of 1.0; a power of two, so that no bit is lost on the way to a float and back

# What a reward teaches, see grid.py: an experiment keeps the grid that it was made with.
COARSE_GRID: Final = 1
FINE_GRID: Final = 2

# What a row says about its decision.
HOLDOUT: Final = 1  # the subject is in the holdout
DEFERRED: Final = 2  # not a trial before it is exposed
HISTORY: Final = 4  # imported, not served
UNDRAWN: Final = 8  # the default arm without a draw: teaches nothing
UNCOUNTED: Final = 16  # preview, bot or inactive: never logged, only in tokens
STICKY: Final = 32  # the unit is (subject, period)
RETRACTION: Final = 64  # of a reward row: it takes back
SUBSET: Final = 128  # drawn among the caller's own arms, which were not all that could be drawn
