"""What can be wrong with weights and training files, told in one line each."""

from __future__ import annotations

_LONGEST_VALUE = 80


def shown(value: object) -> str:
    """A value as messages print it: without control characters, at most 80 characters long."""
    if isinstance(value, str):
        value = value[:_LONGEST_VALUE]
    text = repr(value)
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


class WeightsError(ValueError):
    """A weights file that must not or cannot be used.

    Attributes:
        file: path as the user gave it.
        message: what is wrong, the value got, and the fix.
        problems: list of (file, line, key, message), as every error tree of the project carries.
    """

    def __init__(self, file: object, message: str):
        self.file = str(file)
        self.message = message
        self.problems: list[tuple[str, int | None, str | None, str]] = [(self.file, None, None, message)]
        super().__init__(f"{self.file}: {message}")


class TrainingError(ValueError):
    """A training file, or the data it points at, is wrong. Carries every problem found.

    Attributes:
        file: path of the training file.
        problems: list of (file, line, key, message) in file order.
    """

    def __init__(self, file: object, problems: list[tuple[int | None, str | None, str]]):
        self.file = str(file)
        self.problems: list[tuple[str, int | None, str | None, str]] = [
            (self.file, line, key, message) for line, key, message in problems
        ]
        super().__init__(
            "; ".join(f"{self.file}:{ln or '?'}: {k or ''}: {m}" for _, ln, k, m in self.problems)
        )


class Misfit(ValueError):
    """What a training file asks at `key` does not go with its data."""

    def __init__(self, key: str, message: str):
        self.key = key
        super().__init__(message)
