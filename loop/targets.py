"""Files that a command is to write: refused at once where writing them could not end well."""

from __future__ import annotations

import os
from pathlib import Path

from data.errors import BadInput


def check_target(file: Path, overwrite: bool, *sources: Path, flag: str = "") -> None:
    """Refuse a file that could not be written, or whose content nobody said may go.

    Asked before any work, so that nothing is computed for a file that then cannot be kept.

    Args:
        file: where the command is to write.
        overwrite: whether what is there may be replaced.
        sources: the files that the command reads, which are never replaced by what came of them:
            the workspace's database, and what else it is given.
        flag: the flag that names the file; empty where it stands without one.

    Raises:
        BadInput: the file is a folder, a device, a pipe or a source, its folder is not there or
            cannot be written, or it is there already and may not be replaced.
    """
    place = f"{flag}: " if flag else ""
    folder = file.resolve().parent
    if file.is_dir():
        raise BadInput(f"{place}{file} is a folder: give a file name")
    if (file.exists() and not file.is_file()) or _is_stream(file):
        raise BadInput(f"{place}{file} is a device or a pipe: give a file name")
    if not folder.is_dir():
        raise BadInput(f"{place}there is no folder {folder}: make it, or give another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"{place}nothing may be written in {folder}: give a file in another folder")
    if file.exists() and any(source.exists() and file.samefile(source) for source in sources):
        raise BadInput(f"{place}{file} is the file that is read: give another name")
    if file.exists() and not overwrite:
        raise BadInput(f"{place}{file} is there already: give another name, or --overwrite")


def _is_stream(file: Path) -> bool:
    """Whether it is a name such as /dev/stdout, also where that stands for a file: what is written
    is moved into its place, so root would take the name away from everybody."""
    folder = file.parent.resolve()
    return folder == Path("/dev") or folder.is_relative_to("/proc")
