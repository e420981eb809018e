"""The page of jobs: a stopped job says how far it came, and goes on from there; the job that was
chosen stays in view whatever becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from browser import Server, make_workspace
from data_world import user
from forging import Arrive, run

from loop.kinds import catalogue
from loop.settings import Settings


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "workspace"
    make_workspace(folder).prompts.add(user("Why?"), "test", split="train")  # to be improved on
    return folder


def test_a_stopped_job_goes_on_at_the_press_of_a_button(server: Server, arrive: Arrive) -> None:
    store = server.store
    job = store.jobs.add("ppo")
    store.jobs.claim(job.id)
    store.jobs.set_progress(job.id, 0.28, "step 7 of 25")
    store.jobs.stopped(job.id)

    async def main() -> None:
        engineer, visitor = arrive("engineer")
        async with await visitor.tab("jobs") as tab:
            assert "Stopped at 28%" in tab.text() and not tab.all("exception")
            await tab.press(tab.labelled("Go on"))
            assert "Go on" not in tab.text()
        assert store.jobs.get(job.id).status == "queued"
        assert store.audit.entries(labeler_id=engineer.id, action="resume job")

    run(main())


def test_the_chosen_job_stays_in_view_as_its_status_changes(
        server: Server, arrive: Arrive) -> None:
    jobs = server.store.jobs
    running, chosen = jobs.add("ppo"), jobs.add("train-reward")
    jobs.claim(running.id)

    async def main() -> None:
        _, visitor = arrive("engineer")

        async with await visitor.tab("jobs") as tab:
            assert tab.labelled("Stop").id.endswith(f"stop-{running.id}")
            label = f"{chosen.id} · train-reward · queued"
            tab.set(tab.labelled("Job"), label)
            await tab.rerun(fragment=tab.labelled("Job").fragment)
            for button, other in (("Stop", "Go on"), ("Go on", "Stop")):
                label = tab.send_box("Job", label)
                await tab.press(tab.labelled(button))
                key = f"{'stop' if other == 'Stop' else 'resume'}-{chosen.id}"
                assert tab.labelled(other).id.endswith(key)
            label = tab.send_box("Job", label)
            jobs.claim(chosen.id)  # of itself a status changes too
            await tab.rerun(fragment=tab.labelled("Job").fragment)
            assert tab.labelled("Job").proto.raw_value == f"{chosen.id} · train-reward · running"
            assert tab.labelled("Stop").id.endswith(f"stop-{chosen.id}")
        assert not jobs.get(running.id).stop_requested

    run(main())


def test_a_started_job_comes_into_view_and_stays_there(server: Server, arrive: Arrive) -> None:
    """Also where the page, which asks to be drawn again by itself, has not heard of it yet."""
    store = server.store
    old = store.jobs.add("train-reward")
    store.put_setting("job_kinds", [{"kind": "ppo", "title": "Improve", "help": "", "common": [],
                                     "fields": []}])

    async def main() -> None:
        _, visitor = arrive("engineer")
        async with await visitor.tab("jobs") as tab:
            tab.set(tab.labelled("Stage"), ["Improve"])
            await tab.rerun()
            before = tab.labelled("Job")
            tab.set(before, f"{old.id} · train-reward · queued")
            await tab.rerun(fragment=before.fragment)
            await tab.press(tab.labelled("Improve"))
            new = store.jobs.listed()[0]
            assert new.kind == "ppo"
            shown = f"{new.id} · Improve · queued"
            assert tab.labelled("Job").proto.raw_value == shown
            # Sent before the page was told what its box shows now.
            tab.set(before, f"{old.id} · train-reward · queued")
            await tab.rerun(fragment=tab.labelled("Job").fragment)
            assert tab.labelled("Job").proto.raw_value == shown
            assert not tab.all("exception")

    try:
        run(main())
    finally:
        store.put_setting("job_kinds", [])


def test_help_is_no_part_of_what_ticks_a_setting(server: Server, arrive: Arrive) -> None:
    """A checkbox has it in its own label: whoever pressed it on a phone ticked the box."""
    store = server.store
    store.put_setting("job_kinds", [{"kind": "ppo", "title": "Improve", "help": "", "common": [],
                                     "fields": [{"name": name, "type": "bool", "default": on,
                                                 "choices": [], "help": "What it does."}
                                                for name, on in (("one", False), ("two", True),
                                                                 ("three", True))]}])

    async def main() -> None:
        _, visitor = arrive("engineer")
        async with await visitor.tab("jobs") as tab:
            tab.set(tab.labelled("Stage"), ["Improve"])
            await tab.rerun()
            assert not tab.all("checkbox") and not tab.all("exception")
            tab.set(tab.labelled("One"), "Yes")
            tab.set(tab.labelled("Two"), "No")
            await tab.press(tab.labelled("Improve"))
            assert store.jobs.get(store.jobs.listed()[0].id).config == {"one": True, "two": False}

    try:
        run(main())
    finally:
        store.put_setting("job_kinds", [])


def test_no_job_is_out_of_reach(server: Server, arrive: Arrive) -> None:
    """However many were queued since; and a link leads to the one that it names."""
    jobs = server.store.jobs
    for running in jobs.all("running"):
        jobs.stopped(running.id)
    ended, running = jobs.add("ppo"), jobs.add("train-reward")
    jobs.claim(ended.id)
    jobs.stopped(ended.id)
    jobs.claim(running.id)
    waiting = [jobs.add("ppo") for _ in range(60)]

    async def main() -> None:
        async with await arrive("engineer")[1].tab("jobs") as tab:
            box = tab.labelled("Job").proto
            assert box.raw_value == f"{running.id} · train-reward · running"
            assert len(box.options) == len(jobs.all()) >= 62
            await tab.press(tab.labelled("Stop"))
            assert jobs.get(running.id).stop_requested
            for job in (waiting[7], ended):
                await tab.rerun(page="jobs", query=f"job={job.id}")
                assert tab.labelled("Job").proto.raw_value.startswith(f"{job.id} · ppo · ")
                waits = f"waits until job {running.id} has ended" in tab.text()
                assert waits == (job is not ended)
            for nothing in ("x", "999999", ""):
                await tab.rerun(page="jobs", query=f"job={nothing}")
                assert not tab.all("exception") and "Stopped at" in tab.text()
    run(main())


def test_a_job_that_no_form_starts_has_its_title_too(server: Server, arrive: Arrive) -> None:
    store = server.store
    store.put_setting("job_titles", {"simulate": "Let simulated labelers answer"})
    job = store.jobs.add("simulate")

    async def main() -> None:
        async with await arrive("engineer")[1].tab("jobs") as tab:
            await tab.rerun(page="jobs", query=f"job={job.id}")
            assert tab.labelled("Job").proto.raw_value == \
                f"{job.id} · Let simulated labelers answer · queued"

    run(main())
    store.put_setting("job_titles", {})


def test_a_job_whose_config_was_refused_says_so_as_its_form_does(
        server: Server, arrive: Arrive) -> None:
    store = server.store
    store.put_setting("job_kinds", [
        {"kind": "train-reward", "title": "Train", "help": "Trains.", "common": [],
         "fields": [{"name": name, "type": "float", "default": 1.0, "choices": [], "help": ""}
                    for name in ("learning_rate", "epochs")]}])

    async def shown(error: str, config: Mapping[str, float]) -> tuple[str, bool]:
        """The page's text over a failed job, and whether that can go on."""
        job = store.jobs.add("train-reward", config)
        store.jobs.claim(job.id)
        store.jobs.fail(job.id, error)
        _, visitor = arrive("engineer")
        async with await visitor.tab("jobs") as tab:
            # The newest job is in view as long as none runs.
            assert f"{job.id} · Train · failed" in tab.labelled("Job").proto.raw_value
            return tab.text(), "Go on" in tab.text()

    async def main() -> None:
        for running in store.jobs.all("running"):
            store.jobs.stopped(running.id)
        refused = "--learning-rate: must be above 0, not -1.0"
        text, goes_on = await shown(refused, {"learning_rate": -1.0})
        assert "Learning rate: must be above 0, not -1.0" in text and refused not in text
        assert not goes_on
        text, goes_on = await shown(refused, {})  # the settings may have become better
        assert "Learning rate: must be above 0" in text and goes_on
        text, goes_on = await shown("--epochs: 3 do not suffice for --learning-rate 1.0", {})
        assert "Epochs: 3 do not suffice for Learning rate 1.0" in text
        text, goes_on = await shown("--server: no answer", {})
        assert "--server: no answer" in text and goes_on

    run(main())
    store.put_setting("job_kinds", [])


