"""Real human preferences that benchmarks learn from, and features of their texts.

The files are kept beside the repository, never inside it: `PREFLOOP_DATA` names their folder,
`../shared/data` beside the repository where it is not set. Features are computed once and kept in
the user's cache folder.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import BadInput
from data.exchange.chosen_rejected import pair_from
from data.exchange.messages import Unusable
from data.records import Message
from reward.kinds import FeatureKind, question_of

Array = np.ndarray[Any, Any]
FOLDER = "PREFLOOP_DATA"
FIRST, TIE, SECOND = range(3)
_CHOICES = {"a": FIRST, "tie": TIE, "b": SECOND}
#: What cross-validation over topics prefers (see docs/reward-model.md), for benchmarks that compare
#: something else: features, leading directions of them, and the prior's spread.
KINDS = FeatureKind(20, "mean"), FeatureKind(20, "last")
COMPONENTS = 120
SPREAD = 0.5
#: Longest conversation in tokens whose features are computed.
MAX_LENGTH = 1024


@dataclass(frozen=True)
class Text:
    """A response with the conversation that it answers."""

    messages: tuple[tuple[str, str], ...]
    """(role, content) of each turn before the response."""
    response: str

    def turns(self) -> list[Message]:
        """The conversation before the response."""
        return [Message(role=role, content=content) for role, content in self.messages]


@dataclass(frozen=True)
class Votes:
    """Every vote on M pairs, flattened."""

    pair: Array
    """[V] index of the pair."""
    outcome: Array
    """[V] FIRST, TIE or SECOND; the pair's first was shown first."""
    labeler: Array
    """[V] number of the labeler, from 0."""


@dataclass(frozen=True)
class Pairs:
    """M pairs of texts and what is known of each."""

    texts: list[Text]
    first: Array
    """[M] index into texts; shown first (left) where pairs were shown to a crowd."""
    second: Array
    """[M] index into texts."""
    groups: Array
    """[M] number of the prompt or topic, which is never split between training and testing."""
    gold: Array
    """[M] FIRST, TIE or SECOND, or −1 where there is no gold label."""
    strict: Array
    """[M] whether the pair is of the cleaned subset that papers report on."""
    votes: Votes

    @property
    def log_lengths(self) -> Array:
        """[N] log(1 + words) of each response."""
        return np.log1p([len(text.response.split()) for text in self.texts])

    @property
    def group_of_text(self) -> Array:
        """[N] the group of the pairs that each text stands in; a text stands in those of one."""
        found = np.full(len(self.texts), -1)
        found[self.first] = self.groups
        found[self.second] = self.groups
        return found

    def one_vote_each(self, seed: int) -> Array:
        """[M] index of one random vote on each pair."""
        order = np.random.default_rng(seed).permutation(len(self.votes.pair))
        found = np.full(len(self.first), -1)
        found[self.votes.pair[order]] = order
        return found


class _Made:
    """Pairs as they are read, each text and each group with a number of its own."""

    def __init__(self) -> None:
        self.texts: dict[Text, int] = {}
        self.groups: dict[Hashable, int] = {}
        self.rows: list[tuple[int, int, int, int, bool]] = []

    def add(self, prompt: tuple[tuple[str, str], ...], first: str, second: str, group: Hashable,
            gold: int, strict: bool | None = None) -> None:
        """One more pair; strict are those that somebody is known to have decided, if nobody says
        otherwise."""
        a, b = (self.texts.setdefault(Text(prompt, response), len(self.texts))
                for response in (first, second))
        self.rows.append((a, b, self.groups.setdefault(group, len(self.groups)), gold,
                          gold in (FIRST, SECOND) if strict is None else strict))

    def pairs(self, votes: Sequence[tuple[int, int, int]]) -> Pairs:
        """All of them, with (pair, outcome, labeler) of each vote."""
        first, second, groups, gold, strict = np.array(self.rows).T
        pair, outcome, labeler = np.array(votes, int).reshape(-1, 3).T
        return Pairs(list(self.texts), first, second, groups, gold, strict.astype(bool),
                     Votes(pair, outcome, labeler))


