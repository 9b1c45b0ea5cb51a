"""SED-ML (Level 1) to plain data: models with changes, simulations, tasks, data generators, outputs.

Whatever is not supported is a fault with its line; nothing is left out in silence.
"""

from __future__ import annotations

import re

from mechanistic.reading.functions import called, references
from mechanistic.reading.mathml import MathReader
from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import Problems, closest
from mechanistic.reading.xmltree import Element, parse
from mechanistic.reading.xpath import attribute_of, named_by, steps_of

_NAMESPACE = re.compile(r"http://sed-ml\.org/(sed-ml/level1/version(?P<version>[2-5])|)")
_KISAO = re.compile(r"KISAO[:_]([0-9]{7})")
_MOST_STEPS = 1_000_000
_TIME = "urn:sedml:symbol:time"
#: what a method of the KiSAO ontology asks for, by its number there
_COURSE: dict[int, str] = {
    **dict.fromkeys(
        (19, 30, 32, 35, 64, 71, 86, 87, 88, 94, 261, 280, 288, 304, 321, 433, 434, 435, 694), "auto"
    ),
    **dict.fromkeys((27, 29, 241), "ssa"),
}
_REST: dict[int, str] = dict.fromkeys(
    (99, 282, 283, 355, 356, 407, 408, 409, 410, 411, 412, 413, 432, 568, 569), "rest"
)
_OPTIONS = {209: "rtol", 211: "atol", 488: "seed"}
#: how another integrator walks: the result depends on the tolerances alone
_WITHOUT_MEANING = frozenset({107, 216, 219, 220, 332, 415, 467, 475, 485, 486, 559, 571, 656, 671})


def read_experiment(data: bytes, problems: Problems) -> dict:
    """The plain data of a SED-ML document, or Refused with the fault noted; faults are added to `problems`."""
    root, _ = parse(data, problems, "SED-ML")
    namespace = _NAMESPACE.fullmatch(root.namespace)
    if root.tag != "sedML" or namespace is None:
        raise problems.refuse(f"this is no SED-ML file (its root is <{shown(root.tag)}>)", root.line, "sedML")
    own = "1", namespace["version"] or "1"
    got = root.attributes.get("level", ""), root.attributes.get("version", "")
    if got != own:
        said = f"level {shown(got[0])} version {shown(got[1])}"
        message = f"the namespace is that of level 1 version {own[1]} (got {said})"
        raise problems.refuse(message, root.line, "sedML")
    reader = _Reader(root, problems)
    experiment = reader.read()
    if not problems.entries:
        _consistency(data, problems)
    return experiment


def _consistency(data: bytes, problems: Problems) -> None:
    """What libsedml finds wrong by the standard."""
    import libsedml

    document = libsedml.readSedMLFromString(data.decode("utf-8-sig", "replace"))
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsedml.LIBSEDML_SEV_ERROR:
            message = " ".join(error.getMessage().split())[:300]
            problems.add(f"not valid SED-ML: {message}", error.getLine() or None, "sedML")


