"""Features of a workspace's responses, by response id: read without torch, computed elsewhere.

A response never changes, so its features are computed once (`loop.asking.extracting`). Files are
safetensors, each written under another name and renamed, so a file is whole or absent; the folder
can be removed at any time. It belongs to one checkpoint, whose fingerprint is kept with the files.
With a database that was restored from a backup ids come again: when each response was stored is
kept too, and features of another one are not there.
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
from data.records import Response
from data.responses import Responses
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]
FOLDER = "features"
_IDS, _PROMPTS, _OF, _STORED = "ids", "prompts", "checkpoint", "stored"


@dataclass(frozen=True)
class FeatureTable:
    """Features of some responses, all the kinds that there are."""

    rows: Mapping[int, int]
    """Response id -> row."""
    kinds: Mapping[FeatureKind, Array]
    """[N, d] float32 of each."""
    prompts: Array
    """[N] id of the prompt that each response answers."""

    def side_by_side(self, kinds: Sequence[FeatureKind], rows: Array) -> Array:
        """[n, d of all] several kinds of some rows as one table."""
        return np.hstack([self.kinds[kind][rows] for kind in kinds])


class ResponseFeatures:
    """The features kept in a workspace. Processes may read while one writes."""

    def __init__(self, workspace: Path, responses: Responses) -> None:
        self.folder = workspace / FOLDER
        self._responses = responses

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
                found.update(i for i, holds in self._known(file) if holds)
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
                known = self._known(file)
                keep = np.array([holds and i not in rows and (wanted is None or i in wanted)
                                 for i, holds in known], bool)
                if parts and not keep.any():  # the first file says which kinds there are
                    continue
                kept = [i for (i, _), taken in zip(known, keep, strict=True) if taken]
                rows.update({i: len(rows) + n for n, i in enumerate(kept)})
                prompts.append(file.get_tensor(_PROMPTS)[keep])
                for kind in set(file.keys()) - {_IDS, _PROMPTS}:
                    parts.setdefault(FeatureKind.parse(kind), []).append(
                        file.get_tensor(kind)[keep])
        if {len(several) for several in parts.values()} - {len(prompts) - 1}:
            raise PrefloopError(f"{self.folder}: files of different kinds of features; remove the "
                                "folder, and they are computed again")
        return FeatureTable(rows, {kind: np.concatenate(parts[kind]) for kind in sorted(parts)},
                            np.concatenate(prompts))

    def _known(self, file: Any) -> list[tuple[int, bool]]:
        """The ids in a file, and whether the response of that id is the one that was read."""
        ids = file.get_tensor(_IDS).tolist()
        then = (file.metadata() or {}).get(_STORED, "").split() or [""] * len(ids)
        now = self._responses.stored_at(ids)
        return [(i, now.get(i) == time) for i, time in zip(ids, then, strict=True)]

    def add(self, responses: Sequence[Response], kinds: Mapping[FeatureKind, Array],
            checkpoint: str) -> None:
        """Keep the features ([n, d] of each kind) of some responses.

        Raises:
            PrefloopError: the folder cannot be written.
        """
        ids, prompts = [r.id for r in responses], [r.prompt_id for r in responses]
        about = {_OF: checkpoint, _STORED: " ".join(r.created_at for r in responses)}
        name = f"{min(ids)}-{hashlib.sha256(repr((ids, about)).encode()).hexdigest()[:12]}"
        partial = self.folder / f".{name}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            save_file({_IDS: np.array(ids, np.int64), _PROMPTS: np.array(prompts, np.int64),
                       **{str(kind): np.ascontiguousarray(values, np.float32)
                          for kind, values in kinds.items()}}, partial, metadata=about)
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
