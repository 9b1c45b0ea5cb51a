"""The networks of a manipulator's ensemble, out of the tensors of its weights file: dynamics and rates, no gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neural.errors import WeightsError
from neural.weights import Card

if TYPE_CHECKING:
    from neural.decoders import RateDecoders
    from neural.dynamics import DrugDynamics

#: parts of the networks that all members have in common, by the end of their names
_SHARED = (".scale", ".pattern")


def all_members(
    card: Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"
) -> tuple[DrugDynamics, RateDecoders]:
    """The whole ensemble as one.

    Raises:
        WeightsError: naming `file`, where the tensors are not what the card says.
    """
    return _built(card, tensors, None, file)


def one_member(
    card: Card, tensors: Mapping[str, np.ndarray], k: int, file: object = "<memory>"
) -> tuple[DrugDynamics, RateDecoders]:
    """Member `k`, 0 for the reference, as an ensemble of one.

    Raises:
        WeightsError: as `all_members`.
    """
    own = {
        name: v if name.endswith(_SHARED) or not name.startswith(("dynamics.", "decoders.")) else v[k : k + 1]
        for name, v in tensors.items()
    }
    return _built(card, own, 1, file)


def _built(
    card: Card, tensors: Mapping[str, np.ndarray], members: int | None, file: object
) -> tuple[DrugDynamics, RateDecoders]:
    import torch

    from neural.decoders import RATES, RateDecoders
    from neural.dynamics import DrugDynamics

    a = card.architecture
    if card.decoder_names != list(RATES):
        raise WeightsError(file, f"decoders must be {', '.join(RATES)} (got {', '.join(card.decoder_names)})")
    try:
        k = int(a["members"]) if members is None else members
        dynamics = DrugDynamics(
            k,
            len(card.condition_names),
            card.dimension,
            len(card.message_names),
            int(a["hidden"]),
            float(a["residual"]),
            float(a.get("power", 1.0)),
        ).double()
        decoders = RateDecoders(k, a["pattern"]).double()
        for part, module in (("dynamics", dynamics), ("decoders", decoders)):
            own = {
                key.split(".", 1)[1]: torch.tensor(v)
                for key, v in tensors.items()
                if key.startswith(part + ".")
            }
            if part == "decoders":  # weights of one laboratory say nothing of others
                own.setdefault("factor", torch.ones(k, len(RATES)))
            module.load_state_dict(own, strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(file, f"the tensors do not fit the card's architecture ({error})") from None
    return dynamics.requires_grad_(False), decoders.requires_grad_(False)
