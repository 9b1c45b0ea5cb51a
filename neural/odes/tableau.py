"""Coefficients of the Runge-Kutta pair of Tsitouras: order 5 with an estimate of order 4, and dense output.

Seven stages, the last of which is the first of the next step. Between the ends of a step the solution is
y + h sum_i b_i(theta) k_i, theta in [0, 1], with b_i of degree four: the outputs of a step are one matrix product.

Source: Ch. Tsitouras, Computers & Mathematics with Applications 62 (2011) 770-775.
"""

from __future__ import annotations

import numpy as np

STAGES = 7
ORDER = 5

#: (stage, stage) weights of earlier stages; the last row makes the new state
A = np.zeros((STAGES, STAGES))
A[1, :1] = [0.161]
A[2, :2] = [-0.008480655492356989, 0.335480655492357]
A[3, :3] = [2.8971530571054935, -6.359448489975075, 4.3622954328695815]
A[4, :4] = [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525]
A[5, :5] = [
    5.86145544294642,
    -12.92096931784711,
    8.159367898576159,
    -0.071584973281401,
    -0.028269050394068383,
]
A[6, :6] = [
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
]
#: (stage,) where in the step a stage stands
NODES = A.sum(1)
#: (stage,) weights of the new state
WEIGHTS = A[-1]
#: (stage,) weights of the estimate of the step's error
ERROR = np.array(
    [
        0.001780011052225771,
        0.000816434459656747,
        -0.007880878010261995,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918697,
        -1.0 / 66.0,
    ]
)


def _dense() -> np.ndarray:
    """(stage, 4): coefficients of theta, theta^2, theta^3, theta^4 in b_i(theta), from the published factors."""
    polynomial = np.polynomial.Polynomial
    square = polynomial([0.0, 0.0, 1.0])

    def line(root: float) -> np.polynomial.Polynomial:
        return polynomial([-root, 1.0])

    first = polynomial([0.0, 1.0]) * line(1.3299890189751412)
    parts = [
        -1.0530884977290216 * first * polynomial([0.7139816917074209, -1.4364028541716351, 1.0]),
        0.1017 * square * polynomial([1.2949852507374631, -2.1966568338249754, 1.0]),
        2.490627285651252793 * square * polynomial([1.57803468208092486, -2.38535645472061657, 1.0]),
        -16.54810288924490272 * line(1.21712927295533244) * line(0.61620406037800089) * square,
        47.37952196281928122 * line(1.203071208372362603) * line(0.658047292653547382) * square,
        -34.87065786149660974 * line(1.2) * line(0.666666666666666667) * square,
        2.5 * line(1.0) * line(0.6) * square,
    ]
    return np.stack([p.coef[1:5] for p in parts])


#: (stage, 4) coefficients of the powers 1 to 4 of theta in the weights of dense output
DENSE = _dense()


def dense_weights(theta: np.ndarray) -> np.ndarray:
    """Weights b_i(theta) (..., stage) of dense output at theta (...)."""
    powers = np.stack([theta, theta**2, theta**3, theta**4], -1)
    return powers @ DENSE.T
