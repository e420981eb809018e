"""The command line: help, exit codes, one-line errors, JSON on standard output alone."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_world import workspace
from processes import PATIENCE

from data.store import Store
from loop import cli
from loop.cli import COMMANDS, command_named
from loop.fields import attribute_docstrings
from loop.output import print_json, print_result

HEAVY = {"torch", "transformers", "peft", "pandas", "streamlit", "sqlite_utils", "numpy", "rich"}


def prefloop(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "loop", *arguments], capture_output=True,
                          text=True, timeout=PATIENCE, **options)  # type: ignore[call-overload]


assert workspace  # a fixture


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = ("import sys; from loop import cli; cli.run(['--help']); "
            f"print(sorted({HEAVY} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert "130: interrupted with Ctrl-C" in done.stdout


def test_every_commands_help_works_and_imports_nothing_heavy() -> None:
    names = [name.split() for name in COMMANDS]
    code = (f"import sys; from loop import cli\nfor name in {names}:\n"
            "    assert cli.run([*name, '--help']) == 0, name\n"
            f"print(sorted({HEAVY - {'rich'}} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    for flag in ("--workspace", "--json", "--seed", "--debug"):
        assert done.stdout.count(f"│ {flag}") == len(COMMANDS), flag


def test_help_ends_in_a_terminal_of_a_few_columns() -> None:
    done = prefloop("labeler", "add", "--help", env={**os.environ, "COLUMNS": "5"})
    assert done.returncode == 0 and "--workspace" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_a_command_is_explained(name: str) -> None:
    command = command_named(name)
    docs: dict[str, str] = {}
    for base in command.__mro__:
        if dataclasses.is_dataclass(base):
            docs |= attribute_docstrings(base)
    groups = {"config", "options", "models"}  # dataclasses of their own, see test_loop_settings
    assert {f.name for f in dataclasses.fields(command)} - groups <= docs.keys()
    assert all(len(text) > 8 for text in docs.values())


@pytest.mark.parametrize(("arguments", "said"), [
    (["pop"], "did you mean `ppo`?"),
    (["labeler", "ad"], "did you mean `labeler add`?"),
    (["ppo", "--steps", "0"], "--steps: must be at least 1"),
    (["ppo", "--stepps", "3"], "--stepps"),
    (["import"], "Missing"),
    (["status", "--workspace", "/nowhere/at/all"], "`prefloop init --workspace /nowhere/at/all`"),
    (["status", "--workspace=-a b"], "-a b holds no workspace: make one with `prefloop init "
     "--workspace='-a b'`"),
    (["score", "x.jsonl", "--seed", "-1"], "--seed: must be 0 to 9223372036854775807, not -1"),
    (["sample", "--stop", ""], "--stop: an empty text"),
    (["ppo", "--kl-target", "6", "--kl-coefficient", "0"], "--kl-coefficient"),
    (["ppo", "--kl-target", "6", "--kl-stop", "6"], "--kl-stop"),
    (["ppo", "--resume", "3", "--steps", "4"], "--resume: the job goes on with the config that it "
     "was started with: leave --steps out"),
    (["eval-reward", "--html=x.html", "--resume=3", "--data=x", "--seed=1"],
     "leave --data, --seed out"),
    (["train-reward", "--resume", "abc"], "--resume: wanted a whole number, not 'abc'\n"),
    (["labeler", "list", "--seed=abc"], "--seed: wanted a whole number, not 'abc'\n"),
    (["train-reward", "--epochs", "1.5", "--seed", "2"],
     "prefloop: --epochs: wanted a whole number, not '1.5'\n"),
    (["ppo", "--kl-stop", "", "--policy="], "--kl-stop or --policy: wanted a number, not ''\n"),
])
def test_wrong_usage_is_2(arguments: list[str], said: str,
                          capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and "Traceback" not in shown.err


def test_the_overview_says_of_each_command_a_whole_sentence() -> None:
    listed = [line for line in cli.overview().splitlines() if line.startswith("  ")]
    assert len(listed) == len(cli.COMMANDS) and all(line.endswith(".") for line in listed)


def test_what_has_to_be_done_first_can_be_given_to_a_shell(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its workspace, a command would be done to another one."""
    at = ["--workspace", str(tmp_path / "my runs")]
    assert cli.run(["init", "--no-starter-prompts", *at]) == 0
    job = Store.of_workspace(tmp_path / "my runs").jobs.add("ppo")
    for arguments, said in (
            (["sample"], "`prefloop import FILE --workspace '{}'`"),
            (["simulate"], "`prefloop sample --workspace '{}'` opens a round"),
            (["sample", "--resume", str(job.id)],
             f"use `prefloop ppo --resume {job.id} --workspace '{{}}'`")):
        capsys.readouterr()
        assert cli.run([*arguments, *at]) == 2
        assert said.format(at[1]) in capsys.readouterr().err


