"""The starter prompts are a shipped product: well formed, varied, and free of repeats."""

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations
from typing import Any

import pytest

MAX_CHARACTERS = 1200
MAX_OVERLAP = 0.4


def words(text: str) -> list[str]:
    """Lower-case words only, so that case, blanks and punctuation cannot hide a repeat."""
    return re.findall(r"\w+", text.lower())


def trigrams(text: str) -> set[tuple[str, ...]]:
    """Runs of three words; a shorter message counts as one run, so it still can be compared."""
    tokens = words(text)
    return {tuple(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))}


def last_message(prompt: dict[str, Any]) -> str:
    """What the model is asked to answer."""
    return str(prompt["messages"][-1]["content"])


@pytest.fixture(scope="module")
def prompts() -> list[dict[str, Any]]:
    text = (files("data") / "starter_prompts.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    # Not splitlines(): it also cuts at characters such as U+2028 that JSON allows in a string.
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_there_are_enough_prompts_of_enough_kinds(prompts: list[dict[str, Any]]) -> None:
    kinds = Counter(prompt["tags"][0] for prompt in prompts)
    assert len(prompts) >= 240
    assert len(kinds) >= 8
    assert min(kinds.values()) >= 24, kinds


def test_tags_are_plain_lower_case_words(prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        tags = prompt["tags"]
        assert 2 <= len(tags) <= 3, prompt
        assert len(set(tags)) == len(tags), prompt
        assert all(re.fullmatch(r"[a-z]+", tag) for tag in tags), prompt


def test_roles_alternate_from_user_to_user(prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        assert set(prompt) == {"messages", "tags"}, prompt
        roles = [message["role"] for message in prompt["messages"]]
        assert len(roles) % 2 == 1, prompt
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)], prompt


def test_conversations_have_several_turns(prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        assert prompt["tags"][0] != "conversation" or len(prompt["messages"]) >= 3, prompt


def test_messages_are_short_and_trimmed(prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        for message in prompt["messages"]:
            assert set(message) == {"role", "content"}, prompt
            assert message["content"] == message["content"].strip(), prompt
            assert 0 < len(message["content"]) <= MAX_CHARACTERS, prompt


def test_no_two_prompts_are_nearly_the_same(prompts: list[dict[str, Any]]) -> None:
    texts = [last_message(prompt) for prompt in prompts]
    assert len({" ".join(words(text)) for text in texts}) == len(texts)
    for (one, a), (other, b) in combinations([(text, trigrams(text)) for text in texts], 2):
        assert len(a & b) <= MAX_OVERLAP * len(a | b), f"{one!r} is too close to {other!r}"
