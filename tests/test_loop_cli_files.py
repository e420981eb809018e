"""Commands that read and write files: backup, import, export, score, eval-reward."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from command_world import workspace

from data.progress import Progress
from data.store import Store
from loop import cli

assert workspace  # a fixture


def test_a_backup_is_whole_private_and_never_replaces_a_file_unasked(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "one.db"
    command = ["backup", str(target), "--workspace", str(workspace)]
    assert cli.run(command) == 0
    assert Store(target).prompts.count() == Store.of_workspace(workspace).prompts.count()
    assert target.stat().st_mode & 0o777 == 0o600
    assert cli.run(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run([*command, "--overwrite"]) == 0


def test_import_and_export_go_through_the_files(workspace: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"prompt": "Why is the sky blue?", "chosen": "Air.", "rejected": "No."}\n')
    at = ["--workspace", str(workspace), "--json"]
    assert cli.run(["import", str(file), *at]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["what"], report["added"]) == ("preferences", 1)
    out = tmp_path / "out.csv"
    assert cli.run(["export", str(out), *at]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1 and out.is_file()
    before = out.read_bytes()
    out.write_bytes(before + b"mine")
    assert cli.run(["export", str(out), *at]) == 2
    assert "--overwrite" in capsys.readouterr().err and out.read_bytes() == before + b"mine"
    assert cli.run(["export", str(out), "--overwrite", *at]) == 0
    capsys.readouterr()
    assert out.read_bytes() == before
    file.write_text('{"prompt": "a"}\n{"prompt": \n')
    assert cli.run(["import", str(file), *at]) == 2
    assert "line 2" in capsys.readouterr().err


def test_score_reads_rows_and_writes_them_with_their_score(
        workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def score(store: object, folder: object, settings: object, conversations: list[list[Any]],
              reward_model: str, progress: Progress) -> list[dict[str, float]]:
        progress.update(1.0, "done")
        return [{"score": len(messages[-1]["content"]) + 0.5, "spread": 0.25}
                for messages in conversations]

    stages = ModuleType("loop.stages.rewarding")
    stages.score = score  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "loop.stages.rewarding", stages)
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"id": 7, "prompt": "Why?", "response": "So."}\n'
        '{"messages": [{"role": "user", "content": "Why?"}, '
        '{"role": "assistant", "content": "So so."}]}\n')
    at = ["score", str(file), "--workspace", str(workspace)]
    assert cli.run(at) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["score"] for row in shown] == [3.5, 6.5] and shown[0]["id"] == 7
    assert [row["spread"] for row in shown] == [0.25, 0.25]
    assert cli.run([*at, "--json", "--output", str(tmp_path / "out.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert cli.run([*at, "--output", str(tmp_path / "out.jsonl"), "--overwrite"]) == 0
    assert capsys.readouterr().out == f"2 scores written to {tmp_path / 'out.jsonl'}\n"
    file.write_text('{"prompt": "Why?", "response": "So.", "length": NaN}\n')
    assert cli.run(at) == 0
    assert json.loads(capsys.readouterr().out)["length"] is None
    file.write_text('{"prompt": "Why?", "response": "So.", "score": 9}\n')
    assert cli.run(at) == 0
    scored = capsys.readouterr()
    assert json.loads(scored.out)["score"] == 3.5 and "under `score` is replaced" in scored.err
    stages.score = lambda *_: pytest.fail("nothing is scored in vain")  # type: ignore[attr-defined]
    for bad in ('{"prompt": "Why?"}', '{"prompt": 3, "response": "So."}',
                '{"messages": [{"role": "user", "content": "Why?"}]}', '["no"]',
                '{"prompt": "Why?", "response": "So \\ud83d"}',
                '{"prompt": "Why?", "response": "So.", "id": {"a": ["\\ud83d"]}}',
                '{"prompt": "Why?", "response": "So.", "\\ud83d": 1}'):
        file.write_text('{"prompt": "Why?", "response": "So."}\n' + bad + "\n")
        assert cli.run(at) == 2
        assert "line 2" in capsys.readouterr().err


def test_eval_reward_wants_a_file_that_is_there(workspace: Path,
                                                monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    stages = ModuleType("loop.stages.handlers")
    stages.HANDLERS = {"eval-reward": lambda context: dict(context.options)}  # type: ignore
    monkeypatch.setitem(sys.modules, "loop.stages.handlers", stages)
    monkeypatch.chdir(workspace.parent)
    at = ["--workspace", str(workspace), "--json"]
    assert cli.run(["eval-reward", "--data", "none.jsonl", *at]) == 2
    (workspace.parent / "some.jsonl").write_text("{}")
    store = Store.of_workspace(workspace)
    store.versions.add_reward_model(name="reward-1", base=store.versions.policies()[0].base,
                                    path="p", metrics={}, comparisons={})
    assert cli.run(["eval-reward", "--data", "some.jsonl", *at]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == str(workspace.parent / "some.jsonl")
