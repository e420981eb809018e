"""Files to import, as people have them and as other tools write them, for the tests of imports."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.store import Store

PREFERENCE = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
#: Two users of Argilla.
ANN, BOB = "1aa7e4ff-6a4d-4e2b-9f0f-0d3c3f5a9c11", "2bb7e4ff-6a4d-4e2b-9f0f-0d3c3f5a9c22"


def lines(path: Path, *rows: Any) -> Path:
    """A JSON Lines file of these rows; a text is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n"
                            for row in rows), "utf-8")
    return path


def table(path: Path, *rows: dict[str, str]) -> Path:
    """A CSV file of these rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def saved(path: Path, document: Any) -> Path:
    """A list as JSON (indented, as the tools write it), or one object a line."""
    if path.suffix == ".json":
        path.write_text(json.dumps(document, indent=2), "utf-8")
    else:
        lines(path, *document)
    return path


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def counts(store: Store) -> list[int]:
    """Rows in every table that an import writes."""
    return [store.database.value(f"SELECT count(*) FROM {table}") for table in (
        "prompts", "labelers", "responses", "tasks", "task_responses", "assignments",
        "comparisons", "preferences")]


Said = tuple[str, str, list[list[str]], int]


def said(store: Store) -> list[Said]:
    """(labeler, question, ranking by text, strength) of every answer that stands."""
    text = {r.id: r.text for r in store.responses.all()}
    names = {labeler.id: labeler.name for labeler in store.people.all()}
    return [(names[c.labeler_id],
             store.prompts.get(store.tasks.get(c.task_id).prompt_id).text,
             [[text[i] for i in group] for group in c.answer.ranking], c.answer.strength)
            for c in store.comparisons.current()]


# Label Studio's

def result(kind: str, value: Any, name: str = "", to: str = "") -> dict[str, Any]:
    return {"value": value, "id": "x1Yz", "from_name": name or kind, "to_name": to or name or kind,
            "type": kind, "origin": "manual"}


def pairwise(side: str) -> dict[str, Any]:
    return result("pairwise", {"selected": side}, "comparison")


def annotation(*results: dict[str, Any], by: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 11, "completed_by": by, "result": list(results), "was_cancelled": False,
            "ground_truth": False, "created_at": "2024-05-02T10:00:00.000000Z",
            "updated_at": "2024-05-02T10:00:00.000000Z", "draft_created_at": None,
            "lead_time": 7.25, "prediction": {}, "result_count": 1,
            "unique_id": "5c9e7a3a-9a0b-4f53-8f3e-3e55f0a3a9b6", "import_id": None,
            "last_action": None, "task": 1, "project": 3, "updated_by": 1,
            "parent_prediction": None, "parent_annotation": None, **more}


def task(data: dict[str, Any], *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": list(annotations), "file_upload": "3f1-dataset.json",
            "drafts": [], "predictions": [], "data": data, "meta": {},
            "created_at": "2024-05-01T10:00:00.000000Z",
            "updated_at": "2024-05-02T10:00:00.000000Z", "inner_id": 1, "total_annotations": 2,
            "cancelled_annotations": 0, "total_predictions": 0, "comment_count": 0,
            "last_comment_updated_at": None, "project": 3, "updated_by": 1,
            "comment_authors": [], **more}


PAIR = {"prompt": "Name a river.", "answer1": "The Nile.", "answer2": "A river."}


# Argilla's

def flat_v1(question: str, *answers: tuple[str, Any, str], **fields: Any) -> dict[str, Any]:
    """A row as version 1's `format_as("datasets")` makes it."""
    return {**fields, question: [{"user_id": user, "value": value, "status": status}
                                 for user, value, status in answers],
            f"{question}-suggestion": None,
            f"{question}-suggestion-metadata": {"type": None, "score": None, "agent": None},
            "external_id": None, "metadata": "{}"}


TWO = {"prompt": "Name a river.", "response-0": "The Nile.", "response-1": "A river."}


def ranks(*order: int) -> list[dict[str, Any]]:
    return [{"rank": rank, "value": f"response-{i}"} for i, rank in enumerate(order)]


# OpenAssistant's

def message(name: str, role: str, text: str, *replies: dict[str, Any],
            **more: Any) -> dict[str, Any]:
    return {"message_id": name, "user_id": "u", "text": text, "role": role, "lang": "en",
            "review_count": 3, "review_result": True, "deleted": False, "synthetic": False,
            "emojis": {"+1": 2}, "labels": {"quality": {"value": 0.7, "count": 3}},
            "rank": None, "replies": list(replies), **more}


def assistant(name: str, text: str, rank: int | None, *replies: dict[str, Any],
              **more: Any) -> dict[str, Any]:
    return message(name, "assistant", text, *replies, rank=rank, **more)


TREE = {"message_tree_id": "p", "tree_state": "ready_for_export", "prompt": message(
    "p", "prompter", "Why?",
    assistant("a", "Because.", 1, message(
        "q", "prompter", "And how?", assistant("d", "So.", 0), assistant("e", "Thus.", 1))),
    assistant("b", "Why not.", 0), assistant("c", "Dunno.", 2),
    assistant("x", "Spam.", 3, deleted=True), assistant("y", "Unranked.", None))}
RANKINGS = [("oasst", "Why?", [["Why not."], ["Because."], ["Dunno."]], 3),
            ("oasst", "And how?", [["So."], ["Thus."]], 3)]


def messages_of(tree: dict[str, Any], parent: str | None = None) -> Iterator[dict[str, Any]]:
    """A tree as its messages, as the flat files hold them."""
    flat = {key: value for key, value in tree.items() if key != "replies"}
    yield {**flat, "parent_id": parent, "message_tree_id": "p", "tree_state": "ready_for_export"}
    for reply in tree["replies"]:
        yield from messages_of(reply, tree["message_id"])
