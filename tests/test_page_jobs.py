"""The page of jobs: a stopped job says how far it came, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Server, make_workspace
from forging import Arrive, run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "workspace"
    make_workspace(folder)
    return folder


def test_a_stopped_job_goes_on_at_the_press_of_a_button(server: Server, arrive: Arrive) -> None:
    store = server.store
    job = store.jobs.add("sample")
    store.jobs.claim(job.id)
    store.jobs.set_progress(job.id, 0.28, "36 of 128 responses")
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
