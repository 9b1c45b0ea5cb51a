"""A small web server for one run: this machine only, reading only, nothing from outside.

It listens on 127.0.0.1, answers only requests that name it so in their Host header (a page elsewhere that makes
its name point here gets nothing), serves a fixed list of addresses and no files by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sim.errors import CellweaveError, StoreError
from sim.view.answers import Answers, NotThere

ADDRESS = "127.0.0.1"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LONGEST_ADDRESS = 2000


@cache
def _asset(name: str) -> bytes:
    if name == "plotly.js":
        return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return (files("sim.view") / name).read_bytes()


_PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/plotly.js": ("plotly.js", "text/javascript; charset=utf-8"),
}


class Server(ThreadingHTTPServer):
    """Serves the run at `path` on 127.0.0.1; `port` 0 takes a free one.

    Raises:
        ScenarioError: there is no run.
        StoreError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, path: Path, port: int = 0):
        self.answers = Answers(path)
        self.reading = Lock()
        self.asked: dict[str, Callable[[Mapping[str, str]], Any]] = {
            f"/api/{name}": getattr(self.answers, name)
            for name in ("about", "cells", "field", "course", "cell")
        }
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise StoreError(
                f"--port {port}: {error.strerror or error}; choose another, or 0 for a free one"
            ) from None

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def version_string(self) -> str:
        return "cellweave"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""

    def _answer(self, with_body: bool) -> None:
        status, kind, body = self._found()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self) -> tuple[HTTPStatus, str, bytes]:
        port = self.server.server_port
        if self.headers.get("Host", "") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return _told(HTTPStatus.FORBIDDEN, "this page is for this machine only")
        if len(self.path) > _LONGEST_ADDRESS:
            return _told(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        address = urlsplit(self.path)
        if address.path in _PAGES:
            name, kind = _PAGES[address.path]
            return HTTPStatus.OK, kind, _asset(name)
        if address.path not in self.server.asked:
            return _told(HTTPStatus.NOT_FOUND, "there is nothing here")
        try:
            with self.server.reading:
                found = self.server.asked[address.path](dict(parse_qsl(address.query)))
        except NotThere as error:
            return _told(HTTPStatus.NOT_FOUND, str(error))
        except (CellweaveError, OSError) as error:
            return _told(HTTPStatus.INTERNAL_SERVER_ERROR, f"the run cannot be read: {error}")
        return HTTPStatus.OK, "application/json", json.dumps(found, allow_nan=False).encode()


def _told(status: HTTPStatus, words: str) -> tuple[HTTPStatus, str, bytes]:
    return status, "application/json", json.dumps({"error": words}).encode()
