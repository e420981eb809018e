"""What the Quality page shows, when it is counted, and the files that Browse gives."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_world import World
from leads_world import CARELESS, CREW, LeadsWorld

from annotate.leads import downloads, quality_report
from annotate.leads.quality_charts import over_time
from annotate.leads.quality_report import Report, Reports, make
from annotate.plots import Dot, dots
from data.errors import NotAllowed, PrefloopError
from data.measures.statistics import Estimate
from data.records import Answer, Labeler
from data.search import Filters
from data.store import Store


def round_of(world: LeadsWorld) -> int:
    turn = world.store.rounds.current()
    assert turn is not None
    return turn.id


def test_the_careless_one_and_nobody_else_stands_out(leads: LeadsWorld) -> None:
    report = make(leads.store, round_of(leads), ("human",))
    assert {alarm.labeler_id for alarm in report.alarms} == {leads.people[CARELESS].id}
    assert {alarm.kind for alarm in report.alarms} >= {"always-left", "too-fast"}
    assert len(report.people) == len(CREW)
    worst = min(report.people.values(), key=lambda f: f.reliability.value if f.reliability else 1)
    assert worst.labeler_id == leads.people[CARELESS].id


def test_answers_to_known_tasks_and_repeats_are_told_apart(leads: LeadsWorld) -> None:
    report = make(leads.store, round_of(leads), ("human",))
    assert report.agreement is not None and report.agreement.n == 90 * 3
    assert report.gold is not None and report.gold.n == 10 * len(CREW)
    assert report.self_agreement is not None and report.self_agreement.n == 8 * len(CREW)
    assert report.answers == 90 * 3 + 8 * len(CREW)
    assert sum(report.moments.values()) == report.answers


def test_what_a_known_answer_has_measured_outlives_its_retirement(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make(tmp_path / "prefloop.db")
    people, task, store = world.people(3), world.task(), world.store
    first, second = task.response_ids
    better = Answer(((first,), (second,)))
    known = store.tasks.get(store.known.add(task.prompt_id, task.response_ids, better))
    for person, winner in zip(people, (0, 0, 1), strict=True):
        world.choose(person, known, winner)
    monkeypatch.setattr(quality_report, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(quality_report, "REST", 0)
    reports = Reports()

    def share() -> tuple[float, int]:
        gold = reports.get(store, world.round.id, ("human",)).gold
        assert gold is not None
        return round(gold.value, 2), gold.n

    assert share() == (0.67, 3)
    store.known.retire(known.id)
    assert share() == (0.67, 3) and make(store, None, ("human",)).gold is not None
    store.known.add(task.prompt_id, (second, first), Answer(((second,), (first,))), practice=True,
                    explanation="The first is wrong.")
    assert share() == (0.33, 3)  # whoever was right about it after all


def test_all_rounds_are_a_report_too_and_kinds_are_kept_apart(leads: LeadsWorld) -> None:
    one = make(leads.store, round_of(leads), ("human",))
    everything = make(leads.store, None, ("human",))
    assert everything.agreement == one.agreement
    assert list(everything.by_round) == [0] and one.by_round == {}
    assert make(leads.store, None, ("simulated",)).answers == 0


def test_another_process_counts_the_same(leads: LeadsWorld,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    here = Reports().get(leads.store, round_of(leads), ("human",))
    monkeypatch.setattr(quality_report, "LARGE", 0)
    there = Reports().get(leads.store, round_of(leads), ("human",))
    assert replace(there, counted_at="") == replace(here, counted_at="")
    monkeypatch.setattr(quality_report.sys, "executable", "false")
    with pytest.raises(PrefloopError, match="could not be counted: killed"):
        Reports().get(leads.store, round_of(leads), ("human",))


def test_it_is_counted_once_a_change_and_once_a_while(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make(tmp_path / "prefloop.db")
    ada, ben = world.people(2)
    world.choose(ada, world.task(wanted=2), 0)
    counted, now = [], [1000.0]

    def counting(store: Store, round_id: int | None, kinds: object) -> Report:
        counted.append(round_id)
        return make(store, round_id, ("human",))

    monkeypatch.setattr(quality_report, "make", counting)
    monkeypatch.setattr(quality_report.time, "monotonic", lambda: now[0])
    reports = Reports()
    for _ in range(3):
        assert reports.get(world.store, world.round.id, ("human",)).answers == 1
    assert len(counted) == 1
    now[0] += 100
    reports.get(world.store, world.round.id, ("human",))
    assert len(counted) == 1  # nothing was answered since
    world.choose(ben, world.task(), 1)
    assert reports.get(world.store, world.round.id, ("human",)).answers == 1  # not yet
    now[0] += quality_report.LEAST_SECONDS
    assert reports.get(world.store, world.round.id, ("human",)).answers == 2
    assert len(counted) == 2


def test_a_large_round_is_counted_behind_the_back_of_who_looks(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make(tmp_path / "prefloop.db")
    ada, ben = world.people(2)
    world.choose(ada, world.task(wanted=2), 0)
    go, told = threading.Event(), []

    def slow(store: Store, round_id: int | None, kinds: object) -> Report:
        assert go.wait(30)
        told.append(round_id)
        return make(store, round_id, ("human",))

    monkeypatch.setattr(quality_report, "LARGE", 0)
    monkeypatch.setattr(quality_report, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(quality_report, "REST", 0)
    monkeypatch.setattr(quality_report, "_counted", slow)
    reports = Reports()
    go.set()
    assert reports.get(world.store, world.round.id, ("human",)).answers == 1
    go.clear()
    world.choose(ben, world.task(), 1)
    for _ in range(3):  # the old one, at once, and the counting is begun but once
        assert reports.get(world.store, world.round.id, ("human",)).answers == 1
    assert len(told) == 1
    go.set()
    deadline = time.monotonic() + 30
    while reports.get(world.store, world.round.id, ("human",)).answers != 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(told) == 2


def test_dots_stand_where_the_figures_are() -> None:
    figure = dots([Dot("<b>Ada</b>", Estimate(0.8, 40, 0.6, 0.9), True),
                   Dot("Ben", Estimate(0.5, 40, 0.3, 0.7))], [("Elsewhere", 70, 75)])
    trace, = figure["data"]
    assert trace["x"] == [80, 50] and trace["y"] == ["&lt;b&gt;Ada&lt;/b&gt;", "Ben"]
    assert trace["error_x"]["array"] == pytest.approx([10, 20])
    assert trace["error_x"]["arrayminus"] == pytest.approx([20, 20])
    assert trace["marker"]["symbol"] == ["diamond", "circle"]
    assert figure["layout"]["shapes"][0]["x0"] == 70


def test_a_long_name_leaves_room_for_the_figures_and_no_mark_is_cut() -> None:
    half = Estimate(0.5, 4, 0.1, 0.9)
    trace, = dots([Dot("W" * 80, half), Dot("W" * 79, half),
                   Dot("Simulated shorter 12 (simulated, set aside)", half),
                   Dot("Ana Maria da Conceição Albuquerque e Vasconcelos de Sá (set aside)", half),
                   ])["data"]
    assert [name.rstrip("\u200b") for name in trace["y"]] == [
        "W" * 23 + "…", "W" * 23 + "…", "Simulated shorter 12<br>(simulated, set aside)",
        "Ana Maria da Conceição …<br>Sá (set aside)"]
    assert len(set(trace["y"])) == 4


def test_labels_over_time_are_counted_by_what_they_span() -> None:
    def bars(moments: dict[str, int]) -> dict[str, int]:
        trace, = over_time(moments)["data"]
        return dict(zip(trace["x"], trace["y"], strict=True))

    assert bars({"2026-01-01T09:1": 3, "2026-01-01T09:2": 4}) == {
        "2026-01-01T09:10": 3, "2026-01-01T09:20": 4}
    assert bars({"2026-01-01T09:1": 3, "2026-01-01T09:2": 4, "2026-01-02T10:0": 1}) == {
        "2026-01-01T09:00": 7, "2026-01-02T10:00": 1}
    assert bars({f"2026-01-0{day}T09:{ten}": 1 for day in range(1, 7) for ten in (1, 2)}) == {
        f"2026-01-0{day}": 2 for day in range(1, 7)}


# Files of what is filtered -----------------------------------------------------------------


@pytest.fixture
def browsed(tmp_path: Path) -> tuple[World, Labeler, str]:
    """A workspace with one answer, and a lead who has a session."""
    world = World.make(tmp_path / "prefloop.db")
    lead = world.store.people.add("=Lead", "lead")
    token = world.store.people.redeem(world.store.people.create_code(lead.id))
    assert token is not None
    task = world.task(("=1+1", "two"), prompt="@cell", wanted=2)
    first, second = task.response_ids
    ada, = world.people(1)
    world.answer(ada, task, Answer(((first,), (second,)), 3, rationale="-2"))
    return world, lead, token


@pytest.mark.parametrize("kind", ["answers", "tasks", "responses", "prompts"])
def test_a_file_holds_what_is_filtered(browsed: tuple[World, Labeler, str], kind: str) -> None:
    world, lead, token = browsed
    plain = downloads.made(world.store, kind, Filters(), token, "jsonl").decode()
    records = [json.loads(line) for line in plain.splitlines()]
    assert len(records) == (2 if kind == "responses" else 1)
    assert {r["prompt"][0]["content"] for r in records} == {"@cell"}
    table = downloads.made(world.store, kind, Filters(), token, "csv").decode()
    rows = list(csv.reader(io.StringIO(table)))
    assert len(rows) == len(records) + 1
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert downloads.made(world.store, kind, Filters(text="nowhere"), token, "csv") == b""
    assert world.store.audit.entries()[0].details == {"rows": 0, "filtered_by": {"text": "nowhere"}}
    entry = world.store.audit.entries()[-1]
    assert (entry.labeler_id, entry.action, entry.details) == (
        lead.id, "download", {"rows": len(records)})


def test_a_file_does_not_tell_who_wrote_what_is_still_to_be_judged(
        browsed: tuple[World, Labeler, str]) -> None:
    world, lead, token = browsed

    def policies(kind: str) -> set[str | None]:
        text = downloads.made(world.store, kind, Filters(), token, "jsonl").decode()
        return {response["policy"] for line in text.splitlines()
                for response in json.loads(line).get("responses", [json.loads(line)])}

    for kind in ("answers", "tasks", "responses"):
        assert policies(kind) == {None}
    world.choose(lead, world.store.tasks.get(1), 0)
    for kind in ("answers", "tasks", "responses"):
        assert policies(kind) == {"better", "reference"}


def test_a_file_names_what_is_still_to_be_judged_by_its_text_alone(
        browsed: tuple[World, Labeler, str]) -> None:
    """Ids, times and an order of storage would tell: one policy's samples come in a row."""
    world, lead, token = browsed
    task = world.task(("zebra", "ape", "mule"), wanted=3)  # the reference's comes first
    zebra, ape, mule = task.response_ids
    for ada in world.people(1):
        world.answer(ada, task, Answer(((mule,), (zebra, ape)), 2, flags={mule: ("untrue",)},
                                       scores={mule: 6}))

    def files() -> list[list[dict[str, Any]]]:
        return [[json.loads(line) for line in downloads.made(
            world.store, kind, Filters(text="zebra"), token, "jsonl").decode().splitlines()]
            for kind in ("answers", "tasks", "responses")]

    (answer,), (asked,), (response,) = files()
    for record in (answer, asked):
        assert [(r["id"], r["text"]) for r in record["responses"]] == [
            (0, "ape"), (1, "mule"), (2, "zebra")]
    assert answer["ranking"] == [[1], [0, 2]] and sorted(answer["shown"]) == [0, 1, 2]
    shown = world.store.assignments.order_for(task, ada.id)
    assert answer["shown"] == [{zebra: 2, ape: 0, mule: 1}[i] for i in shown]
    assert [(r["flags"], r["score"]) for r in answer["responses"]] == [
        ("", None), ("untrue", 6), ("", None)]
    assert {response[name] for name in ("response_id", "created_at", "token_ids", "seed")} == {None}
    world.answer(lead, task, Answer((task.response_ids,), 0))
    _, (asked,), (response,) = files()
    assert [r["id"] for r in asked["responses"]] == [zebra, ape, mule]
    assert response["response_id"] == zebra and response["created_at"]


def test_a_file_is_made_for_who_is_signed_in_then(browsed: tuple[World, Labeler, str]) -> None:
    world, lead, token = browsed
    world.store.people.set_disabled(lead.id, True)
    with pytest.raises(NotAllowed):
        downloads.made(world.store, "answers", Filters(), token, "csv")
    ada = world.store.people.named("Labeler 1")
    other = world.store.people.redeem(world.store.people.create_code(ada.id))
    with pytest.raises(NotAllowed, match="may not"):
        downloads.made(world.store, "answers", Filters(), other, "csv")
