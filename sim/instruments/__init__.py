"""Virtual instruments: what a real one would read from the simulated tissue.

Each looks at the state, changes nothing, and gives numbers or images with the flaws of the real one.
"""

from sim.instruments.base import Axis, Channel, Instrument
from sim.instruments.cytometer import Cytometer, Label
from sim.instruments.incucyte import INCUCYTE_CHANNELS, Incucyte
from sim.instruments.microscope import Fluorescence, Stain, View
from sim.instruments.optics import Camera, Objective
from sim.instruments.reporter import Probe, Reporter

__all__ = [
    "INCUCYTE_CHANNELS",
    "Axis",
    "Camera",
    "Channel",
    "Cytometer",
    "Fluorescence",
    "Incucyte",
    "Instrument",
    "Label",
    "Objective",
    "Probe",
    "Reporter",
    "Stain",
    "View",
]
