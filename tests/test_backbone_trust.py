"""What a checkpoint may bring: its weights as safetensors, and no code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import tiny_checkpoint
from safetensors.torch import load_file
from transformers.utils import hub

from backbone.checkpoint import load_config, load_model, load_tokenizer
from data.errors import BadInput

Load = Callable[[str], Any]


def _model(checkpoint: str) -> Any:
    return load_model(checkpoint, torch.device("cpu"), torch.float32)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no weights as safetensors, and others \(\.bin"):
        _model(str(folder))


def _change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("load", [load_config, load_tokenizer, _model])
def test_code_that_comes_along_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          load: Load) -> None:
    """Not even where somebody at the terminal would say yes to it: nobody is asked."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder, ran = tiny_checkpoint(tmp_path), tmp_path / "ran"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n")
    _change(folder / "config.json", model_type="own",
            auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"})
    _change(folder / "tokenizer_config.json", tokenizer_class="Own",
            auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    with pytest.raises(BadInput, match="custom code, which is never run here"):
        load(str(folder))
    assert not ran.exists()


def test_a_name_that_is_no_folder_is_said_to_be_taken_for_a_hub_id(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_offline_mode", lambda: True)
    with pytest.raises(BadInput, match=r"cannot be loaded: .* \(there is no such folder, so it"):
        load_config("models/mistyped")
