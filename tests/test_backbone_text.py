"""What of a conversation is read where it is too long, turn by turn and token by token."""

from pathlib import Path

import pytest
from models import tiny_checkpoint

from backbone.checkpoint import load_tokenizer
from backbone.text import UNCUT, conversation_ids
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
