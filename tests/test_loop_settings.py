"""Settings: default < file < flag, and mistakes named by file, section and key."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backbone.config import ModelConfig
from data.errors import BadInput, PrefloopError
from data.limits import too_low
from data.records import Job
from data.store import DATABASE_NAME, Store
from loop.checking import refusal
from loop.commands.stages import Ppo
from loop.fields import fields_of
from loop.kinds import KINDS, ImproveOptions, catalogue, resolve, resolve_job
from loop.settings import SECTIONS, SETTINGS_NAME, Settings, read_settings, settings_text
from policy.config import PPOConfig


def written(folder: Path, text: str) -> Path:
    (folder / SETTINGS_NAME).write_text(text)
    return folder


def test_every_field_has_help_and_a_known_type() -> None:
    for config in [*SECTIONS.values(), *(kind.options for kind in KINDS.values())]:
        assert all(len(field.help) > 10 for field in fields_of(config)), config


def test_the_file_as_written_changes_nothing_and_switched_on_gives_the_defaults(
        tmp_path: Path) -> None:
    text = settings_text({})
    assert read_settings(written(tmp_path, text)) == Settings()
    switched_on = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert switched_on.count(" = ") >= sum(len(fields_of(c)) for c in SECTIONS.values())
    assert read_settings(written(tmp_path, switched_on)) == Settings()


def test_given_values_are_switched_on(tmp_path: Path) -> None:
    text = settings_text({"models": {"checkpoint": 'a "quoted" \\ folder é'}})
    assert read_settings(written(tmp_path, text)).models.checkpoint == 'a "quoted" \\ folder é'


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()


@pytest.mark.parametrize(("text", "said"), [
    ("[pppo]\n", "there is no section [pppo]; did you mean 'ppo'?"),
    ("steps = 3\n", "there is no section [steps]"),
    ("ppo = 3\n", "ppo must be a section"),
    ("[ppo]\nstpes = 3\n", "[ppo] has no key 'stpes'; did you mean 'steps'?"),
    ("[ppo]\nlearning-rate = 1.0\n", "did you mean 'learning_rate'?"),
    ("[ppo]\nlora_rank = 8\n", "[ppo] has no key 'lora_rank'; it belongs in [models]"),
    ("[ppo]\nseed = 8\n", "[ppo] has no key 'seed'; it belongs in [workspace]"),
    ("[asking]\nsteps = 8\n", "[asking] has no key 'steps'; it belongs in [ppo]"),
    ("[asking]\nepochs = 8\n", "there are: enabled, rule, random_share"),  # of several sections
    ("[ppo]\nsteps = 2.5\n", "[ppo] steps: wanted a whole number, not 2.5"),
    ("[ppo]\nsteps = true\n", "[ppo] steps: wanted a whole number, not True"),
    ("[ppo]\nsteps = 0\n", "[ppo] steps: must be at least 1, not 0"),
    ("[sample]\nstop = [1]\n", "[sample] stop: wanted a list of texts"),
    ('[models]\nprecision = "fp8"\n', "[models] precision: 'fp8' is none of auto, bf16, fp32"),
    ("[ppo\n", "line 1"),
    ("[reward]\nform = lora\n", "(at line 2, column 8): a text stands in quotes"),
    ("[ppo]\nwhiten_advantages = True\n", "it is true and false"),
    ("[ppo]\nsteps = 7\n\n[ppo]\n", ": [ppo] stands twice (line 4): make them one section"),
    ("[best-of-n]\n[best-of-n]\n", ": [best-of-n] stands twice (line 2)"),
    ("[ppo]\nsteps = 7\nsteps = 8\n", ": a key stands twice in its section (line 3)"),
    ("[ppo]\nkl_stop = inf\n", "[ppo] kl_stop: wanted a finite number, not inf"),
    ("[ppo]\nkl_stop = nan\n", "[ppo] kl_stop: wanted a finite number, not nan"),
    (f"[ppo]\nkl_stop = 1{'0' * 400}\n", "[ppo] kl_stop: wanted a finite number"),
    ('[sample]\nstop = ["x", ""]\n', "[sample] stop: an empty text would end every response"),
    ('[ppo]\nstop = [""]\n', "[ppo] stop: an empty text would end every response"),
    ("[workspace]\nseed = -1\n", "[workspace] seed: must be 0 to"),
    ("[ppo]\nkl_budget = 3\nkeep_every = 0\n", "[ppo] kl_budget: only kept policies"),
    ("[ppo]\nkl_target = 6\nkl_coefficient = 0\n", "[ppo] kl_target: it is steered to by"),
])
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        read_settings(written(tmp_path, text))
    assert str(tmp_path / SETTINGS_NAME) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [
    (b"\xff\xfe\x00", ", line 1: not UTF-16 at byte 2; save the file as UTF-8"),
    ("[ppo]\n# µ\n".encode("utf-16"), ", line 1: not UTF-8; save the file as UTF-8"),
    ("[ppo]\n# é\n".encode("latin-1"), ", line 2: not UTF-8 at byte 8; save the file as UTF-8"),
])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / SETTINGS_NAME).write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(f"{tmp_path / SETTINGS_NAME}{said}")):
        read_settings(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_NAME).mkdir()
    with pytest.raises(BadInput, match=re.escape(f"{tmp_path / SETTINGS_NAME}: Is a directory")):
        read_settings(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_NAME).write_bytes("\ufeff[ppo]\r\nsteps = 7\r\n".encode())
    assert read_settings(tmp_path).ppo.steps == 7


def test_default_then_file_then_job(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "[ppo]\nsteps = 7\nepochs = 5\n"
                                               "[workspace]\nseed = 11\n"))
    resolved = resolve("ppo", {"steps": 3, "kl_coefficient": 1, "policy": "base"}, settings)
    assert (resolved.settings.ppo.steps, resolved.settings.ppo.epochs) == (3, 5)
    assert resolved.settings.ppo.kl_coefficient == 1.0
    assert resolved.options == {"policy": "base", "reward_model": "", "force": False}
    assert resolved.seed == 11 and resolve("ppo", {"seed": 2}, settings).seed == 2
    assert resolved.document["steps"] == 3 and resolved.document["models"]["lora_rank"] == 16


@pytest.mark.parametrize(("overrides", "said"), [
    ({"stpes": 3}, "did you mean 'steps'"),
    ({"steps": "3"}, "--steps: wanted a whole number"),
    ({"steps": 0}, "--steps: must be at least 1"),
    ({"policy": 1}, "--policy: wanted a text"),
    ({"seed": "x"}, "--seed"),
    ({"seed": -1}, "--seed: must be 0 to"),
    ({"seed": 2**63}, "--seed: must be 0 to"),
    ({"kl_stop": float("inf")}, "--kl-stop: wanted a finite number"),
])
def test_a_jobs_config_is_checked(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        resolve("ppo", overrides, Settings())


def test_a_job_is_refused_before_it_is_queued_as_it_would_be_after(tmp_path: Path) -> None:
    """Beside what the file says; what only a worker of another prefloop knows is left to it."""
    said = refusal(written(tmp_path, "[ppo]\nbatch_size = 64\n"), "ppo", {"minibatch_size": 48})
    assert said == "--minibatch-size: 48 does not divide --batch-size 64"
    assert refusal(tmp_path, "ppo", {"batch_size": 96, "policy": "base", "dreams": 7}) is None
    assert refusal(tmp_path, "dream", {"steps": 0}) is None
    assert "stpes" in (refusal(written(tmp_path, "[ppo]\nstpes = 3\n"), "ppo", {}) or "")


def test_a_kind_from_a_newer_prefloop_is_refused() -> None:
    with pytest.raises(PrefloopError, match="knows no job of kind 'dream'"):
        resolve("dream", {}, Settings())


def test_a_command_queues_only_what_differs_from_the_file(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "[ppo]\nsteps = 7\n"))
    command = Ppo.with_settings(settings)
    assert command.overrides(settings) == {}
    from loop.cli import parse

    parsed = parse("ppo", ["--workspace", str(tmp_path), "--epochs", "9", "--policy", "base",
                           "--seed", "4", "--no-whiten-advantages"])
    assert isinstance(parsed, Ppo)
    assert parsed.overrides(settings) == {"epochs": 9, "policy": "base", "seed": 4,
                                          "whiten_advantages": False}


def test_force_is_of_the_reward_model_in_view(tmp_path: Path) -> None:
    """By the job's turn, another may be the newest, on which nobody has insisted."""
    store, settings = Store(tmp_path / DATABASE_NAME), Settings()

    def queued(**options: Any) -> dict[str, Any]:
        return Ppo(workspace=tmp_path, options=ImproveOptions(**options)).overrides(settings)

    assert queued(force=True) == {"force": True}
    for name in ("reward-1", "reward-2"):
        store.versions.add_reward_model(name=name, base="x", path="p", metrics={}, comparisons={})
    assert queued(force=True) == {"force": True, "reward_model": "reward-2"}
    assert queued(force=True, reward_model="reward-1")["reward_model"] == "reward-1"
    assert queued() == {}


