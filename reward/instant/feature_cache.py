"""Features on disk: what was computed of a response once is never computed again.

The cache belongs to a workspace: safetensors, written whole, found again by what the checkpoint's
weights are (not where they lie) and by a hash of the tokens that were read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from backbone.model import Backbone
from data.errors import PrefloopError
from reward.instant.features import EncodedResponse, compute
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]


def fingerprint(backbone: Backbone) -> str:
    """What the checkpoint's weights are, in the precision they run in: a sample of each, hashed."""
    digest = hashlib.sha256(str(backbone.dtype).encode())
    for name, weight in sorted(backbone.trunk.named_parameters()):
        if "lora_" not in name:
            flat = weight.detach().flatten()
            sample = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
            digest.update(sample.tobytes())
    return digest.hexdigest()[:16]


class FeatureCache:
    """Features on disk, in a folder of a workspace; several processes may use it at once.

    Each call that computes something adds one file, written under another name and renamed, so a
    file is whole or absent. Files are never changed, and the folder can be removed at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def features(self, backbone: Backbone, responses: Sequence[EncodedResponse],
                 kinds: Sequence[FeatureKind],
                 on_batch: Callable[[float], None] | None = None) -> dict[FeatureKind, Array]:
        """`compute`, for what is not here yet.

        Raises:
            PrefloopError: a file in the cache cannot be read, or none can be written.
        """
        folder = self.folder / fingerprint(backbone)
        kept = _read(folder, kinds)
        lacking = [kind for kind in kinds if any(r.key not in kept[kind] for r in responses)]
        new = {r.key: r for r in responses if any(r.key not in kept[kind] for kind in lacking)}
        if new:
            computed = compute(backbone, list(new.values()), lacking, on_batch)
            _write(folder, list(new), computed)
            for kind, values in computed.items():
                kept[kind].update(zip(new, values, strict=True))
        width = backbone.hidden_size
        return {kind: np.array([kept[kind][r.key] for r in responses],
                               np.float32).reshape(len(responses), width) for kind in kinds}


def _read(folder: Path, kinds: Sequence[FeatureKind]) -> dict[FeatureKind, dict[str, Array]]:
    kept: dict[FeatureKind, dict[str, Array]] = {kind: {} for kind in kinds}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as file:
                keys = json.loads(file.metadata()["keys"])
                for kind in set(kinds) & {FeatureKind.parse(name) for name in file.keys()}:  # noqa: SIM118
                    kept[kind].update(zip(keys, file.get_tensor(str(kind)), strict=True))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError,
                PrefloopError) as error:
            raise PrefloopError(f"{path}: cached features cannot be read ({error}); remove the "
                                "file, and they are computed again") from error
    return kept


def _write(folder: Path, keys: Sequence[str], features: Mapping[FeatureKind, Array]) -> None:
    names = sorted(str(kind) for kind in features)
    name = hashlib.sha256("/".join([*names, *keys]).encode()).hexdigest()[:16]
    partial = folder / f".{name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({str(kind): np.ascontiguousarray(values) for kind, values in features.items()},
                  partial, metadata={"keys": json.dumps(list(keys))})
        partial.rename(folder / f"{name}.safetensors")
    except OSError as error:
        raise PrefloopError(f"{folder}: features cannot be kept there "
                            f"({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink()