def test_settings_that_do_not_go_together_are_refused_before_a_job_is_queued(
        server: Server, arrive: Arrive) -> None:
    """By what the worker would refuse it for; the form's own fields are named."""
    store = server.store
    store.put_setting("job_kinds", catalogue(Settings()))
    store.jobs.add("train-reward")  # whose reward model the job will go by
    queued = len(store.jobs.listed())

    async def main() -> None:
        _, visitor = arrive("engineer")
        async with await visitor.tab("jobs") as tab:
            tab.set(tab.labelled("Stage"), ["Improve the policy (PPO)"])
            await tab.rerun()
            for field, value, refused in (
                    ("Batch size", "20", "Minibatch size: 32 does not divide Batch size 20"),
                    ("Responses", "5", "Responses: 5 to a prompt do not divide Minibatch size 32"),
                    ("Gamma", "1.5", "Gamma: must be 0 to 1, not 1.5")):
                before = tab.labelled(field).proto.default
                tab.set(tab.labelled(field), value)
                await tab.press(tab.labelled("Improve the policy (PPO)"))
                assert f"NOT started: {refused}" in tab.text().replace("\\", "")
                tab.set(tab.labelled(field), before)
            assert len(store.jobs.listed()) == queued
            await tab.press(tab.labelled("Improve the policy (PPO)"))
            assert len(store.jobs.listed()) == queued + 1

    try:
        run(main())
    finally:
        store.put_setting("job_kinds", [])
