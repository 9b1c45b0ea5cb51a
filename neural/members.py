"""A manipulator's ensemble: its networks out of the tensors of a weights file, without gradient, and their courses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neural.errors import WeightsError
from neural.threads import one_thread
from neural.weights import Card

if TYPE_CHECKING:
    import torch

    from neural.decoders import RateDecoders
    from neural.dynamics import DrugDynamics
    from neural.population import Monolayer

#: parts of the networks that all members have in common, by the end of their names
_SHARED = (".scale", ".pattern")
# cells that go together: more cost a few cells time, less cost many
_BLOCK = 64


@dataclass(frozen=True)
class Ensemble:
    """Members that are carried together.

    Attributes:
        dynamics, decoders: of all members.
        shares: (member, 2) apoptotic and dead cells at the start, beside the live ones.
        step: largest of rk4 [min].
        monolayer: how the cells lie.
    """

    dynamics: DrugDynamics
    decoders: RateDecoders
    shares: np.ndarray
    step: float
    monolayer: Monolayer

    def courses(
        self,
        ur: np.ndarray,
        times: np.ndarray,
        doses: np.ndarray,
        confluence: np.ndarray,
        live_area: np.ndarray | None,
        method: str,
        breaks: Sequence[float],
    ) -> tuple[np.ndarray, ...]:
        """Every member's representations (T, member, n, d), rates (T, member, n, 4) and populations (T, member, n, 3).

        Cells go in blocks of one size, filled up with zeros: the bits of one do not hang on the others.

        Args:
            ur: (n, d); times: (T,) [min]; doses: (S, n, c), each held up to its break [min].
            confluence: (n,), held where no `live_area` (n,) [%] is given, else that of the population.
        """
        import torch

        n = len(ur)
        live = np.zeros(n) if live_area is None else live_area
        every = np.concatenate([ur, confluence[:, None], live[:, None], *doses], 1)
        sizes = [ur.shape[1], 1, 1, *[doses.shape[2]] * len(doses)]
        found = []
        with one_thread(), torch.no_grad():
            at = torch.as_tensor(times)
            for first in range(0, max(n, 1), _BLOCK):
                block = torch.zeros(_BLOCK, every.shape[1], dtype=torch.float64)
                rows = min(_BLOCK, n - first)
                block[:rows] = torch.from_numpy(every[first : first + rows])
                columns = [column.contiguous() for column in block.split(sizes, 1)]
                course = self._block(columns, at, live_area is None, method, breaks)
                found.append([part[:, :, :rows].numpy() for part in course])
        return tuple(np.concatenate(parts, 2) for parts in zip(*found, strict=True))

    def _block(
        self,
        columns: list[torch.Tensor],
        times: torch.Tensor,
        held: bool,
        method: str,
        breaks: Sequence[float],
    ) -> tuple[torch.Tensor, ...]:
        import torch

        from neural.population import grow

        ur, crowd, live, *doses = columns
        members = len(self.shares)
        begun = live.expand(members, -1, -1)
        r, people = grow(
            self.dynamics,
            self.decoders,
            ur.expand(members, -1, -1),
            torch.cat([begun, begun * torch.as_tensor(self.shares)[:, None]], -1),
            [self.dynamics.drive(dose) for dose in doses],
            times,
            self.step,
            confluence=crowd[:, 0] if held else None,
            method=method,
            monolayer=self.monolayer,
            breaks=breaks,
        )
        heard = crowd.expand(*r.shape[:3], 1) if held else self.monolayer.heard(people[..., :1])
        # rows that begin at like addresses: see `neural.blocks.rows_times`
        rates = [self.decoders(now, said) for now, said in zip(r.contiguous(), heard, strict=True)]
        return r, torch.stack(rates), people


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