class _Reader:
    def __init__(self, root: Element, problems: Problems):
        self.root, self.problems = root, problems
        self.math = MathReader(problems, level3v2=True)
        self.lines: dict[str, int] = {}
        self.known: dict[str, set[str]] = {}
        self.notes: list[str] = []

    def read(self) -> dict:
        data: dict = {}
        for kind, reader in (
            ("models", self._model),
            ("simulations", self._simulation),
            ("tasks", self._task),
            ("generators", self._generator),
            ("outputs", self._output),
        ):
            holder = "DataGenerators" if kind == "generators" else kind.capitalize()
            elements = self.root.listed(f"listOf{holder}")
            # ids first: a change may compute with a later model, an order of tasks is free
            self.known[kind] = {e.attributes["id"] for e in elements if "id" in e.attributes}
            data[kind] = [made for e in elements if (made := reader(e)) is not None]
        for e in self.root.listed("listOfDataDescriptions"):
            self._add("data from other files (dataDescription) are not supported", e, e.attributes.get("id"))
        self._circles(data)
        return {**data, "notes": self.notes}

    # ---- models

    def _model(self, e: Element) -> dict:
        name, language = self._id(e), e.attributes.get("language", "")
        if not re.match(r"urn:sedml:language:(sbml|antimony)\b", language) and language:
            self._add(f"models in the language {shown(language)} are not supported", e, name)
        source = e.attributes.get("source", "")
        if not source:
            self._add("a model without a source", e, name)
        if re.match(r"(?i)(urn:|[a-z][a-z0-9+.-]*://)", source):
            self._add(f"nothing is downloaded: put {shown(source)} beside this file, and name that", e, name)
        changes = [c for part in e.listed("listOfChanges") if (c := self._change(part, name))]
        return {"id": name, "source": source, "changes": changes, "line": e.line}

    def _change(self, e: Element, key: str) -> dict | None:
        target = e.attributes.get("target", "")
        steps = steps_of(target)
        if steps is None or e.tag not in ("changeAttribute", "removeXML", "computeChange"):
            what = "this XPath" if steps is None else f"the change <{shown(e.tag)}>"
            self._add(f"{what} is not supported (target {shown(target)})", e, key)
            return None
        change = {"kind": e.tag, "steps": steps, "attribute": attribute_of(target), "line": e.line}
        if e.tag == "changeAttribute":
            if change["attribute"] is None or "newValue" not in e.attributes:
                self._add("changeAttribute needs a target that ends in /@attribute, and newValue", e, key)
            return {**change, "value": e.attributes.get("newValue", "")}
        if e.tag == "computeChange":
            return {**change, "id": self._named(target, e, key), **self._computation(e, key, tasks=False)}
        return change

    # ---- simulations

    def _simulation(self, e: Element) -> dict | None:
        name = self._id(e)
        kinds = {"uniformTimeCourse": "course", "oneStep": "step", "steadyState": "rest"}
        if e.tag not in kinds:
            self._add(f"the simulation <{shown(e.tag)}> is not supported", e, name)
            return None
        kind = kinds[e.tag]
        made = {"id": name, "kind": kind, "line": e.line, **self._algorithm(e, name, kind)}
        if kind == "step":
            step = self._number(e, "step", name)
            if step is not None and step <= 0:
                self._add(f"step must be above 0 (got {step:g})", e, name)
            return {**made, "step": step}
        if kind == "rest":
            return made
        times = [self._number(e, t, name) for t in ("initialTime", "outputStartTime", "outputEndTime")]
        if None not in times and not times[0] <= times[1] <= times[2]:  # type: ignore[operator]
            self._add("times must rise: initialTime, outputStartTime, outputEndTime", e, name)
        counted = "numberOfSteps" if "numberOfSteps" in e.attributes else "numberOfPoints"
        steps = self._whole(e, counted, name)
        return {**made, "times": times, "steps": steps}

    def _algorithm(self, e: Element, key: str, kind: str) -> dict:
        algorithm = e.child("algorithm")
        if algorithm is None:
            return {"method": "rest" if kind == "rest" else "auto", "options": {}}
        text = algorithm.attributes.get("kisaoID", "")
        match = _KISAO.fullmatch(text)
        known = _REST if kind == "rest" else _COURSE
        method = known.get(int(match[1])) if match else None
        if method is None:
            name = algorithm.attributes.get("name")
            told = f"{shown(text)}, {shown(name)}" if name else shown(text)
            self._add(f"the algorithm {told} is not supported for a {e.tag}", algorithm, key)
        options = {}
        for p in algorithm.listed("listOfAlgorithmParameters"):
            text = p.attributes.get("kisaoID", "")
            match = _KISAO.fullmatch(text)
            kisao = int(match[1]) if match else -1
            if kisao in _OPTIONS:
                options[_OPTIONS[kisao]] = self._number(p, "value", key)
            elif kisao in _WITHOUT_MEANING:
                self.notes.append(f"line {p.line}: {shown(text)} steers another integrator, and is not used")
            else:
                self._add(f"the algorithm parameter {shown(text)} is not supported", p, key)
        for option in ("rtol", "atol"):
            if (value := options.get(option)) is not None and value <= 0:
                self._add(f"a tolerance must be above 0 (got {value:g})", algorithm, key)
        return {"method": method or "auto", "options": options}

    # ---- tasks

    def _task(self, e: Element) -> dict | None:
        name = self._id(e)
        if e.tag == "task":
            return {
                "id": name,
                "kind": "task",
                "model": self._reference(e, "modelReference", "models", name),
                "simulation": self._reference(e, "simulationReference", "simulations", name),
                "line": e.line,
            }
        if e.tag != "repeatedTask":
            self._add(f"the task <{shown(e.tag)}> is not supported", e, name)
            return None
        ranges = [self._range(r, name) for r in e.listed("listOfRanges")]
        ids = [r["id"] for r in ranges]
        master = e.attributes.get("range", ids[0] if len(ids) == 1 else "")
        if master not in ids:
            self._add(f"'{shown(master)}' is not a range of this task{closest(master, ids)}", e, name)
        changes = []
        for c in e.listed("listOfChanges"):
            target = c.attributes.get("target", "")
            changes.append(
                {
                    "model": self._reference(c, "modelReference", "models", name),
                    "id": self._named(target, c, name),
                    "range": c.attributes.get("range"),
                    "line": c.line,
                    **self._computation(c, name, tasks=False, more=set(ids)),
                }
            )
        subtasks = e.listed("listOfSubTasks")
        for s in subtasks:
            if s.listed("listOfChanges"):
                self._add("changes of a single subtask are not supported", s, name)
        # subtasks without an order run as they stand
        subtasks.sort(key=lambda s: self._whole(s, "order", name) or 0 if "order" in s.attributes else 0)
        if e.attributes.get("concatenate") == "false":
            self._add("results that are not joined (concatenate false) are not supported", e, name)
        return {
            "id": name,
            "kind": "repeated",
            "ranges": ranges,
            "master": master,
            "reset": e.attributes.get("resetModel", "false") in ("true", "1"),
            "changes": changes,
            "subtasks": [self._reference(s, "task", "tasks", name) for s in subtasks],
            "line": e.line,
        }

    def _range(self, e: Element, key: str) -> dict:
        name = e.attributes.get("id", "")
        made: dict = {"id": name, "line": e.line}
        if e.tag == "vectorRange":
            values = []
            for v in (c for c in e.children if c.tag == "value"):
                try:
                    values.append(number(v.text))
                except ValueError as error:
                    self._add(f"a value of the range {error}", v, key)
            return {**made, "values": values}
        if e.tag == "uniformRange":
            start, end = self._number(e, "start", key), self._number(e, "end", key)
            counted = "numberOfSteps" if "numberOfSteps" in e.attributes else "numberOfPoints"
            steps, kind = self._whole(e, counted, key) or 1, e.attributes.get("type", "linear")
            if kind not in ("linear", "log"):
                self._add(f"a range is linear or log (got {shown(kind)})", e, key)
            if start is None or end is None:
                return {**made, "values": []}
            if kind == "log":
                if start <= 0 or end <= 0:
                    self._add("a logarithmic range must lie above 0", e, key)
                    return {**made, "values": []}
                return {**made, "values": [start * (end / start) ** (i / steps) for i in range(steps + 1)]}
            return {**made, "values": [start + (end - start) * i / steps for i in range(steps + 1)]}
        if e.tag == "functionalRange":
            index = e.attributes.get("range") or e.attributes.get("index")
            return {**made, "index": index, **self._computation(e, key, tasks=False, more={index or ""})}
        self._add(f"the range <{shown(e.tag)}> is not supported", e, key)
        return {**made, "values": []}

    # ---- data generators and outputs

    def _generator(self, e: Element) -> dict:
        name = self._id(e)
        title = e.attributes.get("name", "")
        return {"id": name, "name": title, "line": e.line, **self._computation(e, name, tasks=True)}

    def _output(self, e: Element) -> dict | None:
        name = self._id(e)
        made = {"id": name, "name": e.attributes.get("name", ""), "line": e.line}
        if e.tag == "report":
            columns = [
                {
                    "label": d.attributes.get("label") or d.attributes.get("id", ""),
                    "generator": self._reference(d, "dataReference", "generators", name),
                }
                for d in e.listed("listOfDataSets")
            ]
            return {**made, "kind": "report", "columns": columns}
        if e.tag != "plot2D":
            self._add(f"the output <{shown(e.tag)}> is not supported", e, name)
            return None
        curves = [
            {
                "name": c.attributes.get("name", ""),
                "x": self._reference(c, "xDataReference", "generators", name),
                "y": self._reference(c, "yDataReference", "generators", name),
                "log_x": c.attributes.get("logX") == "true",
                "log_y": c.attributes.get("logY") == "true",
            }
            for c in e.listed("listOfCurves")
        ]
        return {**made, "kind": "plot", "curves": curves}

    # ---- parts

    def _computation(self, e: Element, key: str, tasks: bool, more: set[str] = frozenset()) -> dict:  # type: ignore[assignment]
        """Math over variables and parameters; variables are of a task (`tasks`) or of a model."""
        variables, parameters = [], {}
        for v in e.listed("listOfVariables"):
            variables.append(self._variable(v, key, tasks))
        for p in e.listed("listOfParameters"):
            value = self._number(p, "value", key)
            parameters[p.attributes.get("id", "")] = 0.0 if value is None else value
        tree = self.math.read(e, key, "a")
        if e.child("math") is None:
            self._add(f"{e.tag} without math", e, key)
        names = {v["id"] for v in variables} | set(parameters) | more
        for used in sorted((references(tree) | called(tree)) - names):
            self._add(f"'{shown(used)}' is used in math but not declared{closest(used, names)}", e, key)
        return {"variables": variables, "parameters": parameters, "math": tree}

    def _variable(self, e: Element, key: str, tasks: bool) -> dict:
        symbol, target = e.attributes.get("symbol"), e.attributes.get("target")
        if symbol is not None:
            name = "time" if symbol.strip().lower() == _TIME else None
            if name is None or not tasks:
                self._add(f"the symbol {shown(symbol)} is not supported", e, key)
        else:
            name = self._named(target or "", e, key)
        made = {
            "id": e.attributes.get("id", ""),
            "quantity": name,
            "is_time": symbol is not None,
            "line": e.line,
        }
        if e.attributes.get("term") or e.attributes.get("dimensionTerm"):
            self._add("terms of a variable are not supported", e, key)
        model = e.attributes.get("modelReference")
        if model is not None or not tasks:
            model = self._reference(e, "modelReference", "models", key)
        task = self._reference(e, "taskReference", "tasks", key) if tasks else None
        return {**made, "task": task, "model": model}

    def _named(self, target: str, e: Element, key: str) -> str | None:
        """The id in the model of what an XPath points at."""
        steps = steps_of(target)
        name = named_by(steps) if steps else None
        if name is None:
            self._add(f"this XPath does not name a quantity by its id (target {shown(target)})", e, key)
        return f"amount.{name}" if name and attribute_of(target) == "initialAmount" else name

    def _circles(self, data: dict) -> None:
        """A repeated task that repeats itself, a model that is made of itself."""
        parts = {t["id"]: t.get("subtasks", []) for t in data["tasks"]}
        parts |= {m["id"]: [m["source"].removeprefix("#")] for m in data["models"]}
        for start in parts:
            seen, waiting = set(), list(parts[start])
            while waiting:
                name = waiting.pop()
                if name == start:
                    line = self.lines.get(start)
                    self.problems.add(f"'{start}' is part of itself", line, start)
                    break
                if name in parts and name not in seen:
                    seen.add(name)
                    waiting.extend(parts[name])

    # ---- helpers

    def _add(self, message: str, e: Element, key: str | None) -> None:
        self.problems.add(message, e.line, shown(key or "sedML"))

    def _id(self, e: Element) -> str:
        name = e.attributes.get("id", "")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            self._add(f"the id of this {e.tag} is no identifier (got {shown(name)})", e, "id")
        elif name in self.lines:
            self._add(f"the id '{name}' is already taken at line {self.lines[name]}", e, name)
        else:
            self.lines[name] = e.line
        return name

    def _reference(self, e: Element, attribute: str, kind: str, key: str) -> str:
        name, known = e.attributes.get(attribute, ""), self.known[kind]
        if name not in known:
            what = f"{attribute} '{shown(name)}' is not declared{closest(name, known)}"
            self._add(what if name else f"{attribute} is missing", e, key)
        return name

    def _number(self, e: Element, attribute: str, key: str) -> float | None:
        try:
            if attribute not in e.attributes:
                raise ValueError("is missing")
            return number(e.attributes[attribute])
        except ValueError as error:
            self._add(f"{attribute} {error}", e, key)
            return None

    def _whole(self, e: Element, attribute: str, key: str) -> int | None:
        value = self._number(e, attribute, key)
        if value is None:
            return None
        if value != int(value) or not 0 <= value <= _MOST_STEPS:
            self._add(f"{attribute} must be a whole number up to {_MOST_STEPS} (got {value:g})", e, key)
            return None
        return int(value)