def test_the_catalogue_has_the_workspaces_defaults_and_forms_can_be_built(tmp_path: Path) -> None:
    entries = catalogue(read_settings(written(tmp_path, "[ppo]\nsteps = 7\n")))
    assert [entry["kind"] for entry in entries] == ["sample", "train-reward", "eval-reward", "ppo",
                                                    "best-of-n"]
    assert [f["name"] for f in entries[2]["fields"]] == ["reward_model"], "no path of the server"
    for entry in entries:
        names = {field["name"]: field for field in entry["fields"]}
        assert set(entry["common"]) <= names.keys()
        assert {f["type"] for f in entry["fields"]} <= {"int", "float", "bool", "str", "choice"}
        assert resolve(entry["kind"], {k: f["default"] for k, f in names.items()}, Settings())
    assert {f["name"]: f["default"] for f in entries[3]["fields"]}["steps"] == 7


def test_the_catalogues_limits_are_those_that_a_job_is_held_to() -> None:
    entries = {entry["kind"]: entry["fields"] for entry in catalogue(Settings())}
    checked = 0
    for kind, fields in entries.items():
        for field in fields:
            if "least" in field or "above" in field:
                low = field["least"] - 1 if "least" in field else field["above"]
                wrong = too_low(low, field.get("least"), field.get("above"))
                with pytest.raises(BadInput) as caught:
                    resolve(kind, {field["name"]: low}, Settings())
                # A float is told as one: 0.0.
                flag, said = f"--{field['name'].replace('_', '-')}: ", str(caught.value)
                assert said in (f"{flag}{wrong}", f"{flag}{wrong}.0")
                checked += 1
    assert checked > 40
    limits = {field["name"]: field for field in entries["train-reward"]}
    assert limits["epochs"]["least"] == 1 and limits["learning_rate"]["above"] == 0
    assert limits["weight_decay"]["least"] == 0 and "least" not in limits["form"]


def test_a_job_that_ran_before_keeps_its_settings_whatever_else_its_prefloop_kept() -> None:
    kept = resolve("ppo", {"steps": 3, "policy": "base", "seed": 5}, Settings()).document
    document = {key: value for key, value in kept.items() if key != "epochs"}
    job = SimpleNamespace(kind="ppo", config={"steps": 8}, resolved={
        **document, "kl_stop": None, "gone": 1, "models": {"lora_rank": 4, "gone": 1}})
    now = Settings(ppo=PPOConfig(steps=9, epochs=1, gamma=0.5), models=ModelConfig(lora_rank=2))
    again = resolve_job(cast(Job, job), now)
    assert (again.settings.ppo.steps, again.settings.ppo.gamma, again.seed) == (3, 1.0, 5)
    assert again.settings.ppo.epochs == 1, "what was not kept is as the settings have it"
    assert again.settings.models.lora_rank == 4 and again.options["policy"] == "base"
    assert again.document == job.resolved
    job.resolved = None
    assert resolve_job(cast(Job, job), now).settings.ppo.steps == 8
