"""Comparisons in the shapes of Label Studio, Argilla and OpenAssistant, a task with its answers.

What a shape cannot hold stays out of it and is not bent to fit: `prefloop export --what
comparisons` without a tool has everything. None of the tools keeps the side on which a labeler saw
a response. Each answer says who gave it and what kind of labeler that is, "Ada (human)"; read in
again, it is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from data.exchange import argilla
from data.exchange.own_comparisons import NAME, signature, stable_id
from data.records import STRENGTHS
from data.store import Store

Record = dict[str, Any]


def of_tasks(comparisons: Iterator[Record]) -> Iterator[list[Record]]:
    """The comparisons of one task after another; they come in the order of their tasks."""
    for _, answers in groupby(comparisons, key=lambda record: record["task_id"]):
        yield list(answers)


def label_studio_tasks(store: Store, tasks: Iterator[list[Record]]) -> Iterator[Record]:
    """Tasks with annotations, all of one template: pairwise if all are pairs, else a ranker.

    Without `completed_by`: Label Studio refuses a file that names people whom it does not know.
    """
    pairs = store.database.value("""
        SELECT max(position) FROM task_responses WHERE task_id IN (
            SELECT c.task_id FROM counted_comparisons c JOIN tasks t ON t.id = c.task_id
            WHERE t.purpose IN ('train', 'evaluate'))""") == 1
    for answers in tasks:
        first = answers[0]
        texts = {response["id"]: response["text"] for response in first["responses"]}
        shown = ({f"answer{i}": text for i, text in enumerate(texts.values(), 1)} if pairs else
                 {"answers": [{"id": str(key), "title": f"Answer {i}", "body": text}
                              for i, (key, text) in enumerate(texts.items(), 1)]})
        yield {"data": {"prompt": first["prompt"], **shown, "source": NAME,
                        **{key: first[key] for key in ("task_id", "purpose", "split", "round")}},
               "annotations": [_annotation(answer, list(texts), pairs) for answer in answers]}


def _annotation(answer: Record, ids: list[int], pairs: bool) -> Record:
    results = []
    ranking = answer["ranking"]
    if not pairs:
        results.append(_result("ranker", "rank", "answers", {"ranker": {
            str(place): [str(one) for one in group] for place, group in enumerate(ranking, 1)}}))
    elif len(ranking) == 2:
        side = "left" if ranking[0][0] == ids[0] else "right"
        results.append(_result("pairwise", "comparison", "comparison", {"selected": side}))
    label = "both bad" if answer["verdict"] == "both_bad" else STRENGTHS[answer["strength"]]
    results.append(_result("choices", "strength", "prompt", {"choices": [label]}))
    results += [_result("rating", f"answer{i}-score", f"answer{i}", {"rating": response["score"]})
                for i, response in enumerate(answer["responses"], 1)
                if pairs and response["score"] is not None]
    texts = {"reason": answer["rationale"], "labeler": _signed(answer)}
    results += [_result("textarea", name, "prompt", {"text": [text]})
                for name, text in texts.items() if text]
    return {"result": results, "was_cancelled": False, "ground_truth": False,
            "lead_time": answer["seconds"], "created_at": answer["created_at"]}


def _result(kind: str, name: str, of: str, value: Record) -> Record:
    return {"type": kind, "from_name": name, "to_name": of, "value": value}


def argilla_records(store: Store, tasks: Iterator[list[Record]]) -> Iterator[Record]:
    """Records as Argilla's `to_json` writes them, which is what its `from_json` reads.

    Argilla's client puts a ranking in order and forgets ties: so `order` says it in words, exactly,
    and `ranking` is only there where nothing is tied.
    """
    for answers in tasks:
        first = answers[0]
        names = {response["id"]: f"response-{i}"
                 for i, response in enumerate(first["responses"], 1)}
        given: dict[str, list[Record]] = {}
        for answer in answers:
            groups = [[names[one] for one in group] for group in answer["ranking"]]
            values: Record = {
                "order": " > ".join(" = ".join(group) for group in groups),
                "ranking": [group[0] for group in groups] if len(groups) == len(names) else None,
                "strength": answer["strength"], "labeler": _signed(answer),
                "both-bad": "yes" if answer["verdict"] == "both_bad" else None,
                "rationale": answer["rationale"] or None}
            for question, value in values.items():
                if value is not None:
                    given.setdefault(question, []).append({
                        "value": value, "user_id": _argilla_user(answer), "status": "submitted"})
        yield {"id": f"{NAME}-task-{first['task_id']}",
               "fields": {"prompt": first["prompt"], **{
                   names[response["id"]]: response["text"] for response in first["responses"]}},
               "metadata": {key: first[key] for key in ("purpose", "split", "round", "task_id")
                            if first[key] is not None},
               "suggestions": {}, "responses": given, "vectors": {}}


def _argilla_user(answer: Record) -> str:
    """The user's own id where the answer came from Argilla, else one made from the name."""
    name = answer["labeler"]
    if answer["labeler_kind"] == "imported" and name.startswith(f"{argilla.NAME}/"):
        try:
            return str(UUID(name.removeprefix(f"{argilla.NAME}/")))
        except ValueError:
            pass
    return stable_id("labeler", _signed(answer))


def oasst_trees(store: Store, tasks: Iterator[list[Record]]) -> Iterator[Record]:
    """A tree a task: the conversation as a chain, the responses as ranked replies at its end.

    `rank` orders the replies by their mean place; each labeler's own ranking is an event of the
    message they reply to, as OpenAssistant keeps them, with `ranks` beside it, which know ties.
    """
    for answers in tasks:
        first, root = answers[0], stable_id("task", answers[0]["task_id"])
        places = {response["id"]: 0.0 for response in first["responses"]}
        for answer in answers:
            before = 0
            for group in answer["ranking"]:
                for one in group:
                    places[one] += before + (len(group) - 1) / 2
                before += len(group)
        levels = sorted(set(places.values()))
        nodes = [{"message_id": root if i == 0 else stable_id("task", first["task_id"], i),
                  "parent_id": None, "text": message["content"], "lang": "",
                  "role": {"user": "prompter"}.get(message["role"], message["role"])}
                 for i, message in enumerate(first["prompt"])]
        replies = [{"message_id": stable_id("response", response["id"]),
                    "parent_id": nodes[-1]["message_id"], "text": response["text"],
                    "role": "assistant", "lang": "", "synthetic": True,
                    "model_name": response["policy"], "rank": levels.index(places[response["id"]]),
                    "replies": []} for response in first["responses"]]
        nodes[-1]["events"] = {"ranking": [_event(answer, root, nodes[-1]["message_id"])
                                           for answer in answers]}
        nodes[-1]["replies"] = replies
        for parent, child in pairwise(nodes):
            child["parent_id"] = parent["message_id"]
            parent["replies"] = [child]
        yield {"message_tree_id": root, "tree_state": "ready_for_export", "origin": NAME,
               "prompt": nodes[0]}


def _event(answer: Record, root: str, parent: str) -> Record:
    ids = [response["id"] for response in answer["responses"]]
    ranked = [(one, place) for place, group in enumerate(answer["ranking"]) for one in group]
    return {"type": "ranking", "user_id": _signed(answer),
            "ranking": [ids.index(one) for one, _ in ranked],
            "ranked_message_ids": [stable_id("response", one) for one, _ in ranked],
            "ranks": [place for _, place in ranked], "ranking_parent_id": parent,
            "message_tree_id": root, "not_rankable": answer["verdict"] == "both_bad"}


def _signed(answer: Record) -> str:
    return signature(answer["labeler"], answer["labeler_kind"])
