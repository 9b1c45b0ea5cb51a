"""The page of a run: what it is told is what the store holds, and nobody else is told anything."""

import http.client
import json
import re
import threading
from importlib.resources import files

import numpy as np
import pytest
from scenes import scene

from sim import cells_at, open_run, run
from sim.errors import ScenarioError, StoreError
from sim.view.server import Server


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "run.zarr"
    run(
        scene(
            "couplings: [{from: field.drug, to: rate.death, linear: {slope: 0.01}, mode: add}]",
            "outputs: {cells: [rate.death], fields: all}",
            fields="{drug: {diffusion: 1e3 um^2/min, initial: 1 uM}}",
            cells="""{a: {count: 10, place: {random: {}}, cycle: {division: 1e-2 /min}},
              b: {count: 5, place: {random: {}}}}""",
        ),
        path,
    )
    return path


@pytest.fixture(scope="module")
def served(store):
    server = Server(store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(served):
    def asked(path, host=None, method="GET", **more):
        link = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=10)
        link.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host or f"127.0.0.1:{served.server_port}", **more}.items():
            link.putheader(name, value)
        link.endheaders()
        answer = link.getresponse()
        body = answer.read()
        link.close()
        return answer, body

    return asked


def data(ask, path):
    answer, body = ask(path)
    assert answer.status == 200, body
    return json.loads(body)


def test_the_page_is_told_what_the_store_holds(ask, store):
    tree = open_run(store)
    about = data(ask, "/api/about")
    assert about["types"] == ["a", "b"] and about["times"] == [0, 1, 2] and about["unit"] == "h"
    assert about["quantities"] == ["type", "phase", "volume", "rate.death"]
    assert about["counts"]["a"] == tree["summary/count"].values[:, 0].tolist()
    now = cells_at(tree, 2)
    cells = data(ask, "/api/cells?frame=2&quantity=rate.death")
    assert cells["cell"] == now["cell"].values.tolist() and cells["total"] == now.sizes["cell"]
    assert np.allclose(cells["x"], now["x"].values, rtol=1e-5)
    dead = np.array([value is None for value in cells["value"]])
    assert dead.tolist() == np.isin(now["phase"].values, ("apoptotic", "lysed")).tolist()
    assert np.allclose(np.array(cells["value"], float)[~dead], now["rate.death"].values[~dead], rtol=1e-5)
    assert None not in data(ask, "/api/cells?frame=2&quantity=volume")["value"]
    field = data(ask, "/api/field?frame=1&name=field.drug")
    assert np.allclose(field["value"], tree["fields/field.drug"].values[1].squeeze(), rtol=1e-5)
    course = data(ask, "/api/course?quantity=rate.death")
    assert course["of"]["a"]["middle"][0] == pytest.approx(0.01, rel=1e-5)
    assert course["limits"][0] <= course["of"]["a"]["low"][0] <= course["limits"][1]
    one = data(ask, "/api/cell?id=3&quantity=volume")
    assert one["time"][0] == 0 and len(one["time"]) == len(one["value"])


def test_the_page_needs_nothing_from_outside(ask):
    answer, page = ask("/")
    assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/html")
    policy = answer.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe-eval" not in policy
    named = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    assert named and all(n.startswith("/") or n == "data:," for n in named)
    for path in (n for n in named if n.startswith("/")):
        assert ask(path)[0].status == 200
    script, style = ((files("sim.view") / n).read_text() for n in ("page.js", "page.css"))
    assert "http" not in script and "http" not in style and "url(" not in style
    assert len(ask("/plotly.js")[1]) > 1e6


def test_only_this_machine_under_its_own_name_gets_an_answer(ask, served):
    assert served.server_address[0] == "127.0.0.1"
    for host in ("evil.example", f"evil.example:{served.server_port}", "127.0.0.1:1", "0.0.0.0"):
        answer, body = ask("/api/about", host=host)
        assert answer.status == 403 and b"types" not in body
    assert ask("/api/about", host=f"localhost:{served.server_port}")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/page.js/../../server.py",
        "/server.py",
        "//etc/passwd",
        "/api/__class__",
        "/api/run",
        "/zarr.json",
    ],
)
def test_no_other_file_is_served(ask, path):
    answer, body = ask(path)
    assert answer.status == 404 and b"root:" not in body and b"import" not in body


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/cells?frame=99", 404, "frames 0 to 2"),
        ("/api/cells?frame=x", 404, "whole number"),
        ("/api/cells?quantity=rate.deth", 404, "no quantity"),
        ("/api/field?name=../cells/x", 404, "no field"),
        ("/api/cell?id=-5", 404, "no cell"),
        ("/" + "a" * 3000, 414, "too long"),
    ],
)
def test_what_is_not_there_is_said(ask, path, status, words):
    answer, body = ask(path)
    assert answer.status == status and words in json.loads(body)["error"]


def test_nothing_can_be_written(ask):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask("/api/about", method=method, **{"Content-Length": "0"})[0].status == 501


def test_a_taken_port_and_a_missing_run_are_said(served, store, tmp_path):
    with pytest.raises(StoreError, match="choose another"):
        Server(store, served.server_port)
    with pytest.raises(ScenarioError, match="no run"):
        Server(tmp_path / "none.zarr")
