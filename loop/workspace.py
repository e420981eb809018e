"""Making a workspace: a folder that is there whole, or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.config import EMBEDDED, ModelConfig
from data.errors import BadInput, PrefloopError
from loop.output import note
from loop.settings import SETTINGS_NAME, read_settings, settings_text

if TYPE_CHECKING:
    from data.store import Store

FOLDERS = ("adapters", "checkpoints", "logs")
_PARTIAL = ".partial-"  # and the pid of who builds there
_OF_A_NEW_DISK = "lost+found"


@dataclass(frozen=True)
class Plan:
    """What a new workspace starts with."""

    models: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    seed: int | None = None
    starter_prompts: bool = True
    prompts: Path | None = None
    """File of prompts to import."""


def exists(workspace: Path) -> bool:
    """Whether the folder is a workspace."""
    from data.store import DATABASE_NAME

    return (workspace / DATABASE_NAME).is_file()


def make_workspace(workspace: Path, plan: Plan) -> int:
    """Make a workspace; returns how many prompts it holds.

    It is built beside its place, or in it where the folder is there already, and moved there at the
    end, so a failure leaves nothing.

    Raises:
        BadInput: the folder holds something else, or the plan names files that are not there.
        PrefloopError: the folder cannot be written, or another process has made it meanwhile.
    """
    models = checked(plan.models)
    there = workspace.exists()
    if there and (not workspace.is_dir()
                  or any(not p.name.startswith(_PARTIAL) and p.name != _OF_A_NEW_DISK
                         for p in workspace.iterdir())):
        raise BadInput(f"{workspace} is not empty and holds no workspace: give a new folder")
    try:
        with (_private(workspace, _PARTIAL) if there else
              _private(workspace.parent, f".{workspace.name}{_PARTIAL}")) as partial:
            count = _fill(partial, plan, models)
            if there:
                _move_up(partial, workspace)
            else:
                partial.rename(workspace)
    except OSError as error:
        if workspace.is_dir() and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise PrefloopError(f"{workspace} was made by another command meanwhile, and is left "
                                "as that one has it: run this one again to go on with it"
                                ) from error
        raise PrefloopError(f"{workspace}: {error.strerror}") from error
    return count


def keep_workspace(workspace: Path, plan: Plan) -> int:
    """See that an existing workspace is what the plan asks for; returns how many prompts it holds.

    Raises:
        BadInput: it was made otherwise. Its settings are never changed here.
    """
    from data.store import Store

    check_seed_of(workspace, plan.seed)
    if plan.models != ModelConfig() and checked(plan.models) != read_settings(workspace).models:
        raise BadInput(f"{workspace} is a workspace already and keeps its settings: "
                       f"change {workspace / SETTINGS_NAME}, or give a new folder")
    for name in FOLDERS:
        (workspace / name).mkdir(mode=0o700, exist_ok=True)
    store = Store.of_workspace(workspace)
    if plan.prompts:
        _import(store, plan.prompts)  # those that are there already stay as they are
    return store.prompts.count()


def _import(store: Store, prompts: Path) -> None:
    """Bring prompts in, and say what was left out of them."""
    from data.exchange.importing import import_prompts

    report = import_prompts(store, prompts)
    if report.skipped or report.unread:
        note(f"{prompts}: {report}")


def check_seed_of(workspace: Path, seed: int | None) -> None:
    """Refuse a seed that an existing workspace would not hear of, and settings that are wrong.

    Raises:
        BadInput: its own is another one, or its settings cannot be read.
    """
    own = read_settings(workspace).workspace.seed
    if seed not in (None, own):
        raise BadInput(f"--seed: {workspace} is a workspace already and keeps its seed, {own}: "
                       f"change it in {workspace / SETTINGS_NAME}, or give a new folder")


def checked(models: ModelConfig) -> ModelConfig:
    """The models with folders as absolute paths.

    Raises:
        BadInput: a folder is not there, or holds no checkpoint or adapter, or one that would be
            refused when it is loaded, as far as a look tells, or a trial that takes but a moment.
    """
    checkpoint = _checkpoint("--checkpoint", models.checkpoint)
    return dataclasses.replace(
        models, checkpoint=checkpoint,
        pretrained_checkpoint=_checkpoint("--pretrained-checkpoint", models.pretrained_checkpoint),
        sft_adapter=_adapter(models.sft_adapter, checkpoint) if models.sft_adapter else "")


def _checkpoint(flag: str, name: str) -> str:
    """A folder is checked now; a hub id only when it is loaded, for that needs the network."""
    looks_like_folder = (name.startswith((".", "/", "~")) or name.count("/") > 1
                         or Path(name).expanduser().is_dir())
    if name in ("", EMBEDDED) or not looks_like_folder:
        return name
    folder = _folder(flag, name, "config.json")
    from backbone.checkpoint import check_early

    try:
        check_early(folder, for_rewards=flag != "--checkpoint")
    except BadInput as error:
        raise BadInput(str(error).replace("--checkpoint", flag, 1)) from None
    return folder


def _adapter(name: str, checkpoint: str) -> str:
    folder = _folder("--sft-adapter", name, "adapter_config.json")
    from backbone.checkpoint import EMBEDDED_NAME
    from backbone.storage import check_adapter

    try:
        check_adapter(Path(folder), EMBEDDED_NAME if checkpoint == EMBEDDED else checkpoint)
    except BadInput as error:
        raise BadInput(f"--sft-adapter: {error}") from None
    return folder


def _folder(flag: str, name: str, needed: str) -> str:
    folder = Path(name).expanduser().resolve()
    if not (folder / needed).is_file():
        raise BadInput(f"{flag}: {folder} holds no {needed}")
    return str(folder)


@contextmanager
def _private(parent: Path, name: str) -> Iterator[Path]:
    """A private folder, named so and by its process, removed unless it was moved away."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.name.startswith(name) and not _alive(left.name.removeprefix(name)):
            shutil.rmtree(left, ignore_errors=True)  # a killed init's
    partial = parent / f"{name}{os.getpid()}"
    partial.mkdir(mode=0o700)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_up(partial: Path, workspace: Path) -> None:
    """Move what was built into the folder around it: all, or nothing."""
    from data.store import DATABASE_NAME

    with suppress(PermissionError):  # another user's, such as a mounted disk's
        workspace.chmod(0o700)
    moved: list[Path] = []
    try:
        for name in FOLDERS:  # made, not moved: where two come at once, the second one fails here
            (workspace / name).mkdir(mode=0o700)
            moved.append(workspace / name)
        for name in (SETTINGS_NAME, DATABASE_NAME):  # it is a workspace once the database is there
            moved.append((partial / name).rename(workspace / name))
    except BaseException:
        for path in moved:
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _fill(folder: Path, plan: Plan, models: ModelConfig) -> int:
    from data.store import DATABASE_NAME, Store

    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700)
    (folder / SETTINGS_NAME).write_text(settings_text(_given(models, plan.seed)), "utf-8")
    (folder / DATABASE_NAME).touch(mode=0o600)
    store = Store(folder / DATABASE_NAME)
    if plan.starter_prompts:
        store.prompts.add_starters()
    if plan.prompts:
        _import(store, plan.prompts)
    _first_version(store, models)
    count = store.prompts.count()
    store.database.connection.close()  # folds the write-ahead log into the file before the move
    return count


def _given(models: ModelConfig, seed: int | None) -> Mapping[str, Mapping[str, Any]]:
    default = dataclasses.asdict(ModelConfig())
    given = {"models": {k: v for k, v in dataclasses.asdict(models).items() if v != default[k]}}
    return given if seed is None else {**given, "workspace": {"seed": seed}}


def _first_version(store: Store, models: ModelConfig) -> None:
    """The frozen reference, which is the first policy as well."""
    method = "sft" if models.sft_adapter else "base"
    store.versions.add_policy(name=method, base=models.checkpoint, method=method,
                              path=models.sft_adapter or None,
                              config=dataclasses.asdict(models))
