"""Rows as published sets and trainers hold them, with what they say, for the tests of imports."""

from __future__ import annotations

import json
from typing import Any

from exchange_files import turn

Row = dict[str, Any]


def said_by(who: str, value: str) -> dict[str, str]:
    """A message of ShareGPT's."""
    return {"from": who, "value": value}


RIVER = [turn("user", "Name a river."), turn("assistant", "The Nile.")]
NO_RIVER = [turn("user", "Name a river."), turn("assistant", "A river.")]
BRIEF = turn("system", "Be brief.")
ASKED = [turn("user", "Name a river.")]
BEFORE = [turn("user", "Hi"), turn("assistant", "Hello")]

#: Rows in which "The Nile." is chosen over "A river.", by where they come from; and the prompt.
PAIRS: dict[str, tuple[Row, list[dict[str, str]]]] = {
    "hh": ({"chosen": "\n\nHuman: Name a river.\n\nAssistant: The Nile.",
            "rejected": "\n\nHuman: Name a river.\n\nAssistant: A river."}, ASKED),
    "ultrafeedback binarized": (
        {"prompt": "Name a river.", "prompt_id": "f0e3", "chosen": RIVER, "rejected": NO_RIVER,
         "messages": RIVER, "score_chosen": 8.5, "score_rejected": 8.5}, ASKED),
    "rewardbench": ({"prompt": "Name a river.", "chosen": "The Nile.", "chosen_model": "a",
                     "rejected": "A river.", "rejected_model": "b", "subset": "alpacaeval-easy",
                     "id": 0}, ASKED),
    "skywork": ({"chosen": RIVER, "rejected": NO_RIVER, "source": "magpie"}, ASKED),
    "trl, with a system message and nulls": (
        {"prompt": [{**BRIEF, "name": None, "tool_calls": None}, *ASKED],
         "chosen": [{**RIVER[1], "function_call": {"name": None, "arguments": None}}],
         "rejected": [NO_RIVER[1]], "tools": None}, [BRIEF, *ASKED]),
    "trl, several turns": (
        {"prompt": [*BEFORE, *ASKED], "chosen": [RIVER[1]], "rejected": [NO_RIVER[1]]},
        [*BEFORE, *ASKED]),
    "whole dialogues beside their first question": (
        {"prompt": "Hi", "chosen": [*BEFORE, *RIVER], "rejected": [*BEFORE, *NO_RIVER]},
        [*BEFORE, *ASKED]),
    "llama-factory alpaca": (
        {"system": "Be brief.", "instruction": "Name a river.", "input": "In Africa.",
         "history": [["Hi", "Hello"]], "chosen": "The Nile.", "rejected": "A river."},
        [BRIEF, *BEFORE, turn("user", "Name a river.\n\nIn Africa.")]),
    "llama-factory sharegpt": (
        {"conversations": [said_by("human", "Hi"), said_by("gpt", "Hello"),
                           said_by("human", "Name a river.")],
         "chosen": said_by("gpt", "The Nile."), "rejected": said_by("gpt", "A river.")},
        [*BEFORE, *ASKED]),
    "axolotl chat": ({"messages": [BRIEF, *ASKED], "chosen": RIVER[1], "rejected": NO_RIVER[1]},
                     [BRIEF, *ASKED]),
    "intel orca": ({"system": "", "question": "Name a river.", "chosen": "The Nile.",
                    "rejected": "A river."}, ASKED),
    "orca, argilla's": (
        {"system": "Be brief.", "input": "Name a river.", "chosen": "The Nile.",
         "rejected": "A river.", "generations": ["A river.", "The Nile."], "rating": [3, 9]},
        [BRIEF, *ASKED]),
    "distilabel": (
        {"instruction": "Name a river.", "chosen_response": "The Nile.", "chosen_rating": 5.0,
         "rejected_response": "A river.", "rejected_rating": 1.0}, ASKED),
    "openai": (
        {"input": {"messages": ASKED, "tools": [], "parallel_tool_calls": True},
         "preferred_output": [RIVER[1]], "non_preferred_output": [NO_RIVER[1]]}, ASKED),
    "contents in parts": (
        {"prompt": [{"role": "developer", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Name", "image": None},
                                                 {"type": "text", "text": "a river."}]}],
         "chosen": [{"role": "assistant", "content": [{"type": "output_text", "text": "The Nile."}]
                     }], "rejected": [NO_RIVER[1]]}, [BRIEF, turn("user", "Name\na river.")]),
    "a system prompt beside whole dialogues": (
        {"system_prompt": "Be brief.", "chosen": RIVER, "rejected": NO_RIVER}, [BRIEF, *ASKED]),
}

ARENA = {"question_id": "58", "model_a": "alpaca-13b", "model_b": "gpt-4", "judge": "author_2",
         "conversation_a": [*ASKED, turn("assistant", "A river."), turn("user", "More"),
                            turn("assistant", "No.")],
         "conversation_b": [*ASKED, turn("assistant", "The Nile."), turn("user", "More"),
                            turn("assistant", "The Congo.")], "turn": 1, "language": "English"}
