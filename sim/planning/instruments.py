"""Instruments of a scenario, made ready to read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from sim.core.quantity import Quantity
from sim.instruments import (
    INCUCYTE_CHANNELS,
    Camera,
    Cytometer,
    Fluorescence,
    Incucyte,
    Instrument,
    Label,
    Objective,
    Probe,
    Reporter,
    Stain,
    View,
)
from sim.planning.names import fault_of, unit_of
from sim.scenario import instruments as asked
from sim.spelling import did_you_mean, one_of

if TYPE_CHECKING:
    from sim.planning.findings import Findings, KeyPath
    from sim.processes.box import BoxSettings
    from sim.processes.life_settings import LifeSettings


def instruments_of(
    findings: Findings, life: LifeSettings, box: BoxSettings, known: Mapping[str, Quantity]
) -> list[Instrument]:
    """Every instrument of the scenario; `known` are the quantities that there are. Faults are noted."""
    maker = _Maker(findings, life, box, known)
    return [maker.made(name, spec) for name, spec in findings.scenario.instruments.items()]


class _Maker:
    def __init__(
        self, findings: Findings, life: LifeSettings, box: BoxSettings, known: Mapping[str, Quantity]
    ):
        self._findings, self._life, self._box, self._known = findings, life, box, known
        self._seed = int(findings.scenario.seed or 0)

    def made(self, name: str, spec: asked.Instrument) -> Instrument:
        if isinstance(spec, asked.Fluorescence):
            return self._fluorescence(name, spec)
        if isinstance(spec, asked.Reporter):
            return self._reporter(name, spec)
        if isinstance(spec, asked.Cytometer):
            return self._cytometer(name, spec)
        return self._incucyte(name, spec)

    def _incucyte(self, name: str, spec: asked.Incucyte) -> Incucyte:
        gain, background = self._calibration
        return Incucyte(
            name=name,
            every=float(spec.every),
            channels=tuple(spec.channels or INCUCYTE_CHANNELS),
            box=self._box,
            apoptotic=self._life.apoptotic,
            lysed=self._life.lysed,
            healthy=self._life.volume,
            gain=gain,
            background=background,
        )

    def _fluorescence(self, name: str, spec: asked.Fluorescence) -> Fluorescence:
        box, lens, chip = self._box, spec.objective, spec.camera
        lower, upper = box.lower, box.upper
        size = tuple(map(float, spec.view.size)) if spec.view else (upper[0] - lower[0], upper[1] - lower[1])
        middle = (
            tuple(map(float, spec.view.center))
            if spec.view
            else (0.5 * (lower[0] + upper[0]), 0.5 * (lower[1] + upper[1]))
        )
        shape, pixel = asked.pixels_of(chip, lens, (size[0], size[1]))
        resting = 0.5 * (lower[2] + upper[2]) if box.dims == 3 else 0.0
        return Fluorescence(
            name=name,
            every=float(spec.every),
            seed=self._seed,
            box=box,
            view=View((middle[0] - 0.5 * shape[1] * pixel, middle[1] - 0.5 * shape[0] * pixel), shape, pixel),
            objective=Objective(lens.na, lens.magnification, lens.index),
            camera=Camera(
                pixel=float(chip.pixel) * chip.binning,
                efficiency=chip.efficiency,
                dark=chip.dark,
                read_noise=chip.read_noise,
                gain=chip.gain,
                offset=chip.offset,
                full_well=chip.full_well,
                bits=chip.bits,
            ),
            stains=tuple(
                Stain(
                    name=channel,
                    quantity=self._quantity(("instruments", name, "channels", channel), s.shows),
                    part=s.part,
                    types=self._types(s.cells),
                    phases=self._phases(("instruments", name, "channels", channel, "phases"), s.phases),
                    emission=float(s.emission),
                    brightness=s.brightness,
                    background=s.background,
                    bleaching=s.bleaching,
                )
                for channel, s in spec.channels.items()
            ),
            focus=resting if spec.focus is None else float(spec.focus),
            section=None if spec.section is None else float(spec.section),
            nucleus=spec.nucleus,
            sampling=spec.sampling,
        )

    def _reporter(self, name: str, spec: asked.Reporter) -> Reporter:
        probes = []
        for channel, p in spec.channels.items():
            quantity = self._quantity(("instruments", name, "channels", channel), p.shows)
            plain = p.gain == 1 and p.background == 0
            probes.append(
                Probe(
                    channel, quantity, p.gain, p.background, p.variation, p.noise,
                    unit_of(quantity, self._known) if plain else "1",
                )
            )  # fmt: skip
        return Reporter(
            name, float(spec.every), self._seed, tuple(probes), self._types(spec.cells),
            tuple(range(self._life.apoptotic)), spec.tracks,
        )  # fmt: skip

    def _cytometer(self, name: str, spec: asked.Cytometer) -> Cytometer:
        labels = tuple(
            Label(
                channel,
                self._quantity(("instruments", name, "channels", channel), x.shows),
                x.brightness,
                x.background,
                x.variation,
                dict(x.spills),
            )
            for channel, x in spec.channels.items()
        )
        phases = self._phases(("instruments", name, "phases"), spec.phases)
        return Cytometer(
            name, float(spec.every), self._seed, labels, spec.events, self._types(spec.cells), phases,
            spec.doublets,
        )  # fmt: skip

    # ---- parts

    def _types(self, names: tuple[str, ...] | None) -> tuple[int, ...] | None:
        return None if names is None else tuple(self._findings.code(n) for n in names)

    def _phases(self, key: KeyPath, names: tuple[str, ...] | None) -> tuple[int, ...]:
        """Codes of phases; all but `lysed` where none is named."""
        there = self._life.phase_names
        for i, name in enumerate(names or ()):
            if name not in there:
                hint = did_you_mean(name, there)
                self._findings.fault((*key, i), f"no cell has a phase '{name}'; use {one_of(there)}{hint}")
        wanted = there[:-1] if names is None else names
        return tuple(i for i, n in enumerate(there) if n in wanted)

    def _quantity(self, key: KeyPath, name: str | None) -> str:
        """The name of a quantity with one value per cell; empty for none. Others are faults."""
        if name is None:
            return ""
        message = fault_of(name, self._known)
        if message:
            self._findings.fault((*key, "shows"), message)
        return name

    @cached_property
    def _calibration(self) -> tuple[dict[str, float], dict[str, float]]:
        """Gain and background of the stains, from the first manipulator that was trained on such an instrument."""
        from neural.weights import load

        findings = self._findings
        stains = ("annexin_v", "dead_dna")
        for name, m in findings.scenario.manipulators.items():
            _, tensors = load(findings.scenario.resolve(("manipulators", name, "weights"), m.weights))
            if "instrument.gain" in tensors:
                findings.notes.append(f"instruments: stains calibrated by {m.weights}")
                gain, background = (
                    tensors[f"instrument.{k}"].ravel().tolist() for k in ("gain", "background")
                )
                return dict(zip(stains, gain)), dict(zip(stains, background))
        return {}, {}
