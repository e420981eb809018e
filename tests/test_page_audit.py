"""The audit log's details read as a lead would say them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from annotate.leads.audit_words import address_of, in_words
from data.assignments import AssignmentRules
from data.questions import Question
from data.records import Labeler
from data.sessions import SessionRules


@pytest.mark.parametrize(("details", "words"), [
    ({"way": "link"}, "by link"),
    ({"way": "single sign-on"}, "by single sign-on"),
    ({"characters": 259}, "259 characters"),
    ({"comparison": 330, "overrides": [320, 321]}, "decision 330, overrides answers 320 and 321"),
    ({"comparison": 330, "overrides": [320]}, "decision 330, overrides answer 320"),
    ({"comparison": 330, "overrides": []}, "decision 330, overrides nobody"),
    ({"before": "labeler", "after": "engineer"}, "from labeler to engineer"),
    ({"from_task": 7, "practice": True}, "copy of task 7, for practice"),
    ({"from_task": 7, "practice": False}, "copy of task 7, hidden"),
    ({"email": ""}, "no address any more"),
    ({"rows": 52, "filtered_by": {"text": "knots", "labeler_id": 3}},
     "52 rows, text knots and labeler 3"),
    ({"rows": 12000}, "12,000 rows"), ({"sessions": 1}, "1 browser"),
    ({"last_from": "10.0.0.1", "failures": 2}, "last from 10.0.0.1, 2 failed tries"),
    ({"never_heard_of": [True, "x"]}, "never heard of yes / x"),
    ({}, ""),
])
def test_details_are_said_in_words(details: dict[str, Any], words: str) -> None:
    assert in_words(details) == words


def test_settings_are_said_in_words() -> None:
    assert in_words(asdict(Question())) == (
        "by how much better, ties, both bad, flags unsafe / untrue / off-topic / refuses wrongly, "
        "no scores, a reason, no rewrite")
    assert in_words(asdict(AssignmentRules(gold_share=0.1, practice=1))) == (
        "10 % hidden known answers, 0 % hidden repeats, 1 practice task first, an open task is "
        "taken for 15 minutes, no daily goal")
    assert in_words({**asdict(SessionRules()), "domains": ["a.org", "b.org"]}) == (
        "signed in for 14 days, or 120 hours without use, whoever has an address at a.org or "
        "b.org may join")


@pytest.mark.parametrize(("subject", "address"), [
    ("Ada", "/browse?labeler=4"), ("task 7", "/browse?task=7"), ("job 12", "/jobs?job=12"),
    ("task 8", "/browse?labeler=5"),  # somebody's name
    ("version 3", None), ("", None), ("task 7\n", None), ("answers: all", None),
])
def test_a_subject_leads_to_where_it_is_seen(subject: str, address: str | None) -> None:
    people = [Labeler(number, name, "human", "labeler", False, {}, "")
              for number, name in ((4, "Ada"), (5, "task 8"))]
    assert address_of(subject, people) == address
