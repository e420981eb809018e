"""Features of a workspace's responses, by response id: read without torch, computed elsewhere.

A response never changes, so its features are computed once (`loop.asking.extracting`). Files are
safetensors, each written under another name and renamed, so a file is whole or absent; the folder
can be removed at any time. It belongs to one checkpoint, whose fingerprint is kept with the files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data.errors import BadInput, PrefloopError
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]
FOLDER = "features"
_IDS, _PROMPTS, _OF = "ids", "prompts", "checkpoint"


@dataclass(frozen=True)
class FeatureTable:
    """Features of some responses, all the kinds that there are."""

    rows: Mapping[int, int]
    """Response id -> row."""
    kinds: Mapping[FeatureKind, Array]
    """[N, d] float32 of each."""
    prompts: Array
    """[N] id of the prompt that each response answers."""

    def side_by_side(self, kinds: Sequence[FeatureKind]) -> Array:
        """[N, d of all] several kinds as one table."""
        return np.hstack([self.kinds[kind] for kind in kinds])


class ResponseFeatures:
    """The features kept in a workspace. Processes may read while one writes."""

    def __init__(self, workspace: Path) -> None:
        self.folder = workspace / FOLDER

    def files(self) -> tuple[str, ...]:
        """Names of the files: a stamp that changes when features are added."""
        return tuple(sorted(path.name for path in self.folder.glob("*.safetensors")))

    def ids(self, checkpoint: str | None = None) -> set[int]:
        """The responses whose features are here; of another checkpoint than this: none.

        Raises:
            PrefloopError: a file cannot be read.
        """
        found: set[int] = set()
        for name in self.files():
            with _reading(self.folder / name), safe_open(self.folder / name, "np") as file:
                if checkpoint is not None and file.metadata()[_OF] != checkpoint:
                    return set()
                found.update(file.get_tensor(_IDS).tolist())
        return found

    def read(self, wanted: set[int] | None = None) -> FeatureTable:
        """The features of some responses (those that are here), or of all.

        Raises:
            PrefloopError: a file cannot be read.
        """
        rows: dict[int, int] = {}
        prompts: list[Array] = [np.zeros(0, np.int64)]
        parts: dict[FeatureKind, list[Array]] = {}
        for name in self.files():
            with _reading(self.folder / name), safe_open(self.folder / name, "np") as file:
                ids = file.get_tensor(_IDS)
                keep = np.array([i not in rows and (wanted is None or i in wanted)
                                 for i in ids.tolist()], bool)
                rows.update({i: len(rows) + n for n, i in enumerate(ids[keep].tolist())})
                prompts.append(file.get_tensor(_PROMPTS)[keep])
                for kind in set(file.keys()) - {_IDS, _PROMPTS}:
                    parts.setdefault(FeatureKind.parse(kind), []).append(
                        file.get_tensor(kind)[keep])
        if {len(several) for several in parts.values()} - {len(prompts) - 1}:
            raise PrefloopError(f"{self.folder}: files of different kinds of features; remove the "
                                "folder, and they are computed again")
        return FeatureTable(rows, {kind: np.concatenate(parts[kind]) for kind in sorted(parts)},
                            np.concatenate(prompts))

    def add(self, ids: Sequence[int], prompts: Sequence[int], kinds: Mapping[FeatureKind, Array],
            checkpoint: str) -> None:
        """Keep the features ([n, d] of each kind) of some responses, each with its prompt's id.

        Raises:
            PrefloopError: the folder cannot be written.
        """
        name = f"{min(ids)}-{hashlib.sha256(repr(list(ids)).encode()).hexdigest()[:12]}"
        partial = self.folder / f".{name}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            save_file({_IDS: np.array(ids, np.int64), _PROMPTS: np.array(prompts, np.int64),
                       **{str(kind): np.ascontiguousarray(values, np.float32)
                          for kind, values in kinds.items()}}, partial,
                      metadata={_OF: checkpoint})
            partial.rename(self.folder / f"{name}.safetensors")
        except OSError as error:
            raise PrefloopError(f"{self.folder}: features cannot be kept there "
                                f"({error.strerror or error})") from error
        finally:
            with suppress(OSError):
                partial.unlink()

    def forget(self) -> None:
        """Remove all features (they are of another checkpoint)."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read into one line that names it."""
    try:
        yield
    except (OSError, SafetensorError, BadInput, ValueError, KeyError, TypeError) as error:
        raise PrefloopError(f"{path}: features cannot be read ({error}); remove the file, and "
                            "they are computed again") from error
