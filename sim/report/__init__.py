"""The report of a run: one self-contained HTML page, drawn from the opened store alone.

`write_report` makes it; `graph.draw_wiring` draws the wiring by itself.
"""

from __future__ import annotations

from pathlib import Path


def write_report(run_path: Path | str) -> Path:
    """Writes `RUN.zarr.report/report.html` beside the run and returns its path.

    Works for finished and unfinished runs; needs neither display nor network. Large runs are thinned.

    Raises:
        ScenarioError: there is no run at `run_path`, or it is damaged.
        StoreError: the page cannot be written.
    """
    from sim.report.page import render
    from sim.store.disk import disk_errors, own_folder, replace_files
    from sim.store.verify import verify

    run_path = Path(run_path)
    try:
        html = render(run_path)
    except (OSError, RuntimeError, ValueError):
        verify(run_path)  # names the damage, if it is damage
        raise
    folder = run_path.with_name(run_path.name + ".report")
    own_folder(folder)
    with disk_errors(folder):
        replace_files([(folder / "report.html", html.encode())])
    return folder / "report.html"
