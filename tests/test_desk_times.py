"""A labeler's desk without a browser: how long an answer took, as far as it is believed."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from data_world import World
from desk_world import Person, entry, pairs, send

from annotate.labelers import first_handed


def test_no_answer_took_longer_than_its_question_was_there(
        world: World, me: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(world, 2)
    moment = [1000.0]
    monkeypatch.setattr(first_handed, "monotonic", lambda: moment[0])
    mine = me.desk()
    view = mine.view()
    moment[0] += 20
    send(mine, entry(view["question"], seconds=3600, active_seconds=1800),
         entry(view["ahead"], seconds=12, active_seconds=40))
    assert [(a.seconds, a.active_seconds) for a in me.stands()] == [(20, 20), (12, 12)]


def test_what_a_question_took_before_a_reload_counts(
        world: World, me: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(world, 1)
    moment = [1000.0]
    monkeypatch.setattr(first_handed, "monotonic", lambda: moment[0])
    me.desk().view()
    moment[0] += 50
    reloaded = me.desk()
    question = reloaded.view()["question"]
    moment[0] += 2
    view = send(reloaded, entry(question, seconds=52, active_seconds=40))
    assert [(a.seconds, a.active_seconds) for a in me.stands()] == [(52, 40)]
    again = send(reloaded, {"key": f"{view['last']['id']}-undo1", "do": "undo", "of": "answer"})
    assert again["question"]["before"]["spent"] == {"seconds": 52, "active": 40}


def test_a_restarted_server_takes_the_page_s_word_for_what_was_read_before(
        world: World, me: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(world, 3)
    moment = [1000.0]
    monkeypatch.setattr(first_handed, "monotonic", lambda: moment[0])
    me.desk().view()
    monkeypatch.setattr(first_handed, "_at", OrderedDict())  # it no longer knows
    moment[0] += 60
    mine = me.desk()
    view = mine.view()
    moment[0] += 10
    view = send(mine, entry(view["question"], seconds=52, active_seconds=40),
                entry(view["ahead"], seconds=51, active_seconds=30))
    moment[0] += 10
    send(mine, entry(view["question"], seconds=3600, active_seconds=1800))  # given since
    assert [(a.seconds, a.active_seconds) for a in me.stands()] == [(52, 40), (51, 30), (10, 10)]
