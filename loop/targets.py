"""Files that a command is to write: refused at once where writing them could not end well."""

from __future__ import annotations

from pathlib import Path

from data.errors import BadInput


def check_target(file: Path, overwrite: bool, *, flag: str = "",
                 source: Path | None = None) -> None:
    """Refuse a file that could not be written, or whose content nobody said may go.

    Asked before any work, so that nothing is computed for a file that then cannot be kept.

    Args:
        file: where the command is to write.
        overwrite: whether what is there may be replaced.
        flag: the flag that names the file; empty where it stands without one.
        source: a file that the command reads, which is never replaced by what came of it.

    Raises:
        BadInput: the file is a folder or the source, its folder is not there, or it is there
            already and may not be replaced.
    """
    place = f"{flag}: " if flag else ""
    folder = file.resolve().parent
    if file.is_dir():
        raise BadInput(f"{place}{file} is a folder: give a file name")
    if not folder.is_dir():
        raise BadInput(f"{place}there is no folder {folder}: make it, or give another name")
    if source is not None and source.exists() and file.exists() and file.samefile(source):
        raise BadInput(f"{place}{file} is the file that is read: give another name")
    if file.exists() and not overwrite:
        raise BadInput(f"{place}{file} is there already: give another name, or --overwrite")
