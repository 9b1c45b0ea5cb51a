"""The drawing of the wiring: nothing hides anything else."""

from __future__ import annotations

import itertools

import pytest
import toyrun

from sim.errors import StoreError
from sim.report import graph
from sim.report.graph import draw_wiring


def placed(wiring):
    boxes = graph._boxes(wiring["nodes"])
    couplings = [e for e in wiring["edges"] if e["kind"] == "coupling"]
    for edge in couplings:
        graph._append(boxes[edge["source"]].outputs, edge["from"])
        graph._append(boxes[edge["target"]].inputs, edge["to"])
    routes = graph._routes(boxes, couplings)
    graph._place(boxes, routes)
    graph._sort_ports(boxes, couplings, routes)
    return boxes, routes


def test_columns_follow_the_scales():
    boxes, _ = placed(toyrun.WIRING)
    lefts = [boxes[n].left for n in ("field.oxygen", "pathway.egfr", "manipulator.drugs", "life")]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == 4
    assert boxes["field.erlotinib"].left == boxes["field.oxygen"].left


def test_boxes_and_lanes_do_not_overlap():
    boxes, _ = placed(toyrun.WIRING)
    assert any(box.lane for box in boxes.values())
    for one, other in itertools.combinations(boxes.values(), 2):
        if one.column == other.column:
            upper, lower = sorted((one, other), key=lambda b: -b.top)
            assert upper.top - upper.height > lower.top


def test_a_coupling_that_skips_columns_has_a_lane_in_each():
    _, routes = placed(toyrun.WIRING)
    assert [len(route) for route in routes] == [2, 3, 3, 2]


def test_names_stand_in_the_picture(tmp_path):
    text = draw_wiring(toyrun.WIRING, tmp_path / "graph.svg").read_text()
    for name in (
        "field.erlotinib",
        "manipulator.drugs",
        "inhibitor",
        "ppERK",
        "rate.division",
        "× Hill rising",
    ):
        assert f">{name}<" in text
    assert draw_wiring(toyrun.WIRING, tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_feedback_empty_and_unknown_ends(tmp_path):
    ends = {"source": "pathway.dn", "target": "pathway.dn"}
    loop = {**ends, "from": "neighbours.mean(pathway.dn.D)", "to": "pathway.dn.N", "label": "identity"}
    loop |= {"mode": "set", "kind": "coupling"}
    stray = {**loop, "source": "nowhere"}
    wiring = {"nodes": [{"name": "pathway.dn", "kind": "dynamic"}], "edges": [loop, stray]}
    assert ">neighbours.mean(pathway.dn.D)<" in draw_wiring(wiring, tmp_path / "a.svg").read_text()
    assert draw_wiring({"nodes": [], "edges": []}, tmp_path / "b.svg").exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        draw_wiring(toyrun.WIRING, tmp_path / "no" / "graph.svg")
