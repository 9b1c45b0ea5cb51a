"""The parts of the page."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """A picture (or table) with its caption in plain words; both are HTML."""

    body: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a sentence of introduction, figures."""

    title: str
    lead: str = ""
    figures: list[Figure] = field(default_factory=list)
