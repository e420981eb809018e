"""Rows of published sets that hold one response each, with a grade: HelpSteer's helpfulness, KTO's
thumbs up or down.

A grade alone compares nothing. The responses of a file to the same prompt, by the same annotator
where one is named, are ranked by it; equal grades are ties. Rows wait in a private temporary
database on disk, so that a file of any size takes little memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from data.errors import BadInput
from data.exchange.answers import answer_from, has_answer
from data.exchange.compared import NO_GRADE
from data.exchange.judgements import (
    MOST_RESPONSES,
    TOO_MANY,
    Judgement,
    LeftOut,
    ranking_by,
)
from data.exchange.messages import Unusable
from data.exchange.reading import Row
from data.exchange.verdicts import annotator_in, number_in
from data.plain_json import to_json
from data.prompts import checked_text, fingerprint, without_nul

#: Fields that people grade in. `score` is none of them: it is what reward models write.
GRADES = ("helpfulness", "overall_rating", "rating", "grade", "rank")
#: Fields that only say whether a response is good.
_THUMBS = ("label", "kto_tag")
ALONE = "a graded response whose prompt has no other"


def grade_in(values: Mapping[str, Any]) -> str:
    """The field of a row's grade; empty where the row is no response with a grade."""
    if not has_answer(values):
        return ""
    grades = [name for name in GRADES if number_in(values.get(name)) is not None]
    thumbs = [name for name in _THUMBS
              if str(values.get(name)).lower() in ("true", "false")]
    return next(iter(grades + thumbs), "")


def judgements(rows: Iterable[Row], grade: str) -> Iterator[tuple[Row, Judgement | LeftOut]]:
    """The rankings of a file by this field, each with the row of its first response.

    Raises:
        BadInput: the file, line and field that are wrong.
    """
    with closing(sqlite3.connect("")) as waiting:
        waiting.execute("CREATE TABLE answers (line INTEGER, prompt TEXT, annotator TEXT, "
                        "messages TEXT, response TEXT, grade REAL)")
        last: Row | None = None
        for row in rows:
            last = row
            left_out = _keep(waiting, row, grade)
            if left_out:
                yield row, left_out
        if last is not None:
            yield from _rankings(waiting, last, grade)


def _keep(waiting: sqlite3.Connection, row: Row, grade: str) -> LeftOut | None:
    try:
        messages, response = answer_from(row.values, cells=row.is_cells)
        text = checked_text("response", without_nul(response))
        annotator = checked_text("annotator", annotator_in(row.values))
    except Unusable as reason:
        return LeftOut(str(reason))
    except BadInput as error:
        raise row.error(error) from None
    number = number_in(row.values.get(grade))
    if number is None:
        return LeftOut(NO_GRADE)
    if not text.strip():
        return LeftOut("an answer is empty")
    waiting.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", [
        row.line, fingerprint(messages), annotator, to_json(messages), text, number])
    return None


def _rankings(waiting: sqlite3.Connection, last: Row,
              grade: str) -> Iterator[tuple[Row, Judgement | LeftOut]]:
    waiting.execute("CREATE INDEX by_prompt ON answers(prompt, annotator, line)")
    for line, prompt, annotator, messages in waiting.execute(
            "SELECT min(line), prompt, annotator, messages FROM answers "
            "GROUP BY prompt, annotator ORDER BY min(line)"):
        at = Row(last.path, line, {}, last.unit)
        answers = waiting.execute(
            "SELECT response, grade FROM answers WHERE prompt = ? AND annotator = ? ORDER BY line",
            [prompt, annotator]).fetchall()
        if len(answers) < 2:
            yield at, LeftOut(ALONE)
        elif len(answers) > MOST_RESPONSES:
            yield at, LeftOut(TOO_MANY)
        else:
            yield at, Judgement(
                json.loads(messages), tuple(response for response, _ in answers),
                ranking_by({i: number for i, (_, number) in enumerate(answers)},
                           best_first=grade == "rank"),
                annotator=annotator, ranked_by=grade)
