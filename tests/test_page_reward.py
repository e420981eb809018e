"""The page of a reward model that is more than a LoRA model: its members, or its form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Server, make_workspace
from forging import Arrive, run
from leads_world import LeadsWorld
from reward_page_world import add_reward_models, noisy_scores

from annotate.engineers import reward_figures as figures
from annotate.figures import cell_html
from data.database import now
from data.store import Store
from reward.examples import from_store
from reward.forms import compare
from reward.report.ensemble import ensemble_report
from reward.report.figures import report
from reward.report.votes import Votes


def of_members(store: Store, count: int) -> dict[str, Any]:
    """A report of an ensemble whose members differ by their noise alone."""
    held_out = from_store(store).held_out
    each = [noisy_scores(held_out, 1.0, 10 + number) for number in range(count)]
    members = {i: np.array([scores[i] for scores in each]) for i in each[0]}
    mean = {i: float(scores.mean()) for i, scores in members.items()}
    return {**report(held_out, mean), "ensemble": ensemble_report(held_out, members)}


def chosen(store: Store) -> dict[str, Any]:
    """What a choice among forms says; the LoRA model knows nothing."""
    held_out = from_store(store).held_out
    votes = Votes.of(held_out, noisy_scores(held_out, 0.3, 1))
    noise = np.random.default_rng(0).normal(size=len(votes.pairs))
    return compare(votes, np.stack([votes.differences, noise], axis=1))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    store = LeadsWorld.make(make_workspace(folder)).store
    (plain,) = add_reward_models(store, (0.7,))
    for name, more in (("reward-ensemble", {**of_members(store, 3),
                                            "epoch_chosen": {"epoch": 2, "of": 4}}),
                       ("reward-form", {"selection": chosen(store)})):
        store.versions.add_reward_model(name=name, base="tiny", path=f"adapters/{name}",
                                        comparisons={}, metrics={**plain.metrics, **more})
    store.put_setting("worker", {"pid": 1, "seen": now()})
    return folder


def test_the_page_says_what_the_version_is(server: Server, arrive: Arrive) -> None:
    versions = {model.name: model.metrics for model in server.store.versions.reward_models()}

    async def main() -> None:
        async with await arrive("engineer")[1].tab("reward") as tab:  # the newest: a chosen form
            assert not tab.all("exception"), tab.text()
            shown = tab.text()
            assert "Form" in shown and "A linear head on frozen features" in shown
            for row in figures.selection_table(versions["reward-form"]):
                assert all(cell_html(cell) in shown for cell in row), row
            assert "reward models, each" not in shown
            tab.set(tab.labelled("Version"), "reward-ensemble")
            await tab.rerun()
            assert not tab.all("exception"), tab.text()
            shown = tab.text()
            assert "An ensemble of 3 reward models" in shown and "Spread of 3 members" in shown
            assert "Epoch 2 of 4 was kept because it was the best on held-out pairs" in shown
            for row in figures.rule_table(versions["reward-ensemble"]):
                assert all(cell_html(cell) in shown for cell in row), row
            tab.set(tab.labelled("Version"), "reward-1")
            await tab.rerun()
            assert "An ensemble of" not in tab.text() and "A linear head" not in tab.text()
            assert "was kept because" not in tab.text()
    run(main())


def test_words_and_tables_hold_the_reports_figures(server: Server) -> None:
    versions = {model.name: model.metrics for model in server.store.versions.reward_models()}
    found = versions["reward-ensemble"]["ensemble"]
    rows = figures.rule_table(versions["reward-ensemble"])
    assert [row[0] for row in rows] == ["Mean of the members (this report)", "The worst member",
                                        "Mean − 1 · variance"]
    for row, values in zip(rows, found["rules"].values(), strict=True):
        assert f"{values['score']['value']:.3f}" in row[1]
        assert f"{100 * values['accuracy']['value']:.1f} %" in row[2]
        assert f"n = {values['cross_entropy']['n']:,}" in row[3]
    words = figures.ensemble_words(versions["reward-ensemble"])
    each = [100 * one["value"] for one in found["each"]]
    assert f"{min(each):.1f} to {max(each):.1f} %" in words
    selection = versions["reward-form"]["selection"]
    table = figures.selection_table(versions["reward-form"])
    assert [row[3] == "chosen" for row in table] == [
        form == selection["form"] for form in selection["forms"]]
    assert f"{selection['pairs']:,} pairs of {selection['prompts']:,} prompts" in (
        figures.selection_words(versions["reward-form"]))


def test_older_and_plain_versions_say_nothing_of_it() -> None:
    for metrics in ({}, {"ensemble": None, "selection": None}):
        assert figures.ensemble_words(metrics) == figures.selection_words(metrics) == ""
        assert figures.rule_table(metrics) == figures.selection_table(metrics) == []
    why = {"selection": {"form": "lora", "why": "too few labeled training prompts"}}
    assert figures.selection_words(why) == "The LoRA model: too few labeled training prompts."
    nothing = {"ensemble": {"members": 2, "spread": None, "each": [], "rules": {},
                            "spread_right": None, "spread_wrong": None, "penalty": 1.0}}
    assert "Too few held-out pairs" in figures.ensemble_words(nothing)


def test_groups_too_small_to_say_are_counted_and_not_listed(
        capsys: pytest.CaptureFixture[str]) -> None:
    from loop.reports.reward import print_report

    def row(name: str, n: int) -> dict[str, Any]:
        estimate = {"value": 0.7, "low": 0.5, "high": 0.9, "n": n}
        return {"name": name, "accuracy": estimate, "longer": estimate}

    several = {"groups": {"tag": {"rows": [row("law", 40), row("art", 9)], "left_out": 3},
                          "labeler": {"rows": [row("Ann", 4)], "left_out": 0}}}
    assert [name for name, *_ in figures.group_table(several, "tag")] == ["law"]
    assert figures.others_words(several, "tag") == "And 4 more with fewer pairs."
    assert figures.group_table(several, "labeler") == []
    assert figures.others_words(several, "labeler").startswith("No group has 10 decided pairs")
    assert figures.others_words({}, "tag") == figures.others_words(
        {"groups": {"tag": {"rows": [row("law", 40)], "left_out": 0}}}, "tag") == ""
    print_report({**several, "reward_model": "reward-1"})
    said = capsys.readouterr().out
    assert "this model is right" in said and "law" in said and "art" not in said
    assert "By labeler: No group has 10" in said


def test_the_command_and_its_page_say_it_too(server: Server, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    from loop.reports.reward import print_report, write_html

    for name, words in (("reward-ensemble", "An ensemble of 3 reward models"),
                        ("reward-form", "A linear head on frozen features")):
        metrics = server.store.versions.reward_model_named(name).metrics
        result = {**metrics, "reward_model": name, "mistakes": [],
                  "previous_missing": {"name": "reward-0", "why": "there is no adapter"}}
        print_report(result)
        write_html(result, server.store, tmp_path / "report.html")
        page = re.sub("<[^>]+>", "", (tmp_path / "report.html").read_text("utf-8"))
        for told in (capsys.readouterr().out, page):
            assert words in told
            assert "The version before, reward-0, could not be read: there is no adapter" in told
