"""The files of a run as Zarr reads them: a chunk that is missing or damaged is refused, and not read as fill values."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from zarr.storage import LocalStore

from sim.errors import ScenarioError
from sim.store.chunks import is_whole
from sim.store.record import RECORD, damaged


class RunFiles(LocalStore):
    """The folder of a run, to read from.

    The writer leaves no chunk out, though Zarr allows it, and ends each with its checksum.

    Raises:
        ScenarioError: of `get`: a chunk is not as it was written.
    """

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        return self._checked(key, await super().get(key, *args, **options))

    def get_sync(self, key: str, *args: Any, **options: Any) -> Any:
        return self._checked(key, super().get_sync(key, *args, **options))

    def _checked(self, key: str, found: Any) -> Any:
        name = PurePosixPath(key).name
        if name == RECORD or name.startswith("."):  # of another version of Zarr, looked for in vain
            return found
        if found is None:
            raise ScenarioError(damaged(self.root / key, "it is missing"))
        if not is_whole(found.to_bytes()):
            raise ScenarioError(damaged(self.root / key))
        return found