TWO = {"prompt": "Name a river.", "response_1": "The Nile.", "response_2": "A river."}
FIRST, TIE = [["The Nile."], ["A river."]], [["A river.", "The Nile."]]


def by(name: str, ranking: list[list[str]] = FIRST, strength: int = 3,
       question: str = "Name a river.") -> tuple[str, str, list[list[str]], int]:
    return name, question, ranking, strength


#: Rows with several responses and what was said of them, and the answers they hold; "" is the
#: labeler of the file.
COMPARED: dict[str, tuple[list[Row], list[Any]]] = {
    "shp": ([{"post_id": "x", "history": "Name a river.", "c_root_id_A": "a", "c_root_id_B": "b",
              "score_A": 2, "score_B": 9, "human_ref_A": "A river.", "human_ref_B": "The Nile.",
              "labels": 0, "seconds_difference": 7.0, "score_ratio": 4.5}], [by("")]),
    "webgpt": ([{"question": {"dataset": "eli5", "id": "1", "full_text": "Name a river."},
                 "quotes_0": {"title": [], "extract": []}, "answer_0": "A river.", "score_0": -0.5,
                 "tokens_0": "", "quotes_1": {"title": ["x"], "extract": ["y"]},
                 "answer_1": "The Nile.", "tokens_1": "", "score_1": 0.5},
                {"question": {"dataset": "eli5", "id": "2", "full_text": "Why?"}, "score_0": 0.0,
                 "answer_0": "The Nile.", "answer_1": "A river.", "score_1": 0.0}],
               [by(""), by("", TIE, 0, "Why?")]),
    "summarize from feedback": (
        [{"info": {"id": "t3", "post": "I slept.", "title": "Late", "subreddit": "work",
                   "site": None, "article": None}, "split": "train", "worker": "w1", "batch": "b",
          "summaries": [{"text": "A river.", "policy": "sup2", "note": None},
                        {"text": "The Nile.", "policy": "ref", "note": ""}], "choice": 1,
          "extra": {"confidence": None}}],
        [by("worker/w1", question="SUBREDDIT: work\n\nTITLE: Late\n\nPOST: I slept.\n\nTL;DR:")]),
    "helpsteer2 preference": (
        [{**TWO, "split": "train", "preference_strength": -1, "preference_statement": "@1 names"},
         {**TWO, "prompt": "Why?", "preference_strength": 0},
         {**TWO, "prompt": "How?", "response_1": "A river.", "response_2": "The Nile.",
          "preference_strength": 3}],
        [by("", strength=2), by("", TIE, 0, "Why?"), by("", strength=4, question="How?")]),
    "helpsteer3": (
        [{"domain": "general", "language": "english", "context": [*BEFORE, *ASKED],
          "response1": "The Nile.", "response2": "A river.", "overall_preference": -2,
          "individual_preference": [{"score": -2, "reasoning": "x", "feedback1": "y",
                                     "feedback2": "z"}]}], [by("")]),
    "pku-saferlhf": (
        [{"prompt": "Name a river.", "response_0": "A river.", "response_1": "The Nile.",
          "is_response_0_safe": True, "is_response_1_safe": True, "better_response_id": 1,
          "safer_response_id": 0, "response_0_sha256": "ab12", "response_1_sha256": "cd34"}],
        [by("")]),
    "safety alone": ([{"prompt": "Name a river.", "response_0": "A river.",
                       "response_1": "The Nile.", "safer_response_id": 1}], [by("")]),
    "labels in words": ([{"prompt": "Name a river.", "response_a": "The Nile.",
                          "response_b": "A river.", "label": "A"}], [by("")]),
    "mt-bench": (
        [{**ARENA, "winner": "model_b"}, {**ARENA, "winner": "tie", "judge": "expert_1"}],
        [by("judge/author_2"), by("judge/expert_1", TIE, 0)]),
    "arena, both bad": ([{**ARENA, "winner": "tie (bothbad)", "judge": "arena_user_9"}],
                        [by("judge/arena_user_9", TIE, 0)]),
    "arena, kaggle": (
        [{"id": 1, "model_a": "x", "model_b": "y", "prompt": '["Name a river."]',
          "response_a": '["The Nile."]', "response_b": '["A river."]', "winner_model_a": 1,
          "winner_model_b": 0, "winner_tie": 0}], [by("")]),
    "pandalm": (
        [{"idx": 0, "motivation_app": "x", "cmp_key": "a_b", "instruction": "Name a river.",
          "input": "", "response1": "The Nile.", "response2": "A river.", "annotator1": 1,
          "annotator2": 2, "annotator3": 0}],
        [by("annotator/1"), by("annotator/2", FIRST[::-1]), by("annotator/3", TIE, 0)]),
    "ukpconvarg1": (
        [{"id": "a", "topic": "t", "strict": False, "prompt": "Name a river.",
          "response_a": "The Nile.", "response_b": "A river.", "gold": None, "votes": [
              {"labeler": "f39", "choice": "a", "reason": "It names one.", "started": "x"},
              {"labeler": "3b3", "choice": "tie", "reason": "", "started": "x"}]}],
        [by("labeler/f39"), by("labeler/3b3", TIE, 0)]),
    "alpacafarm": (
        [{"instruction": "Name a river.", "input": "", "output_1": "A river.",
          "output_2": "The Nile.", "preference": 2, "annotator_index": 7}], [by("")]),
    "own names": ([{**TWO, "preferred": "response_1", "labeler": "Ada", "strength": 4}],
                  [by("labeler/Ada", strength=4)]),
    "nectar": (
        [{"prompt": "\n\nHuman: Name a river.\n\nAssistant: ", "turns": 1, "source": ["x"],
          "answers": [{"answer": "Water.", "model": "a", "rank": 3.0},
                      {"answer": "The Nile.", "model": "b", "rank": 1.0},
                      {"answer": "A river.", "model": "c", "rank": 2.0}]}],
        [by("", [["The Nile."], ["A river."], ["Water."]])]),
    "ultrafeedback": (
        [{"source": "sharegpt", "instruction": "Name a river.", "models": ["a", "b", "c"],
          "completions": [
              {"model": "a", "response": "A river.", "overall_score": 10.0,
               "fine-grained_score": 1.5, "annotations": {"helpfulness": {"Rating": "1"}}},
              {"model": "b", "response": "The Nile.", "overall_score": 8.0,
               "fine-grained_score": 4.75, "annotations": {"helpfulness": {"Rating": "N/A"}}},
              {"model": "c", "response": "Water.", "overall_score": None,
               "fine-grained_score": None}],
          "correct_answers": ["None"], "incorrect_answers": ["None"]}], [by("")]),
    "datasets' lists turned around": (
        [{"prompt": "Name a river.", "answers": {"answer": ["A river.", "The Nile."],
                                                 "rank": [2, 1]}}], [by("")]),
    "distilabel": (
        [{"instruction": "Name a river.", "generations": ["A river.", "The Nile.", "x"],
          "ratings": [3, 5, None], "rationales": ["a", "b", None], "model_name": "gpt-4"}],
        [by("")]),
    "oasst k-wise": (
        [{"parent": "e0", "context": [["prompter", "Hi"], ["assistant", "Hello"],
                                      ["prompter", "Name a river."]],
          "replies": [{"text": "A river.", "rank": 1, "quality": 0.5},
                      {"text": "The Nile.", "rank": 0, "quality": 0.4}]}], [by("")]),
    "stack exchange": (
        [{"qid": 1, "question": "Name a river.", "date": "2011/01/02", "metadata": ["https://x/"],
          "answers": [
              {"answer_id": 2, "author": "x", "pm_score": 0, "selected": False, "text": "Water."},
              {"answer_id": 3, "author": "y", "pm_score": 4, "selected": True, "text": "The Nile."},
              {"answer_id": 4, "author": "z", "pm_score": 0, "selected": False,
               "text": "A river."}]}], [by("", [["The Nile."], ["A river.", "Water."]])]),
    "rewardbench 2": (
        [{"id": "1", "prompt": "Name a river.", "chosen": ["The Nile."],
          "rejected": ["A river.", "Water."], "num_correct": 1, "subset": "Factuality"}],
        [by(""), by("", [["The Nile."], ["Water."]])]),
    "helpsteer": (
        [{"prompt": "Name a river.", "response": "A river.", "helpfulness": 1, "correctness": 4,
          "coherence": 4, "complexity": 1, "verbosity": 1},
         {"prompt": "Alone?", "response": "Yes.", "helpfulness": 4, "correctness": 4},
         {"prompt": "Name a river.", "response": "The Nile.", "helpfulness": 4, "correctness": 4},
         {"prompt": "Name a river.", "response": "Water.", "helpfulness": 1, "correctness": 0}],
        [by("", [["The Nile."], ["A river.", "Water."]])]),
    "kto": ([{"prompt": ASKED, "completion": [turn("assistant", "A river.")], "label": False},
             {"prompt": ASKED, "completion": [turn("assistant", "The Nile.")], "label": True}],
            [by("")]),
    "kto, llama-factory": ([{"messages": RIVER, "label": True},
                            {"messages": NO_RIVER, "label": False}], [by("")]),
}

#: As above, of the rows that CSV can hold, with cells of JSON.
CELLS = ("shp", "webgpt", "helpsteer2 preference", "pku-saferlhf", "mt-bench", "pandalm",
         "helpsteer3", "nectar", "arena, kaggle", "helpsteer", "summarize from feedback")


def cells(rows: list[Row]) -> list[dict[str, str]]:
    """Rows as CSV holds them: all the columns that any of them has, nested values as JSON."""
    names = {name: None for row in rows for name in row}
    return [{name: "" if row.get(name) is None else row[name] if isinstance(row[name], str)
             else json.dumps(row[name]) for name in names} for row in rows]