def test_a_number_that_is_none_is_refused_before_a_job_is_queued(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["ppo", "--kl-stop", "inf"], ["sample", "--temperature", "inf"],
                  ["best-of-n", "--variance-penalty", "nan"]):
        assert cli.run([*flags, "--workspace", str(workspace)]) == 2
        assert f"{flags[1]}: " in capsys.readouterr().err
    assert not Store.of_workspace(workspace).jobs.all()


def test_a_job_to_resume_is_one_that_there_is(workspace: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("0", "7", "9" * 30):
        assert cli.run(["ppo", "--resume", number, "--workspace", str(workspace)]) == 2
        assert f"there is no job {number}" in capsys.readouterr().err
    assert not Store.of_workspace(workspace).jobs.all()


def test_no_command_is_2_and_shows_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert cli.run(["labeler"]) == 2
    assert "labeler add" in capsys.readouterr().out


def test_the_module_runs_as_the_script_does() -> None:
    done = prefloop("--version")
    assert done.returncode == 0 and done.stdout.startswith("prefloop ")


def test_a_defect_is_one_line_and_1_with_a_traceback_on_demand(
        workspace: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("some\ndefect")

    monkeypatch.setattr("loop.status.status_of", broken)
    assert cli.run(["status", "--workspace", str(workspace)]) == 1
    assert capsys.readouterr().err == (
        "prefloop: ZeroDivisionError: some defect; run again with --debug to see where\n")
    assert cli.run(["status", "--workspace", str(workspace), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_one_line_and_130(workspace: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loop.status.status_of", interrupted)
    assert cli.run(["status", "--workspace", str(workspace)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_goes_away_is_no_error(workspace: Path) -> None:
    command = f'"{sys.executable}" -m loop status --json --workspace "{workspace}" | true'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "there is no reward model yet"),
    (["--policy", "nope"], "no policy version 'nope'"),
    (["--reward-model", "nope"], "no reward model 'nope'")])
def test_a_stage_runs_without_flags_and_a_wrong_name_is_said_before_a_job(
        arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["init"]) == 0
    for name in ("ppo", "best-of-n"):
        assert cli.run([name, *arguments]) == 2
        assert said in capsys.readouterr().err
    assert cli.run(["eval-reward"]) == 2
    assert "there is no reward model yet" in capsys.readouterr().err
    assert cli.run(["sample", "--policy", "nope"]) == 2
    assert not Store.of_workspace(tmp_path / "runs" / "default").jobs.all()


def test_people_are_added_listed_linked_and_disabled(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str, code: int = 0) -> dict[str, object]:
        assert cli.run(["labeler", *arguments, "--workspace", str(workspace), "--json"]) == code
        shown = capsys.readouterr()
        return json.loads(shown.out) if code == 0 else {"error": shown.err}

    added = run("add", "Ann Lee", "--role", "lead")
    store = Store.of_workspace(workspace)
    assert store.people.redeem(str(added["link"]).partition("code=")[2])
    linked = run("link", "Ann Lee")
    assert linked["link"] != added["link"]
    assert run("disable", "Ann Lee")["disabled"] is True
    assert store.people.redeem(str(linked["link"]).partition("code=")[2]) is None
    assert "enable" in str(run("link", "Ann Lee", code=2)["error"])
    assert run("enable", "Ann Lee")["disabled"] is False
    assert run("enable", "Ann Lee")["disabled"] is False
    assert run("set-aside", "Ann Lee")["set_aside"] is True
    assert run("set-aside", "Ann Lee")["set_aside"] is True
    assert [(e.action, e.labeler_id) for e in store.audit.entries(limit=3)] == [
        ("set answers aside", None), ("enable person", None), ("disable person", None)]
    assert cli.run(["labeler", "list", "--workspace", str(workspace)]) == 0
    assert "set aside" in capsys.readouterr().out
    assert run("count-again", "Ann Lee")["set_aside"] is False
    assert run("list")["labelers"][0]["name"] == "Ann Lee"  # type: ignore[index]
    assert "already a labeler" in str(run("add", "Ann Lee", code=2)["error"])
    assert "no labeler called 'Bob'\n" in str(run("link", "Bob", code=2)["error"])
    assert "called 'ann lee'; did you mean 'Ann Lee'?" in str(
        run("link", "ann lee", code=2)["error"])


def test_what_is_no_number_is_null_in_json_and_a_dash_for_people(
        capsys: pytest.CaptureFixture[str]) -> None:
    result = {"accuracy": {"value": 0.75, "n": 40, "low": 0.6, "high": 0.86}, "loss": math.nan,
              "baselines": {"chance": 0.5}, "kl": None, "samples": [{"text": "long"}],
              "gain": {"value": 0.05, "n": 12, "low": None, "high": None}}
    print_json(result)
    assert json.loads(capsys.readouterr().out)["loss"] is None
    print_result(result)
    assert capsys.readouterr().out.splitlines() == [
        "  accuracy: 0.75 (95 % interval 0.6 to 0.86, n = 40)", "  loss: –",
        "  baselines: chance: 0.5", "  kl: –", "  gain: 0.05 (n = 12)"]
