"""Loading modules, models and kernels without looking for garbage meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """The collector of cycles rests: what is loaded is a million objects that stay, and it would look at them again
    and again, a sixth of the time to the first step. They count as old afterwards."""
    rests_already = not gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not rests_already:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # into the oldest generation, without a look at them
            gc.enable()
