"""Small runs, written straight into a store, for the report to draw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sim.store.layout import Layout, Variable
from sim.store.writer import RunWriter

WIRING = {
    "nodes": [
        {"name": "field.erlotinib", "kind": "dynamic", "step": 6.0},
        {"name": "field.oxygen", "kind": "dynamic", "step": 6.0},
        {"name": "pathway.egfr", "kind": "dynamic", "step": 30.0},
        {"name": "manipulator.drugs", "kind": "dynamic", "step": 30.0},
        {"name": "life", "kind": "discrete", "step": 6.0},
    ],
    "edges": [
        {"source": "field.erlotinib", "target": "pathway.egfr", "from": "field.erlotinib",
         "to": "pathway.egfr.inhibitor", "label": "identity", "mode": "set", "kind": "coupling"},
        {"source": "field.erlotinib", "target": "manipulator.drugs", "from": "field.erlotinib",
         "to": "condition.erlotinib", "label": "identity", "mode": "set", "kind": "coupling"},
        {"source": "pathway.egfr", "target": "life", "from": "pathway.egfr.ppERK", "to": "rate.division",
         "label": "Hill rising, half-max 1", "mode": "scale", "kind": "coupling"},
        {"source": "manipulator.drugs", "target": "life", "from": "decoder.apoptosis", "to": "rate.death",
         "label": "identity", "mode": "set", "kind": "coupling"},
        {"source": "life", "target": "field.oxygen", "from": "cell.living", "to": "field.oxygen",
         "label": "", "mode": "", "kind": "read"},
    ],
}  # fmt: skip


def write(
    path: Path, *, cells: int = 12, frames: int = 5, solid: bool = False, status: str = "complete"
) -> Path:
    """Cells on a spiral; at time k (k > 0) cell k-1 bears one daughter and, at 2, the last founder dies."""
    draw = np.random.default_rng(3)
    centres = np.arange(-40.0, 50.0, 20.0)
    layout = Layout(
        time_unit="h",
        types=["tumour", "immune"],
        phases=["live", "apoptotic", "lysed"],
        causes=["division", "apoptosis"],
        cells=[
            Variable("pathway.egfr.ppERK", "uM", "doubly phosphorylated ERK"),
            Variable("rate.division", "1/min", "rate of division"),
            Variable(
                "ur.drug", "1", "drug representation", axes=(("c", 2),), attrs={"labels": "arrest death"}
            ),
        ],
        fields=[Variable("field.oxygen", "mmHg", "oxygen"), Variable("field.erlotinib", "uM", "erlotinib")],
        grid={"z": centres if solid else np.zeros(1), "y": centres, "x": centres},
        instruments={"incucyte": [Variable("live_area", "%", "covered by living cells")]},
    )
    measured = {"name": "well A1", "channel": "live_area", "time": [0, 2, 4], "value": [9, 11, 13]}
    attrs = {
        "title": "Tumour <b>& immune</b>",
        "scenario": "scenario: 1\nname: '<script>alert(1)</script>'\n",
        "seed": "7",
        "versions": json.dumps({"cellweave": "0.1.0"}),
        "hashes": json.dumps({"models/egfr.xml": "ab12"}),
        "wiring": json.dumps(WIRING),
        "notes": json.dumps(["time is converted"]),
        "measurements": json.dumps(
            {
                "series": [
                    {**measured, "kind": "measured"},
                    {**measured, "kind": "bliss", "value": [9, 10, 11]},
                ]
            }
        ),
        "seconds_by_process": json.dumps({"life": 1.0, "pathway.egfr": 3.0}),
        "splitting_error": json.dumps({"field.oxygen": 1e-4, "cell.volume": 0.0}),
        "splitting": "strang",
        "coupling_step_min": 6.0,
    }
    with RunWriter.create(path, layout=layout, attrs=attrs, identity={"version": "0.1.0"}) as writer:
        ids, kinds = np.arange(cells), np.arange(cells) % 2
        angle = np.arange(cells) * 2.4
        place = (
            np.column_stack([np.cos(angle), np.sin(angle), angle % 2 - 1])
            * np.sqrt(np.arange(cells))[:, None]
        )
        place = place * 10 * np.array([1, 1, float(solid)])
        phase = np.zeros(cells, int)
        writer.births(cell=ids, time=0, parent=-1, type=kinds)
        for k in range(frames):
            born, died = np.zeros(2, int), np.zeros(2, int)
            if k and cells:
                new = len(ids)
                writer.births(cell=[new], time=k - 0.5, parent=k - 1, type=kinds[k - 1])
                born[kinds[k - 1]] = 1
                ids, kinds, phase = np.append(ids, new), np.append(kinds, kinds[k - 1]), np.append(phase, 0)
                place = np.vstack([place, place[k - 1] + 6])
            if k == 2 and cells:
                victim = cells - 1
                writer.deaths(cell=[victim], time=1.8, cause=1)
                phase[victim], died[kinds[victim]] = 1, 1
                writer.event(
                    2.0, kind="set", target="field.erlotinib", text="set field.erlotinib 1 uM", cells=[3]
                )
            values = draw.lognormal(size=len(ids))
            frame = {
                "cell": ids, "type": kinds, "x": place[:, 0], "y": place[:, 1], "z": place[:, 2],
                "volume": np.full(len(ids), 2000.0), "phase": phase, "rate.division": values * 1e-4,
                "pathway.egfr.ppERK": np.where(kinds == 1, np.nan, values),
                "ur.drug": np.column_stack([values, -values]),
            }  # fmt: skip
            shape = (len(layout.grid["z"]), 5, 5)
            oxygen = np.broadcast_to(38 - k * np.exp(-(centres**2) / 1e3), shape)
            writer.frame(
                float(k),
                frame,
                {"field.oxygen": oxygen, "field.erlotinib": np.full(shape, float(k > 1))},
                {"count": np.bincount(kinds[phase == 0], minlength=2), "births": born, "deaths": died},
            )
            writer.instrument("incucyte", float(k), {"live_area": 9.0 + k})
        writer.commit({}, {}, status=status)
    return path
