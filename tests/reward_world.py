"""Small preference data with a known answer, and workspaces to learn it in."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from models import tiny_checkpoint

from backbone.config import ModelConfig
from data.progress import Stopped
from loop import cli
from loop.workspace import Plan, make_workspace
from reward.examples import Example, Pair, PreferenceData

WORDS = [
    "the", "cat", "and", "dog", "in", "a", "house", "by", "sea", "one", "two", "three", "four",
    "five", "six", "seven", "eight", "nine", "ten", "red", "green", "blue", "yes", "no", "maybe",
    "often", "never",
]


def text(draw: random.Random, words: int, extra: str = "") -> str:
    """Random words, with one more somewhere among them."""
    found = [draw.choice(WORDS) for _ in range(words)]
    if extra:
        found.insert(draw.randrange(len(found) + 1), extra)
    return " ".join(found)


def example(prompt_id: int, texts: list[str], pairs: Iterable[tuple[int, int, int]],
            prompt: str = "") -> Example:
    """One prompt, its own where none is given; pairs are (chosen, rejected, strength) by the texts'
    places."""
    ids = [100 * prompt_id + n for n, _ in enumerate(texts)]
    made = tuple(Pair(ids[a], ids[b], s, 1.0, 1000 * prompt_id + n, 1, prompt_id)
                 for n, (a, b, s) in enumerate(pairs))
    prompt = prompt or f"tell me about cat {prompt_id}"
    return Example(prompt_id, [{"role": "user", "content": prompt}],
                   dict(zip(ids, texts, strict=True)), made, tuple(ids))


def good_wins(prompts: int, held_out: int = 0, seed: int = 0) -> PreferenceData:
    """Two responses a prompt; the one with the word `good` is preferred to the one with `bad`."""
    draw = random.Random(seed)
    examples = []
    for prompt_id in range(1, prompts + held_out + 1):
        texts = [text(draw, draw.randint(2, 9), word) for word in ("good", "bad")]
        examples.append(example(prompt_id, texts, [(0, 1, 3)], text(draw, draw.randint(2, 6))))
    return PreferenceData(tuple(examples[:prompts]), tuple(examples[prompts:]))


class Recorder:
    """A progress that keeps all it hears, and breaks off where it is told to."""

    def __init__(self, stop_after: int | None = None, error: type[Exception] = Stopped) -> None:
        self.steps: dict[int, dict[str, Any]] = {}
        self.fractions: list[float] = []
        self.stop_after = stop_after
        self.error = error

    def update(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)
        if self.stop_after is not None and len(self.fractions) >= self.stop_after:
            raise self.error("enough")

    def metrics(self, step: int, values: Any) -> None:
        self.steps[step] = dict(values)


def tiny_workspace(folder: Path, **models: Any) -> Path:
    """A workspace on a tiny model, without prompts, inside a folder."""
    made = folder / "ws"
    make_workspace(made, Plan(ModelConfig(checkpoint=str(tiny_checkpoint(folder)), **models),
                              starter_prompts=False))
    return made


def yes_over_no(count: int, end: str = "") -> list[dict[str, str]]:
    """Preferences, as a file has them, on so many prompts, a multiple of four."""
    return [{"prompt": f"tell me about the {word} number {n}", "chosen": f"yes {word} {n}{end}",
             "rejected": f"no no never {word} {n}"}
            for n in range(count // 4) for word in ("cat", "dog", "house", "sea")]


def import_pairs(workspace: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Bring preferences into a workspace; returns the file that they came by, beside it."""
    file = workspace.with_name("pairs.jsonl")
    file.write_text("\n".join(map(json.dumps, rows)))
    assert cli.run(["import", str(file), "--what", "preferences",
                    "--workspace", str(workspace)]) == 0
    return file


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """A command's JSON document."""
    capsys.readouterr()
    assert cli.run([*words, "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
