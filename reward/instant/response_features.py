"""Features of a workspace's responses, by response id: read without torch, computed elsewhere.

A response never changes, so its features are computed once (`loop.asking.extracting`). Files are
safetensors, each written under another name and renamed, so a file is whole or absent; one that was
spoilt since is dropped, and the folder can be removed at any time. It belongs to one checkpoint,
whose fingerprint is kept with the files. With a database that was restored from a backup ids come
again: when each response was stored is kept too, and features of another one are not there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data.database import written_at
from data.durable import put_in_place
from data.errors import BadInput, PrefloopError
from data.records import Response
from data.responses import Responses
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]
_Found = TypeVar("_Found")
_log = logging.getLogger(__name__)
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
    clusters: Array
    """[N] what must not be split between training and testing: prompts that begin alike
    (`data.prompts.cluster_of`)."""

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
            PrefloopError: the disk or the permissions keep a file from being read.
        """
        def look(path: Path, file: Any) -> tuple[str, list[int]]:
            return file.metadata()[_OF], [i for i, holds in self._known(path, file) if holds]

        found: set[int] = set()
        for of, ids in self._each(look):
            if checkpoint not in (None, of):
                return set()
            found.update(ids)
        return found

    def read(self, wanted: set[int] | None = None) -> FeatureTable:
        """The features of some responses (those that are here), or of all.

        Raises:
            PrefloopError: the disk or the permissions keep a file from being read, or files hold
                different kinds.
        """
        rows: dict[int, int] = {}
        prompts: list[Array] = [np.zeros(0, np.int64)]
        parts: dict[FeatureKind, list[Array]] = {}

        def look(path: Path, file: Any) -> tuple[list[int], Array, dict[FeatureKind, Array]]:
            known = self._known(path, file)
            keep = np.array([holds and i not in rows and (wanted is None or i in wanted)
                             for i, holds in known], bool)
            if parts and not keep.any():  # the first file says which kinds there are
                return [], prompts[0], {}
            return ([i for (i, _), taken in zip(known, keep, strict=True) if taken],
                    file.get_tensor(_PROMPTS)[keep],
                    {FeatureKind.parse(kind): file.get_tensor(kind)[keep]
                     for kind in set(file.keys()) - {_IDS, _PROMPTS}})

        for kept, of_prompts, values in self._each(look):
            if not values:
                continue
            rows.update({i: len(rows) + n for n, i in enumerate(kept)})
            prompts.append(of_prompts)
            for kind, part in values.items():
                parts.setdefault(kind, []).append(part)
        if {len(several) for several in parts.values()} - {len(prompts) - 1}:
            raise PrefloopError(f"{self.folder}: files of different kinds of features; remove the "
                                "folder, and they are computed again")
        cluster = self._responses.clusters(rows)
        return FeatureTable(rows, {kind: np.concatenate(parts[kind]) for kind in sorted(parts)},
                            np.concatenate(prompts),
                            np.array([cluster[i] for i in rows], np.int64))

    def _each(self, look: Callable[[Path, Any], _Found]) -> Iterator[_Found]:
        """What `look` finds in each file. One that holds no features, as an empty one after a power
        cut, is dropped: what it held is computed again."""
        for name in self.files():
            path = self.folder / name
            try:
                found = _looked_into(path, look)
            except FileNotFoundError as error:  # safetensors' word for any file that does not open
                if path.exists():
                    raise PrefloopError(f"{path}: features cannot be read (the permissions or too "
                                        "many open files keep it from being opened)") from error
                continue  # forgotten meanwhile
            except OSError as error:
                raise PrefloopError(f"{path}: features cannot be read "
                                    f"({error.strerror or error})") from error
            if found is not None:
                yield found

    def _known(self, path: Path, file: Any) -> list[tuple[int, bool]]:
        """The ids in a file, and whether the response of that id is the one that was read.

        In a file of before it was kept when that one was stored, it is, unless it came later.
        """
        ids = file.get_tensor(_IDS).tolist()
        now = self._responses.stored_at(ids)
        if _STORED not in file.metadata():
            written = written_at(path)
            return [(i, i in now and now[i] <= written) for i in ids]
        then = file.metadata()[_STORED].split()
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
            put_in_place(partial, self.folder / f"{name}.safetensors")
        except OSError as error:
            raise PrefloopError(f"{self.folder}: features cannot be kept there "
                                f"({error.strerror or error})") from error
        finally:
            with suppress(OSError):
                partial.unlink()

    def forget(self) -> None:
        """Remove all features (they are of another checkpoint)."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _looked_into(path: Path, look: Callable[[Path, Any], _Found]) -> _Found | None:
    """What `look` finds in a file; None, and the file is gone, where it holds no features."""
    try:
        with safe_open(path, "np") as file:
            return look(path, file)
    except (SafetensorError, BadInput, ValueError, KeyError, TypeError, IndexError) as error:
        _log.warning("%s: features cannot be read (%s); the file is removed, and they are computed "
                     "again", path, error)
        path.unlink(missing_ok=True)
        return None