def arguments() -> Pairs:
    """UKPConvArg1 (Habernal & Gurevych 2016): which argument on a topic is more convincing."""
    made, votes = _Made(), []
    labelers: dict[str, int] = {}
    for number, row in enumerate(_rows("ukpconvarg1.jsonl.gz")):
        made.add((("user", row["prompt"]),), row["response_a"], row["response_b"], row["topic"],
                 _CHOICES.get(row["gold"], -1), row["strict"])
        votes += [(number, _CHOICES[vote["choice"]],
                   labelers.setdefault(vote["labeler"], len(labelers))) for vote in row["votes"]]
    return made.pairs(votes)


def harmless(most: int | None = None) -> Pairs:
    """HH-RLHF harmless (Bai et al. 2022), test split; the first is always the chosen one.

    Args:
        most: only so many dialogues, evenly spread over the file.
    """
    rows = list(_rows("hh_harmless.jsonl.gz"))
    if most is not None:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    made = _Made()
    for row in rows:
        try:
            pair = pair_from(row)
        except BadInput as error:
            raise BadInput(f"hh_harmless.jsonl.gz: {error}") from error
        except Unusable:
            continue
        prompt = tuple((m["role"], m["content"]) for m in pair.messages)
        made.add(prompt, pair.chosen, pair.rejected, prompt[0][1], FIRST)
    return made.pairs(())


def instructions() -> Pairs:
    """PandaLM's test set (Wang et al. 2023): two models' responses to an instruction, three people
    each. Gold is what two of them agree on; they are labelers 0 to 2."""
    made, votes = _Made(), []
    for number, row in enumerate(_rows("pandalm.jsonl.gz")):
        prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
        said = [row[f"annotator{person}"] for person in (1, 2, 3)]  # 0 a tie, 1, 2
        # A few responses are true and false, not text.
        made.add((("user", prompt),), str(row["response1"]), str(row["response2"]), prompt,
                 [TIE, FIRST, SECOND][max(said, key=said.count)])
        votes += [(number, [TIE, FIRST, SECOND][choice], person)
                  for person, choice in enumerate(said)]
    return made.pairs(votes)


def replies() -> Pairs:
    """OpenAssistant (Köpf et al. 2023), English validation: all pairs of a prompt's ranked
    replies."""
    made = _Made()
    for row in _rows("oasst1_kwise.jsonl.gz"):
        prompt = tuple(({"prompter": "user"}.get(role, role), text) for role, text in
                       row["context"])
        ranked = sorted(row["replies"], key=lambda reply: float(reply["rank"]))
        for better, worse in combinations(ranked, 2):
            made.add(prompt, better["text"], worse["text"], row["parent"], FIRST)
    return made.pairs(())


def features(texts: Sequence[Text], kinds: Sequence[FeatureKind]) -> dict[FeatureKind, Array]:
    """[N, d] features of the embedded model of each kind, kept once they are computed."""
    from backbone.checkpoint import cache_folder
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone
    from reward.instant.features import compute, encode_response, fingerprint

    backbone = Backbone.load(EMBEDDED, ModelConfig())
    question = question_of(kinds)
    encoded = [encode_response(backbone, text.turns(), text.response, MAX_LENGTH, question)
               for text in texts]

    def say(share: float) -> None:
        print(f"\rfeatures {share:4.0%}", end="", file=sys.stderr, flush=True)

    folder = cache_folder() / "benchmark-features" / fingerprint(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    read = [(each.ids, each.start, each.end) for each in encoded]
    files = {kind: folder / hashlib.sha256(f"{kind} {read}".encode()).hexdigest()[:32]
             for kind in kinds}
    if lacking := [kind for kind in kinds if not files[kind].exists()]:
        for kind, values in compute(backbone, encoded, lacking, say).items():
            partial = folder / f"{os.getpid()}.npy"
            np.save(partial, values)
            partial.rename(files[kind])
        print(file=sys.stderr)
    return {kind: np.load(file) for kind, file in files.items()}


def feature_table(texts: Sequence[Text]) -> Array:
    """[N, d] the features of `KINDS`, side by side."""
    found = features(texts, KINDS)
    return np.hstack([found[kind] for kind in KINDS])


def _rows(name: str) -> Iterator[dict[str, Any]]:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get(FOLDER) or default) / name
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except OSError as error:
        raise SystemExit(f"{path}: cannot be read ({error.strerror or error}); set {FOLDER} to the "
                         "folder that holds it") from error
