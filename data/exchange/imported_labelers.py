"""The labelers of kind `imported`: one for a file, or one for each annotator that a file names.

Their names come from files: made printable and short here, and never those of anybody who can sign
in, whose answers they would pass for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.exchange.reading import name_of
from data.people import LONGEST_NAME
from data.records import Labeler
from data.store import Store

_ROOM_FOR_NUMBER = 8


def labeler_of_file(store: Store, path: Path) -> Labeler:
    """The labeler who stands for a file that does not tell its annotators apart."""
    known = {labeler.name: labeler for labeler in store.people.all()}
    file = name_of(path)
    name, number = _plain(file), 1
    while name in known and known[name].kind != "imported":
        number += 1
        name = f"{_plain(file)} {number}"
    return known.get(name) or store.people.add(name, kind="imported", config={"file": file})


def labelers_of(store: Store, annotators: Sequence[str], path: Path) -> dict[str, int]:
    """The labelers of these annotators ("label-studio/3"), by what the file calls them.

    An annotator is the same in every file; two whose names look alike are still two.
    """
    taken, known = set(), {}
    for labeler in store.people.all():
        taken.add(labeler.name)
        if labeler.kind == "imported" and "annotator" in labeler.config:
            known[labeler.config["annotator"]] = labeler.id
    for annotator in annotators:
        if annotator not in known:
            plain = name = _plain(annotator)
            number = 1
            while name in taken:
                number += 1
                name = f"{plain} {number}"
            taken.add(name)
            known[annotator] = store.people.add(
                name, kind="imported", config={"annotator": annotator, "file": name_of(path)}).id
    return {annotator: known[annotator] for annotator in annotators}


def _plain(name: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(name.split()))
    return printable[:LONGEST_NAME - _ROOM_FOR_NUMBER].strip() or "unnamed"
