"""Answers that a file brings back to the workspace that exported it, in whatever tool's shape.

They are here already, as their labelers gave them, and must not become second answers by imported
labelers. An answer is known by its task (the number, the prompt and the responses), by who gave it
and by its ranking: formats leave out the rest. One that was changed or withdrawn since is known
too, by the earlier revision. So is, but for the task's number, one that has been in another
workspace in between, which exported it with its own.

Nor may an answer count twice that comes to another workspace both as a ranking, among comparisons,
and pair by pair, among preferences: whichever comes second is there already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from data.database import Database
from data.exchange.judgements import Judgement, Origin
from data.exchange.messages import Unusable
from data.exchange.own_comparisons import annotator_of, names_of_task
from data.prompts import fingerprint, without_nul

_MOST_KNOWN = 1000  # annotators of prompts whose answers are kept in memory, for the next of theirs
_RANKINGS = """
    SELECT c.ranking FROM current_comparisons c JOIN tasks t ON t.id = c.task_id
    JOIN prompts p ON p.id = t.prompt_id JOIN labelers l ON l.id = c.labeler_id
    WHERE p.fingerprint = ? AND l.kind = 'imported' AND json_extract(l.config, '$.annotator') = ?"""

Pair = tuple[str, str]
"""Two responses, the better one first."""


class Homecoming:
    """What this workspace holds of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[Pair, tuple[set[Pair], set[Pair]]] = {}

    def holds(self, judgement: Judgement) -> bool:
        """Whether an answer (settled) was given here."""
        origin = judgement.origin
        return origin is not None and (any(
            self._in_task(judgement, origin, row["id"]) for row in self._database.rows(
                "SELECT t.id FROM tasks t JOIN prompts p ON p.id = t.prompt_id "
                "WHERE p.fingerprint = ?", [fingerprint(judgement.messages)])
            if origin.task in ("", *names_of_task(row["id"])))
            or self._in_another_form(judgement, origin))

    def _in_task(self, judgement: Judgement, origin: Origin, task_id: int) -> bool:
        texts = {row["id"]: without_nul(row["text"]) for row in self._database.rows(
            "SELECT r.id, r.text FROM task_responses t JOIN responses r ON r.id = t.response_id "
            "WHERE t.task_id = ?", [task_id])}
        return any(
            annotator_of(row["name"], row["kind"]) == origin.annotator
            and not (origin.is_first_hand and row["kind"] == "imported")
            and _says(judgement, texts, json.loads(row["ranking"]))
            for row in self._database.rows(
                "SELECT c.ranking, l.name, l.kind FROM comparisons c "
                "JOIN labelers l ON l.id = c.labeler_id WHERE c.task_id = ?", [task_id]))

    def _in_another_form(self, judgement: Judgement, origin: Origin) -> bool:
        """Whether the ranking that a pair is of was imported, or each pair of a ranking.

        A ranking of two is the same task in either form, so there it is a revision.
        """
        if len(judgement.responses) == 2 and not origin.is_pair:
            return False
        of_any, of_two = self._imported(fingerprint(judgement.messages), origin.annotator)
        pairs = {*_pairs(judgement.ranking, _plain(judgement))}
        return bool(pairs) and pairs <= (of_any if origin.is_pair else of_two)

    def _imported(self, mark: str, annotator: str) -> tuple[set[Pair], set[Pair]]:
        """What an annotator has said of a prompt in earlier imports, pair by pair: in all answers,
        and in those of two responses."""
        found = self._known.get((mark, annotator))
        if found is None:
            of_any, of_two = found = set[Pair](), set[Pair]()
            rankings = [json.loads(row["ranking"])
                        for row in self._database.rows(_RANKINGS, [mark, annotator])]
            texts = {row["id"]: row["text"].strip() for row in self._database.rows(
                "SELECT r.id, r.text FROM responses r JOIN prompts p ON p.id = r.prompt_id "
                "WHERE p.fingerprint = ?", [mark])} if rankings else {}
            for ranking in rankings:
                pairs = {*_pairs(ranking, texts)}
                of_any |= pairs
                of_two |= pairs if sum(map(len, ranking)) == 2 else set()
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[mark, annotator] = found
        return found


def _pairs(ranking: Sequence[Sequence[int]],
           texts: Mapping[int, str] | Sequence[str]) -> Iterator[Pair]:
    """Each two responses of which one is ranked above the other."""
    return ((texts[better], texts[worse]) for high, low in combinations(ranking, 2)
            for better in high for worse in low)


def _says(judgement: Judgement, texts: dict[int, str], ranking: Sequence[Sequence[int]]) -> bool:
    """Whether a ranking of a task's responses orders those of the judgement as it does.

    The judgement may be of two of them: a pair of the preferences that we export.
    """
    places, wanted = {one: place for place, one in enumerate(texts)}, _plain(judgement)
    groups = (tuple(places[one] for one in group if texts[one].strip() in wanted)
              for group in ranking)
    ours = Judgement(judgement.messages, tuple(texts.values()), tuple(g for g in groups if g))
    try:
        settled = ours.settled()
    except Unusable:
        return False
    return (_plain(settled), settled.ranking) == (wanted, judgement.ranking)


def _plain(judgement: Judgement) -> list[str]:
    return [text.strip() for text in judgement.responses]
