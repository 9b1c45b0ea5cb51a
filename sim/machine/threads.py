"""How many threads the kernels and networks may use. Results do not depend on it."""

from __future__ import annotations

from sim.errors import ScenarioError


def use(threads: int | None = None, device: str = "cpu") -> None:
    """Set the number of threads (all cores if None) and check the device.

    Raises:
        ScenarioError: a device on which nothing runs.
    """
    if device not in ("cpu", "cuda"):
        raise ScenarioError(f"--device {device}: choose cpu or cuda")
    if threads is not None:
        from mechanistic.threads import set_threads

        set_threads(threads)
    if device == "cuda":
        raise ScenarioError("--device cuda: networks step on the CPU only so far; use --device cpu")
