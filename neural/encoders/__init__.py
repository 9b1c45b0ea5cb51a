"""Encoders: measurements of one or several kinds into one space, and back.

    space = Representation.fit({"expression": counts, "protein": levels}, MODALITIES, dimension=10, name="t_cells")
    ur = space.encode({"protein": levels})            # any subset of the modalities will do
    space.decode(ur)["expression"]                    # share of each gene
    space.save("t_cells.safetensors")

Spaces build on each other: a molecular one is a modality of a cellular one, and cellular ones pooled over the
neighbours of each cell (`pooled`) make that of a tissue.
"""

from neural.encoders.modalities import Modality
from neural.encoders.pooling import neighbours_within, pooled
from neural.encoders.representation import Representation

__all__ = ["Modality", "Representation", "neighbours_within", "pooled"]
