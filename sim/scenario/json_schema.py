"""The JSON Schema of the scenario file, for editors that complete keys and underline faults.

A scenario names it in its first line: `# yaml-language-server: $schema=schema.json`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from sim.scenario.schema import ScenarioSpec
from sim.scenario.units import Quantity

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generate(GenerateJsonSchema):
    """Defaults are shown as a user would write them."""

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Quantity) else super().encode_default(dft)


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the scenario file: keys, descriptions, defaults, patterns of units."""
    schema = ScenarioSpec.model_json_schema(by_alias=True, schema_generator=_Generate)
    return {"$schema": DIALECT, "title": "cellweave scenario", **_plain(schema)}


def schema_text() -> str:
    """The schema as it is shipped in scenarios/schema.json and printed by `cellweave schema`."""
    return json.dumps(scenario_schema(), indent=2) + "\n"


def _plain(node: Any, named: bool = False) -> Any:
    """Without the titles that repeat each key, and without `null` for what may be left out.

    `named` is true where the keys of `node` are names of the scenario, not words of JSON Schema.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if named:
            out[key] = _plain(value)
        elif key in ("anyOf", "oneOf"):
            # where an instrument's kind is its name, its other keys tell which it is
            options = [_plain(option) for option in value if option not in ({"type": "null"}, {})]
            out |= options[0] if len(options) == 1 else {"anyOf": options}
        elif key != "title" and not (key == "default" and value is None):
            out[key] = _plain(value, named=key in ("properties", "$defs"))
    return out
