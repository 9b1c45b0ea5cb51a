"""Volume of cells in parts: fluid, nuclear solid and cytoplasmic solid, relaxing to their targets, exactly.

dN/dt = r_N (N* − N), dC/dt = r_C (C* − C), dF/dt = r_F (f (F + N + C) − F): the volume model of PhysiCell
(Ghaffarizadeh et al. 2018, doi:10.1371/journal.pcbi.1005991), which is linear and is solved here in closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["relax_parts"]

Array = NDArray[np.float64]


def relax_parts(
    fluid: Array,
    nuclear: Array,
    cytoplasm: Array,
    targets: tuple[ArrayLike, ArrayLike, ArrayLike],
    rates: tuple[ArrayLike, ArrayLike, ArrayLike],
    dt: float,
) -> tuple[Array, Array, Array]:
    """Fluid, nuclear solid and cytoplasmic solid (n,) [um^3] after dt [min].

    Args:
        fluid, nuclear, cytoplasm: (n,) [um^3], left as they are.
        targets: fluid as a share of the whole, nuclear and cytoplasmic solid [um^3].
        rates: of approach to each [1/min].
        dt: [min].
    """
    share, nuclear_end, cytoplasm_end = (np.asarray(t, dtype=np.float64) for t in targets)
    of_fluid, of_nucleus, of_cytoplasm = (np.asarray(r, dtype=np.float64) for r in rates)
    leak = of_fluid * (1.0 - share)
    kept = np.exp(-leak * dt)
    drawn = (nuclear_end + cytoplasm_end) * _mean(leak, dt)
    for start, end, rate in ((nuclear, nuclear_end, of_nucleus), (cytoplasm, cytoplasm_end, of_cytoplasm)):
        drawn = drawn + (start - end) * kept * _mean(rate - leak, dt)
    return (
        fluid * kept + of_fluid * share * drawn,
        nuclear + (nuclear_end - nuclear) * -np.expm1(-of_nucleus * dt),
        cytoplasm + (cytoplasm_end - cytoplasm) * -np.expm1(-of_cytoplasm * dt),
    )


def _mean(rate: Array, dt: float) -> Array:
    """∫₀^dt exp(−rate s) ds, for any sign of the rate."""
    small = np.abs(rate * dt) < 1e-12
    return np.where(small, dt, -np.expm1(-rate * dt) / np.where(small, 1.0, rate))
