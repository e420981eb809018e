"""Files in and out: import, export, score, backup and restore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.durable import whole
from data.errors import BadInput
from data.plain_json import finite, to_json
from loop.options import Common, File, MaybeFile, Switch
from loop.output import Bar, note
from loop.settings import SETTINGS_NAME, read_settings
from loop.targets import check_target

if TYPE_CHECKING:
    from data.exchange.reading import Row
    from data.records import Message


@dataclass(frozen=True)
class Import(Common):
    """Import prompts, preferences, published sets, or exports of other tools."""

    file: File
    """JSON Lines, JSON, CSV or text, also with .gz, or Parquet: prompts (`prompt` or `messages`);
    preferences (`prompt`, `chosen`, `rejected`, or Anthropic HH's transcripts); comparisons:
    responses and which is better, or with grades, and what Label Studio, Argilla, OpenAssistant
    and prefloop export."""

    what: Literal["auto", "prompts", "preferences", "comparisons"] = "auto"
    """What the file holds; auto: told by its fields."""

    format: Literal["auto", "jsonl", "json", "csv", "txt", "parquet", "label-studio", "argilla",
                    "oasst", "prefloop"] = "auto"
    """How it is written, told by its name if auto; or the tool that it comes from, told by its
    fields if auto."""

    prompt_field: str = ""
    """The field of the prompt, where a file of comparisons names it in its own way."""

    response_fields: tuple[str, ...] = ()
    """The fields of the responses, likewise, in the order of the tool's page; or the one field
    that lists them."""

    def run(self) -> None:
        """Import all of the file, or nothing."""
        from data.exchange.foreign_fields import Fields
        from data.exchange.importing import import_file
        from data.exchange.sniffing import TOOLS

        tool = self.format if self.format in TOOLS else None
        report = import_file(
            self.store(), self.file, None if tool or self.format == "auto" else self.format,
            tool=tool, what=None if self.what == "auto" else self.what,
            fields=Fields(self.prompt_field, self.response_fields))
        self.show(report.as_dict(), str(report))


@dataclass(frozen=True)
class Export(Common):
    """Export preferences, comparisons, responses or demonstrations, also for other tools."""

    file: File
    """Where to; .jsonl, .csv or .parquet; for Label Studio .json, for Argilla .json or .jsonl, for
    OpenAssistant .jsonl. It must not exist unless --overwrite is given."""

    what: Literal["auto", "comparisons", "preferences", "responses", "demonstrations"] = "auto"
    """What to export; preferences and demonstrations are what TRL's reward and SFT trainers take as
    they are; auto: preferences, or comparisons for another tool."""

    format: Literal["auto", "jsonl", "csv", "parquet", "label-studio", "argilla",
                    "oasst"] = "auto"
    """File format, told by the file's suffix if auto; or the tool that the file is for."""

    overwrite: Switch = False
    """Replace the file if it is there."""

    def run(self) -> None:
        """Write the file whole, or not at all."""
        from data.exchange.exporting import TOOLS, export

        check_target(self.file, self.overwrite, self.database)
        what = self.what
        if what == "auto":
            what = "comparisons" if self.format in TOOLS else "preferences"
        report = export(self.store(), self.file, what,
                        None if self.format == "auto" else self.format)
        self.show({"file": str(self.file), **report.as_dict()}, f"{self.file}: {report}")


@dataclass(frozen=True)
class Score(Common):
    """Score each row of a file with a reward model; with an ensemble, also how far it differs."""

    file: File
    """JSON Lines, JSON, CSV or Parquet with `prompt` (text or messages) and `response`, or with
    `messages` that end with the assistant's."""

    output: MaybeFile = None
    """Write the rows with their `score` (and with an ensemble the `spread` of its members' scores)
    here as JSON Lines, instead of to standard output. It must not exist unless --overwrite is
    given, and is never the file that is scored."""

    overwrite: Switch = False
    """Replace the output file if it is there."""

    reward_model: str = ""
    """Name of the reward model; empty: the newest."""

    def run(self) -> None:
        """Score every row, in the file's order."""
        if self.output is not None:
            check_target(self.output, self.overwrite, self.database, self.file, flag="--output")
        from data.exchange.reading import read_rows
        from loop.stages.rewarding import score

        rows = list(read_rows(self.file))
        if not rows:
            raise BadInput(f"{self.file}: the file holds no rows")
        conversations = [_conversation(row) for row in rows]
        with Bar("score") as bar:
            scores = score(self.store(), self.workspace, read_settings(self.workspace),
                           conversations, self.reward_model, BarProgress(bar))
        scored = [{**row.values, **values} for row, values in zip(rows, scores, strict=True)]
        if replaced := sorted({name for row, values in zip(rows, scores, strict=True)
                               for name in row.values.keys() & values.keys()}):
            note(f"{self.file}: what its rows say under `{'` and `'.join(replaced)}` is replaced "
                 "by what the reward model says")
        if self.output:
            _write_lines(self.output, scored)
            self.show({"file": str(self.output), "n": len(scored)},
                      f"{len(scored):,} scores written to {self.output}")
        else:
            self.show({"rows": scored, "n": len(scored)}, _json_lines(scored))


@dataclass(frozen=True)
class Backup(Common):
    """Copy a consistent state of the database, also while people label and jobs run."""

    file: File
    """Where to; must not exist unless --overwrite is given."""

    overwrite: Switch = False
    """Replace the file if it is there."""

    def run(self) -> None:
        """Write the copy beside its place, then move it there."""
        store = self.store()
        check_target(self.file, self.overwrite, self.database)
        store.database.backup(self.file)
        size = self.file.stat().st_size
        self.show({"file": str(self.file), "bytes": size}, f"{size:,} bytes written to {self.file}")


@dataclass(frozen=True)
class Restore(Common):
    """Put a backup in the place of the database, which is kept beside it.

    So are the adapters that the backup does not name. End `prefloop up` first. Everybody has to
    sign in anew."""

    file: File
    """What `prefloop backup` wrote."""

    def run(self) -> None:
        """Replace the database, while no worker and no command runs a job over it."""
        from data.restoring import free_ending, restore, set_adapters_aside
        from loop.lock import InUse, WorkerLock

        if not (self.database.exists() or (self.workspace / SETTINGS_NAME).is_file()):
            self.store()  # says that there is no workspace
        try:
            lock = WorkerLock(self.workspace)
        except InUse:
            raise InUse(f"{self.workspace} is in use: end `prefloop up`, or the command that runs "
                        "a job there, and restore then") from None
        with lock:
            ending = free_ending(self.workspace)
            kept = restore(self.database, self.file)
            aside = set_adapters_aside(self.workspace / "adapters", self.store().versions, ending)
        self.show({"file": str(self.file), "kept": kept and str(kept),
                   "adapters": aside and str(aside)},
                  f"{self.database} is restored from {self.file}"
                  + (f"; what was there is {kept}" if kept else "")
                  + (f"; adapters that it does not name are in {aside}" if aside else "")
                  + self.here("\neverybody has to sign in anew: `prefloop up` prints a link for "
                              "the lead, `prefloop labeler link NAME` one for anybody"))


class BarProgress:
    """Progress of work that is no job: shown, and kept nowhere."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def update(self, fraction: float, message: str) -> None:
        """Show how far the work is."""
        self._bar.show(fraction, message, None)

    def metrics(self, step: int, values: object) -> None:
        """Nobody keeps these."""


def _conversation(row: Row) -> list[Message]:
    """A row's prompt with its response as the last message.

    Raises:
        BadInput: there is none, or the row could not be written again; with the line.
    """
    from data.exchange.answers import answer_from
    from data.exchange.messages import Unusable
    from data.records import Message

    for name, value in row.values.items():
        try:
            _json_lines([{name: value}]).encode()
        except UnicodeEncodeError:
            raise row.error(f"{name}: holds half of a surrogate pair") from None
        except TypeError:
            raise row.error(f"{name}: JSON has no {type(value).__name__}") from None
    try:
        messages, response = answer_from(row.values, cells=row.is_cells)
    except BadInput as error:
        raise row.error(error) from None
    except Unusable as reason:
        raise row.error(f"{reason}, which has no score; take the row out") from None
    return [*messages, Message(role="assistant", content=response)]


def _json_lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(to_json(finite(row)) for row in rows)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    with whole(path) as partial:
        partial.write_text(_json_lines(rows) + "\n", "utf-8")
