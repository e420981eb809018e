"""Texts that go on token by token: our own pass gives what the checkpoint's code gives."""

import random
from pathlib import Path

import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import randomise

from backbone import decoding
from backbone.decoding import Decoding, decode
from backbone.flat_pass import runs_flat
from backbone.model import Backbone

ROOM = 6


def prompts(backbone: Backbone) -> list[list[int]]:
    """Two responses each to three prompts behind one system message, one token, one long text."""
    draw = random.Random(3)

    def some(count: int) -> list[int]:
        return [draw.randrange(len(backbone.tokenizer)) for _ in range(count)]

    system = some(12)
    found = [[*system, *some(count)] for count in (9, 15, 30)]
    return [*found, *found, some(1), some(80)]


def whole(backbone: Backbone, adapter: str | None, text: list[int]) -> torch.Tensor:
    """[d] the state at a text's last token, by the checkpoint's code and without any cache."""
    backbone.switch_to(adapter)
    with torch.no_grad():
        found: torch.Tensor = backbone.trunk(
            input_ids=torch.tensor([text]), use_cache=False).last_hidden_state[0, -1]
    return found


@pytest.mark.parametrize("own", [True, False], ids=["our pass", "the checkpoint's code"])
@pytest.mark.parametrize("adapter", ["policy", None])
def test_states_are_those_of_the_whole_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             adapter: str | None, own: bool) -> None:
    backbone = tiny_backbone(tmp_path)
    backbone.add_adapter("policy", backbone.new_lora_config(4, 8))
    randomise(backbone, "policy")
    assert runs_flat(backbone)
    monkeypatch.setattr(decoding, "runs_flat", lambda _: own)
    texts = prompts(backbone)
    going = decode(backbone, adapter, texts, ROOM)
    draw = random.Random(4)
    for step in range(ROOM):
        same_states(going, [whole(backbone, adapter, text) for text in texts])
        if step in (1, 3):  # the longest, and the one of one token, leave at unlike times
            kept = [row for row in range(len(texts)) if row not in (len(texts) - 1, 1)]
            going.keep(torch.tensor(kept))
            texts = [texts[row] for row in kept]
            same_states(going, [whole(backbone, adapter, text) for text in texts])
        new = [draw.randrange(len(backbone.tokenizer)) for _ in texts]
        going.feed(torch.tensor(new))
        texts = [[*text, token] for text, token in zip(texts, new, strict=True)]
    same_states(going, [whole(backbone, adapter, text) for text in texts])


def same_states(going: Decoding, expected: list[torch.Tensor]) -> None:
    torch.testing.assert_close(going.states, torch.stack(expected), atol=2e-5, rtol=1e-4)


def test_a_beginning_that_prompts_share_is_read_once(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, read = tiny_backbone(tmp_path), []
    real = decoding.start
    monkeypatch.setattr(decoding, "start", lambda trunk, ids, positions: (
        read.append(len(ids)), real(trunk, ids, positions))[1])
    going = decode(backbone, None, [[*range(20), 30]] * 9, 1)
    going.feed(torch.zeros(9, dtype=torch.long))
    assert read == [20 + 9, 9]  # each keeps its last token, to be read at
