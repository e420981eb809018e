"""One round is sampled at a time: a second one would close the first before anybody labels it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_world import workspace

from annotate import actions
from data.errors import BadInput
from data.records import NewResponse
from data.store import Store
from loop import cli
from loop.commands.stages import Sample
from loop.kinds import catalogue
from loop.settings import Settings

assert workspace  # a fixture


def test_a_second_press_of_the_button_is_refused(workspace: Path) -> None:
    """Another engineer's, or a double one."""
    store = Store.of_workspace(workspace)
    store.put_setting("job_kinds", catalogue(Settings()))
    token = store.people.redeem(store.people.create_code(store.people.add("Eve", "engineer").id))
    first = actions.start_job(store, token, "sample")
    for status in ("queued", "running"):
        with pytest.raises(BadInput, match=f"go on with job {first.id}, or stop it first"):
            actions.start_job(store, token, "sample")
        assert [job.status for job in store.jobs.all()] == [status]
        store.jobs.claim(first.id)
    actions.start_job(store, token, "train-reward")
    store.jobs.finish(first.id, {})
    assert actions.start_job(store, token, "sample").id != first.id


def test_sampling_that_was_killed_is_gone_on_with_before_another_begins(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the next worker would go on with it, and close the round that people label by then."""
    store = Store.of_workspace(workspace)
    job = store.jobs.claim(store.jobs.add("sample").id)
    assert job is not None
    assert cli.run(["sample", "--workspace", str(workspace)]) == 2
    assert f"go on with job {job.id}, or stop it first" in capsys.readouterr().err
    assert len(store.jobs.all()) == 1


def test_labels_that_the_next_round_leaves_out_are_said_in_the_terminal_too(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.of_workspace(workspace)
    turn, prompt = store.rounds.open(1, 1), store.prompts.all()[0]
    command = Sample(workspace)
    command.check(store)
    assert not capsys.readouterr().err
    pair = store.responses.add(NewResponse(prompt.id, text, 1, turn.id, sample_index=i)
                               for i, text in enumerate(("yes", "no")))
    store.tasks.add(prompt.id, pair, round_id=turn.id, wanted=2)
    command.check(store)
    assert "Round 0 still waits for 2 of 2 labels. Opening the next round closes it" \
        in capsys.readouterr().err
