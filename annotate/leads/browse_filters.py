"""What the search of the Browse page is asked for, which lives in the address.

The address is what counts: it can be reloaded, kept and sent, and the browser's way back undoes a
choice. Every run sets the widgets by it; a widget that is changed writes it anew, before the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from annotate.figures import as_label, name_of
from annotate.session import store
from data.lineage import KINDS as THINGS
from data.records import PURPOSES, SPLITS
from data.search import HEEDED, KINDS, VERDICTS, Filters, flags, sources, tags

_CHOICES_SECONDS = 60
_KIND = "what"
_ANSWERS = KINDS[0]
#: How the address calls each filter; names of things are taken, by their cards.
_NAMES = {"text": "words", "round_id": "in", "labeler_id": "of", "purpose": "purpose",
          "verdict": "verdict", "flag": "flag", "tag": "tag", "source": "source",
          "split": "split"}
assert not {_KIND, *_NAMES.values()} & set(THINGS)
_LAST = "browse-last"

#: Of each filter but the words: its title, and what it can be set to with what that is called.
Offered = Mapping[str, tuple[str, Mapping[Any, str]]]


def choose() -> tuple[str, Filters, Offered]:
    """Draw the widgets as the address has them; returns what to search."""
    offered = _offered()
    kind, filters = read(st.query_params, offered)
    _keep("kind", kind)
    st.segmented_control("What", KINDS, required=True, format_func=str.capitalize,
                         key=_key("kind"), label_visibility="collapsed", on_change=_write)
    _keep("text", filters.text)
    st.text_input("Search", key=_key("text"), placeholder='Words, or "a phrase"',
                  label_visibility="collapsed", on_change=_write)
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom",
                      key="browse-filters"):
        for name, (title, options) in offered.items():
            if name in HEEDED[kind]:
                _keep(name, getattr(filters, name))
                st.selectbox(title, list(options), index=None, placeholder="Any", width=168,
                             format_func=options.__getitem__, key=_key(name), on_change=_write)
        if filters != Filters():
            st.button("Clear filters", icon=":material/filter_alt_off:", on_click=_clear,
                      args=(kind,), key="browse-clear")
    st.session_state[_LAST] = address(kind, filters)
    return kind, filters, offered


def back_to_search() -> None:
    """Leave a card for the search that was last on this page."""
    st.query_params.from_dict(st.session_state.get(_LAST, {}))


def read(params: Mapping[str, str], offered: Offered) -> tuple[str, Filters]:
    """What an address asks for; what it names that is not on offer is left aside."""
    kind = params.get(_KIND, _ANSWERS)
    kind = kind if kind in KINDS else _ANSWERS
    chosen = {name: next((option for option in offered[name][1]
                          if str(option) == params.get(_NAMES[name])), None)
              for name in offered if name in HEEDED[kind]}
    return kind, Filters(text=params.get(_NAMES["text"], ""), **chosen)


def address(kind: str, filters: Filters) -> dict[str, str]:
    """The query of the address that asks for this; nothing for what is so anyway."""
    asked = {_NAMES[name]: str(value) for name in _NAMES
             if name in HEEDED[kind] and (value := getattr(filters, name)) not in (None, "")}
    return asked if kind == _ANSWERS else {_KIND: kind, **asked}


def in_words(filters: Filters, offered: Offered) -> str:
    """The filters in force, as Markdown: `words “river”, labeler Ada, round 2`."""
    said = [f"words “{as_label(filters.text)}”"] if filters.text else []
    for name, (title, options) in offered.items():
        value = getattr(filters, name)
        if value is not None:
            label = as_label(options[value])
            said.append(label if name == "round_id" else f"{title.lower()} {label}")
    return ", ".join(said)


def _offered() -> Offered:
    known = _choices(str(store().database.path))
    rounds = {turn.id: f"Round {turn.number}" for turn in store().rounds.all()[::-1]}
    people = {person.id: name_of(person) for person in store().people.all()}
    return {"round_id": ("Round", rounds), "labeler_id": ("Labeler", people),
            "purpose": ("Purpose", {p: p.capitalize() for p in PURPOSES}),
            "verdict": ("Verdict", {v: v.capitalize() for v in VERDICTS}),
            "flag": ("Flag", {flag: flag for flag in known["flag"]}),
            "tag": ("Tag", {tag: tag for tag in known["tag"]}),
            "source": ("Source", {source: source for source in known["source"]}),
            "split": ("Split", {s: s.replace("_", "-").capitalize() for s in SPLITS})}


@st.cache_data(ttl=_CHOICES_SECONDS, show_spinner=False)
def _choices(path: str) -> dict[str, list[str]]:
    """What there is to choose from; read at most once a while, since it reads every row."""
    return {"tag": tags(store()), "source": sources(store()), "flag": flags(store())}


def _key(name: str) -> str:
    return f"browse-{name}"


def _keep(name: str, value: Any) -> None:
    """Let a widget show what the address says; unset only where it differs, to disturb nobody."""
    if _key(name) not in st.session_state or st.session_state[_key(name)] != value:
        st.session_state[_key(name)] = value


def _write() -> None:
    """A widget was changed: the address says so, and the browser can go back to what was."""
    offered = _offered()
    before = read(st.query_params, offered)[1]
    kind = st.session_state[_key("kind")] or _ANSWERS
    chosen: dict[str, Any] = {name: st.session_state.get(_key(name)) for name in _NAMES}
    chosen["text"] = chosen["text"] or ""
    for name, (_, options) in offered.items():
        # What was renamed while the page was open comes under its old name, as a bare text.
        if chosen[name] is not None and chosen[name] not in options:
            chosen[name] = getattr(before, name)
    st.query_params.from_dict(address(kind, Filters(**chosen)))


def _clear(kind: str) -> None:
    st.query_params.from_dict(address(kind, Filters()))
