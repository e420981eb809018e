"""What of a conversation is read where it is too long, turn by turn and token by token."""

from pathlib import Path

import pytest
import torch
from models import tiny_checkpoint

from backbone.checkpoint import load_tokenizer
from backbone.text import UNCUT, conversation_ids, pad
from data.records import Message


def _turns(count: int) -> list[Message]:
    """The user's and the assistant's, in turns; the user's are the even ones."""
    return [Message(role="assistant" if n % 2 else "user", content="one two three four"[:4 + 4 * n])
            for n in range(count)]


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("count", [2, 4])
def test_of_a_conversation_its_end_is_read_whatever_the_room(tmp_path: Path, system: bool,
                                                             count: int) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    before = [Message(role="system", content="be red")] if system else []
    turns = _turns(count)
    whole, _ = conversation_ids(tokenizer, [*before, *turns], UNCUT, None)
    # Whole exchanges go first; the last stays, after what the system says.
    kept = [conversation_ids(tokenizer, [*before, *turns[first:]], UNCUT, None)[0]
            for first in range(0, count, 2)]
    for longest in range(1, len(whole) + 3):
        found, cut = conversation_ids(tokenizer, [*before, *turns], longest, None)
        fitting = [ids for ids in kept if len(ids) <= longest]
        assert found == (fitting[0] if fitting else kept[-1][-longest:])
        assert cut == (2 * kept.index(fitting[0]) if fitting else count - 2 + 1)


@pytest.mark.parametrize("left", [True, False])
def test_positions_are_those_of_the_text_and_never_below_the_first(left: bool) -> None:
    """Padding too has one: models with a table of positions look it up."""
    batch = pad([[5, 6], [7, 8, 9], [4]], 0, torch.device("cpu"), left=left)
    for positions, real, length in zip(batch.positions, batch.mask.bool(), (2, 3, 1), strict=True):
        assert positions[real].tolist() == list(range(length))
        assert positions.min() >= 0 and positions.max() < 3
