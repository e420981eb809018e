"""A file's preferences as pairs, without a workspace: what a reward model is measured on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from data.errors import BadInput
from data.exchange.chosen_rejected import Pair
from data.exchange.foreign_fields import Fields
from data.exchange.judgements import REPEATED, SUPERSEDED, Judgement, LeftOut, plain_keys
from data.exchange.messages import Unusable
from data.exchange.reading import rows_of
from data.exchange.sniffing import TOOLS, first_rows, sniff
from data.exchange.sources import Found, nothing_usable, of_tool, preferences, published

_TIE = "a tie"
_DECIDED = "an answer to a task that a lead has decided"


def read_pairs(path: Path) -> tuple[list[Pair], dict[str, int]]:
    """A file's preferences, and how much of it says nothing to measure by, by reason.

    Of comparisons every two responses of which one is ranked above the other are a pair.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used.
    """
    skipped: Counter[str] = Counter()
    answers: dict[object, Judgement] = {}
    for row, judgement in _found(path):
        if isinstance(judgement, LeftOut):
            skipped[judgement.reason] += 1
            continue
        try:
            settled = judgement.settled()
        except Unusable as reason:
            skipped[str(reason)] += 1
        except BadInput as error:
            raise row.error(error) from None
        else:
            # As an import has it, too.
            named = bool(settled.annotator)
            who = (settled.record, settled.annotator) if named else plain_keys(settled)[0]
            if who in answers:
                same = not named or answers[who].said == settled.said
                skipped[REPEATED if same else SUPERSEDED] += 1
            answers[who] = settled
    decided = {answer.record for answer in answers.values() if answer.decision}
    pairs: list[Pair] = []
    for answer in answers.values():
        if decided and not answer.decision and answer.record in decided:
            skipped[_DECIDED] += 1
            continue
        pairs += _pairs(answer)
        skipped[_TIE] += sum(len(group) * (len(group) - 1) // 2 for group in answer.ranking)
    if not pairs:
        raise nothing_usable(path, skipped)
    return pairs, dict(+skipped)


def _found(path: Path) -> Found:
    # A pipe can be read only once.
    kind = "preferences" if path.is_fifo() else sniff(path)
    rows = rows_of(path)
    if kind in TOOLS:
        return of_tool(kind, rows, Fields())
    if kind == "comparisons":
        return published(rows, Fields(), first_rows(path))
    return preferences(rows)


def _pairs(answer: Judgement) -> Iterator[Pair]:
    """Every two responses of which one is above the other. Together they weigh as much as one
    answer, as in training."""
    found = [(better, worse) for high, low in combinations(answer.ranking, 2)
             for better in high for worse in low]
    for better, worse in found:
        yield Pair(answer.messages, answer.responses[better], answer.responses[worse],
                   answer.strength, 1 / len(found))
