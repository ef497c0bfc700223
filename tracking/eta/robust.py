"""Fits that outliers do not rule: one trip that waited an hour must not move a thousand."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 40
# Residuals below this weigh alike; else one that is met exactly would take over.
_FLAT_S = 5.0


def least_absolute(rows: Floats, wanted: Floats, *, ridge: float = 1e-3) -> Floats:
    """The coefficients whose absolute errors are least, by reweighted least squares.

    `ridge` pulls them towards zero, in units of the mean square of a row's weight.
    """
    weight = np.ones(len(wanted))
    held = ridge * len(wanted) * np.eye(rows.shape[1])
    found = np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        weighted = rows * weight[:, None]
        found = np.asarray(
            np.linalg.solve(weighted.T @ rows + held, weighted.T @ wanted), np.float64
        )
        weight = 20.0 / np.maximum(np.abs(wanted - rows @ found), _FLAT_S)
    return found
