"""Names in the settings' labels stay names: labels are Markdown to Streamlit."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from annotate.figures import as_label
from annotate.leads import guidelines
from data.store import Store

HOSTILE = "![x](http://evil.test/x) **bold** :material/delete:"


def test_who_wrote_the_guidelines_is_no_markdown(store: Store,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    lead = store.people.add(HOSTILE, "lead")
    store.questions.write_guidelines("Be fair.", lead.id)
    labels: list[str] = []

    def expander(label: str, **_: Any) -> Any:
        labels.append(label)
        return nullcontext(SimpleNamespace(open=False))

    monkeypatch.setattr(guidelines, "store", lambda: store)
    monkeypatch.setattr(st, "expander", expander)
    for old in store.questions.all_guidelines():
        guidelines._version(old, current=1)
    assert len(labels) == 1 and as_label(lead.name) in labels[0] and lead.name not in labels[0]
