"""What every benchmark may be asked; its rows for people, each beside its peer, or all of them as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable


def parser(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have; `quick` says what is done then."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print rows as JSON")
    made.add_argument("--quick", action="store_true", help=quick)
    return made


def show(rows: Iterable[dict], as_json: bool, width: int) -> None:
    """Prints rows as they come, names in `width` columns; as JSON all at once."""
    if as_json:
        print(json.dumps(list(rows), indent=1))
        return
    for row in rows:
        error = f"  error {row['error']:.1e}" if "error" in row else ""
        print(f"{row['name']:<{width}} {row['value']:>10.4g} {row['unit']}{error}", flush=True)
        if "peer" in row:
            error = f", error {row['peer_error']:.1e}" if "peer_error" in row else ""
            print(
                f"{'':4}{row['ratio']:.3g} times {row['peer']} ({row['peer_value']:.4g}{error})", flush=True
            )
        if "roof" in row:
            print(f"{'':4}memory bandwidth allows {row['roof']:.3g}")
