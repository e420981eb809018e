"""Features of responses are read once, kept with whose they are, and read anew where they must."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from asking_world import workspace
from models import one_thread, tiny_checkpoint
from reward_world import Recorder
from safetensors import safe_open
from safetensors.numpy import save_file

from backbone.config import ModelConfig
from data.asking import STATE
from data.database import now
from data.errors import PrefloopError
from data.progress import Silent, Stopped
from data.records import Answer
from data.store import Store
from loop.asking.extracting import extract_features, known_features
from loop.asking.instant import instant_beside, read_features
from loop.asking.live import Asker
from loop.asking.process import AskingProcess
from loop.models import reward_backbone
from loop.settings import SETTINGS_NAME, read_settings
from reward import kinds
from reward.examples import PreferenceData, from_store
from reward.instant.response_features import ResponseFeatures

assert one_thread and workspace  # fixtures


def answer_all(store: Store) -> None:
    """One labeler prefers the first response of every open task."""
    me = store.people.add("Ann")
    while (given := store.assignments.next_for(me.id)) is not None:
        first, second = given.task.response_ids
        store.comparisons.submit(me.id, given.task, Answer(((first,), (second,))),
                                 f"k{given.task.id}")


def test_features_are_computed_once_and_give_way_to_a_job(workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert not extract_features(store, workspace, found, lambda: True) and not kept.ids()
    assert extract_features(store, workspace, found)
    assert kept.ids() == set(store.asking.responses()) and len(kept.ids()) == 24
    files = kept.files()
    assert extract_features(store, workspace, found) and kept.files() == files
    table = kept.read({1, 2})
    assert set(table.rows) == {1, 2}
    assert all(np.isfinite(v).all() and len(v) == 2 for v in table.kinds.values())


def change(workspace: Path, section: str, line: str) -> None:
    """Change one setting of a workspace whose file leaves that one to its default."""
    file = workspace / SETTINGS_NAME
    text = file.read_text("utf-8")
    assert text.count(f"[{section}]\n") == 1
    file.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{line}\n"), "utf-8")


@pytest.mark.parametrize(("section", "line"), [
    ("reward", 'question = "Is it true?"'), ("reward", "max_length = 64"),
    ("models", 'pretrained_checkpoint = "elsewhere"')])
def test_features_are_due_again_where_they_are_to_be_read_otherwise(
        workspace: Path, monkeypatch: pytest.MonkeyPatch, section: str, line: str) -> None:
    monkeypatch.setattr("loop.asking.process._LOOK_EVERY", 0.0)
    monkeypatch.setattr(AskingProcess, "_start", lambda self: None)
    asking = AskingProcess(Store.of_workspace(workspace), workspace)
    asking.keep()
    asking.features_ordered()
    change(workspace, section, line)
    asking.keep()  # the settings change while features are read
    asking.features_read()
    asking.keep()
    assert asking.features_due()
    asking.features_ordered()
    asking.features_read()
    asking.keep()
    assert not asking.features_due()


def test_what_is_to_be_read_anew_is_kept_until_something_takes_its_place(workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    assert extract_features(store, workspace, found)
    kept = ResponseFeatures(workspace, store.responses)
    files, (first, *_) = kept.files(), kept.ids()
    other = found.with_section("reward", replace(found.reward, max_length=4))
    assert not extract_features(store, workspace, other, most=0)
    assert kept.files() == files
    assert set(known_features(store, workspace, found, [first]).rows) == {first}
    assert not known_features(store, workspace, other).rows, "those read otherwise are none of it"
    assert extract_features(store, workspace, other)
    assert set(known_features(store, workspace, other).rows) == kept.ids()


def test_a_job_that_reads_nothing_leaves_features_where_they_are(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    answer_all(store)
    extract_features(store, workspace, read_settings(workspace))
    files = ResponseFeatures(workspace, store.responses).files()
    change(workspace, "reward", "max_length = 4")
    data, settings = from_store(store), read_settings(workspace)
    context: Any = SimpleNamespace(store=store, workspace=workspace, settings=settings)
    backbone: Any = None  # of no use to a job that reads nothing
    known = read_features(context, backbone, data, lambda _: None, only_known=True)
    assert known is not None and not known.rows
    assert instant_beside(context, backbone, data, Silent(), only_known=True) == {}
    assert ResponseFeatures(workspace, store.responses).files() == files


def test_another_checkpoint_has_features_of_its_own(workspace: Path, tmp_path: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    extract_features(store, workspace, found)
    before = ResponseFeatures(workspace, store.responses).read().kinds
    (tmp_path / "other").mkdir()
    models = ModelConfig(checkpoint=str(tiny_checkpoint(tmp_path / "other", seed=3)))
    extract_features(store, workspace, found.with_section("models", models))
    after = ResponseFeatures(workspace, store.responses).read().kinds
    assert all(before[kind].shape == after[kind].shape and
               not np.allclose(before[kind], after[kind]) for kind in before)


def test_what_is_read_at_other_depths_is_read_anew(workspace: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    files, table = kept.files(), kept.read()
    assert {store.responses.get([i])[0].prompt_id for i in table.rows} == set(table.prompts)
    monkeypatch.setattr(kinds, "DEPTHS", kinds.BASIC)
    assert extract_features(store, workspace, found)
    assert kept.files() != files, "whoever stands on them sees that they are others"
    assert set(kept.read().kinds) == set(kinds.kinds_of(2, "", kinds.BASIC))


def test_texts_cut_elsewhere_are_read_anew(workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    before = kept.read().kinds
    shorter = found.with_section("reward", replace(found.reward, max_length=4, question=""))
    same = found.with_section("reward", replace(found.reward, question=""))
    assert extract_features(store, workspace, same)
    whole = kept.read().kinds
    assert before.keys() > whole.keys()
    assert extract_features(store, workspace, shorter)
    cut = kept.read().kinds
    assert cut.keys() == whole.keys()
    assert not any(np.allclose(cut[kind], whole[kind]) for kind in cut)


def test_after_a_restored_backup_features_of_other_responses_are_not_there(
        workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    stale, files = sorted(kept.ids())[-4:], kept.files()
    with store.database.write() as db:  # as if these had been sampled anew under the same ids
        for i in stale:
            db.conn.execute("UPDATE responses SET created_at = ? WHERE id = ?", [now(), i])
    assert kept.ids().isdisjoint(stale) and len(kept.ids()) == 20
    assert known_features(store, workspace, found).rows.keys() == kept.ids()
    assert extract_features(store, workspace, found)
    assert kept.ids() == kept.read().rows.keys() == set(store.asking.responses())
    assert {*kept.files()} > {*files}


def test_features_of_before_it_was_kept_whose_they_are_hold_unless_responses_came_later(
        workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    before = kept.read()
    for name in kept.files():
        with safe_open(kept.folder / name, "np") as file:
            tensors = {key: file.get_tensor(key) for key in set(file.keys())}
            of = file.metadata()["checkpoint"]
        save_file(tensors, kept.folder / name, metadata={"checkpoint": of})
    assert kept.ids() == before.rows.keys() and known_features(store, workspace, found).rows
    for name in kept.files():
        os.utime(kept.folder / name, (0, 0))
    assert not kept.ids() and not known_features(store, workspace, found).rows
    Asker(store, workspace).turn()
    assert store.setting(STATE) is None, "there is nothing to learn from yet"
    assert extract_features(store, workspace, found)
    assert kept.read().rows == before.rows


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\0" * 5000),
    lambda path: save_file({"ids": np.ones(1, np.int64), "prompts": np.ones(1, np.int64),
                            "layer2": np.ones((1, 2), np.float32)}, path)])
def test_a_file_that_cannot_be_read_is_dropped_and_its_features_are_read_again(
        spoil: Callable[[Path], None], workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    before, name = kept.read(), kept.files()[0]
    spoil(kept.folder / name)
    assert not kept.read().rows and not kept.files()
    said, = caplog.messages
    assert name in said and "cannot be read" in said and "computed again" in said
    assert extract_features(store, workspace, found)
    assert kept.read().rows.keys() == before.rows.keys() and len(caplog.messages) == 1


@pytest.mark.parametrize("put", [  # root may read any file, so that permissions do not do
    Path.mkdir,  # opens, but cannot be read
    lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)])  # does not even open
def test_features_that_may_not_be_read_are_no_reason_to_drop_them(
        put: Callable[[Path], None], workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace, store.responses)
    assert extract_features(store, workspace, found)
    name = kept.files()[0]
    (kept.folder / name).unlink()
    put(kept.folder / name)
    for attempt in (kept.read, lambda: extract_features(store, workspace, found)):
        with pytest.raises(PrefloopError, match=f"{name}: features cannot be read"):
            attempt()
    assert name in kept.files()


def test_training_has_the_instant_models_accuracy_beside(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    answer_all(store)
    data = from_store(store)
    context: Any = SimpleNamespace(store=store, workspace=workspace,
                                   settings=read_settings(workspace))
    backbone = reward_backbone(context.settings.models)
    heard = Recorder(stop_after=2)
    with pytest.raises(Stopped):  # what was computed by then is kept
        instant_beside(context, backbone, data, heard)
    assert heard.fractions == [0.0, 1.0]
    found = instant_beside(context, backbone, data, Silent())["instant_accuracy"]
    # "the cat" is always better than "a dog by the sea": any model learns that.
    assert found["value"] == 1.0 and found["n"] == len(data.held_out) > 0
    assert ResponseFeatures(workspace, store.responses).ids() == set(store.asking.responses())
    assert instant_beside(context, backbone, PreferenceData(data.train, ()), Silent()) == {}
    # what is kept is for all, whatever one job asks about responses
    files, kept = ResponseFeatures(workspace, store.responses).files(), context.settings
    for other in ({"question": "why?"}, {"max_length": 12}):
        context.settings = kept.with_section("reward", replace(kept.reward, **other))
        assert read_features(context, backbone, data, lambda _: None) is None
        assert instant_beside(context, backbone, data, Silent())["instant_accuracy"] == found
        assert ResponseFeatures(workspace, store.responses).files() == files
    context.settings = kept
    assert read_features(context, backbone, data, lambda _: None) is not None
    name = ResponseFeatures(workspace, store.responses).files()[0]
    (workspace / "features" / name).unlink()
    (workspace / "features" / name).mkdir()
    assert "cannot be read" in instant_beside(context, backbone, data, Silent())["instant_missing"]
