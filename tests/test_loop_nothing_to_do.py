"""What there is nothing to do for is refused before a job is queued, in the words of the job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Server, make_workspace
from data_world import World
from forging import Arrive, run

from data.errors import BadInput
from data.prompts import split_of
from data.records import Message
from data.startable import HELD_OUT_ALONE, NO_OPEN_TASKS, NO_PROMPTS, compared, require_work
from data.store import Store
from loop import cli
from loop.kinds import catalogue
from loop.options import Common
from loop.settings import Settings
from reward.examples import from_store, require_learnable


def prompt_of(split: str, number: int = 0) -> str:
    """The so-manieth text whose prompt falls into that split."""
    texts = (f"question {n}" for n in range(1000))
    return [text for text in texts
            if split_of([Message(role="user", content=text)]) == split][number]


def _one(world: World, split: str = "train", number: int = 0, winner: int | None = 0,
         texts: tuple[str, str] = ("one", "two")) -> None:
    world.choose(world.people(1)[0], world.task(texts, prompt=prompt_of(split, number)), winner)


@pytest.mark.parametrize(("answers", "said"), [
    ([], "there are no comparisons to learn from"),
    ([lambda world: _one(world, texts=("same", "same")),
      lambda world: _one(world, "held_out", texts=("same", "same"))],
     "all 2 compared pairs hold the same text twice"),
    ([lambda world: _one(world, "held_out"), lambda world: _one(world, "held_out", number=1),
      lambda world: _one(world, texts=("same", "same"))],
     "all 2 compared pairs are on held-out prompts"),
    ([lambda world: _one(world, winner=None), lambda world: _one(world, number=1, winner=None)],
     "all 2 compared pairs are ties"),
    ([_one, lambda world: _one(world, winner=None),
      lambda world: _one(world, number=1, texts=("same", "same"))],
     "all 2 compared pairs are on one prompt"),
    ([_one, lambda world: _one(world, number=1, winner=None)], ""),
])
def test_what_a_reward_model_could_not_learn_from_is_known_from_counts(
        tmp_path: Path, answers: list[Callable[[World], None]], said: str) -> None:
    world = World.make(tmp_path / "prefloop.db")
    for answer in answers:
        answer(world)

    def asked_before() -> None:
        require_work(world.store, "train-reward")

    def asked_of_the_data() -> None:
        require_learnable(from_store(world.store))

    for check in (asked_before, asked_of_the_data):
        if said:
            with pytest.raises(BadInput, match=said):
                check()
        else:
            check()


def test_whose_answers_are_set_aside_is_not_learned_from(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    for number in (0, 1):
        _one(world, number=number)
    require_work(world.store, "train-reward")
    world.store.people.set_aside(world.store.people.all()[0].id, True)
    assert compared(world.store).train == 1
    with pytest.raises(BadInput, match="on one prompt"):
        require_work(world.store, "train-reward")


@pytest.mark.parametrize(("kind", "said"), [
    ("train-reward", "there are no comparisons to learn from"), ("simulate", NO_OPEN_TASKS),
    ("sample", NO_PROMPTS), ("ppo", NO_PROMPTS), ("best-of-n", NO_PROMPTS)])
def test_a_command_with_nothing_to_do_is_wrong_usage_and_leaves_no_job(
        kind: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(tmp_path / "w")]
    assert cli.run(["init", "--no-starter-prompts", *at]) == 0
    store = Store.of_workspace(tmp_path / "w")
    store.put_setting("noise/sentiment/0.75", 1.0)  # who has simulated before has nothing to find
    capsys.readouterr()
    assert cli.run([kind, *at]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(Common(workspace=tmp_path / "w").here(f"prefloop: {said}"))
    assert not store.jobs.all()


def test_nothing_is_improved_on_prompts_that_are_held_out(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    world.task(("one", "two"), prompt=prompt_of("held_out"))
    for kind in ("ppo", "best-of-n"):
        with pytest.raises(BadInput, match=HELD_OUT_ALONE):
            require_work(world.store, kind)
    world.task(("one", "two"), prompt=prompt_of("train"))
    for kind in ("ppo", "best-of-n"):
        require_work(world.store, kind)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nothing") / "workspace"
    make_workspace(folder)
    return folder


def test_a_form_says_that_there_is_nothing_to_do(server: Server, arrive: Arrive) -> None:
    server.store.put_setting("job_kinds", catalogue(Settings()))

    async def main() -> None:
        async with await arrive("engineer")[1].tab("jobs") as tab:
            tab.set(tab.labelled("Stage"), ["Train the reward model"])
            await tab.rerun()
            await tab.press(tab.labelled("Train the reward model"))
            said = tab.text().replace("\\", "")
            assert "NOT started: there are no comparisons to learn from" in said

    run(main())
    assert not server.store.jobs.all()
