"""The settings' section of the guidelines: written beside their preview, in versions.

What was typed and not saved stays for as long as the session does, wherever one goes meanwhile:
it takes hours to write and a press to lose.
"""

from __future__ import annotations

import streamlit as st

from annotate.figures import as_label, moment
from annotate.leads import lead_actions
from annotate.notices import failing_as, say
from annotate.rendering import to_html
from annotate.session import store, token
from data.questions import LONGEST_GUIDELINES, Guidelines

__all__ = ["show"]
#: The version that the text in the editor began from.
_BEGAN = "guidelines-began"


def show() -> None:
    """The editor and its preview; the versions below."""
    versions = {old.version: old for old in store().questions.all_guidelines()}
    current = max(versions, default=0)
    st.caption("Shown beside each task, as Markdown. Say what better means here, and what to do "
               "in doubt. Each answer keeps the version that it was given under.")
    began = st.session_state[_BEGAN] = _began(versions, current)
    # Not as the editor's `value`, beside which Streamlit allows no other.
    st.session_state.setdefault(_key(began), _text(versions, began))
    write, preview = st.columns(2, gap="medium")
    with write:
        text = st.text_area("Guidelines (Markdown)", height=420, max_chars=LONGEST_GUIDELINES,
                            key=_key(began), persist_state="session") or ""
        with st.container(horizontal=True):
            st.button("Save guidelines", type="primary", on_click=_save, args=(began, current))
            if text != _text(versions, began):
                st.button("Discard draft", on_click=_discard, args=(began,))
        _standing(text, versions, began, current)
    with preview:
        st.html('<div style="font-size: .875rem">Preview</div>')
        with st.container(border=True):
            st.html(f'<div class="pf-text" dir="auto">{to_html(text)}</div>' if text.strip()
                    else '<p class="pf-empty">Nothing written yet.</p>')
    if versions:
        st.markdown("#### Versions")
        for old in versions.values():
            _version(old, current)


def _key(began: int) -> str:
    return f"guidelines-{began}"


def _text(versions: dict[int, Guidelines], version: int) -> str:
    return versions[version].text if version in versions else ""


def _began(versions: dict[int, Guidelines], current: int) -> int:
    """The version in force, unless there is a draft that was begun from an earlier one."""
    began = int(st.session_state.get(_BEGAN, current))
    before = _text(versions, began)
    return current if st.session_state.get(_key(began), before) == before else began


def _standing(text: str, versions: dict[int, Guidelines], began: int, current: int) -> None:
    """Whether what is seen is in force."""
    if began != current:
        newest = versions[current]
        st.warning(as_label(
            f"Version {current} came into force ({moment(newest.created_at)}{_by(newest)}) since "
            "you began this draft. Saving puts the draft in its place."))
    elif text != _text(versions, began):
        st.caption("A draft: not saved yet. It stays while you look at other pages, and is lost "
                   "when you reload or close this one.")


def _by(old: Guidelines) -> str:
    return "" if old.created_by is None else f" · {store().people.get(old.created_by).name}"


def _version(old: Guidelines, current: int) -> None:
    title = f"Version {old.version} · {moment(old.created_at)}{_by(old)}"
    with st.expander(as_label(title + (" · in force" if old.version == current else "")),
                     key=f"guidelines-version-{old.version}", on_change="rerun") as fold:
        if fold.open:
            st.html(f'<div class="pf-text" dir="auto">{to_html(old.text)}</div>')
            if old.version != current:
                st.button("Put in force again", key=f"guidelines-again-{old.version}",
                          on_click=_again, args=(old.text, current))


def _save(began: int, current: int) -> None:
    text = str(st.session_state.get(_key(began)) or "")
    if not text.strip():
        say("NOT saved: the guidelines are empty.")
    elif _put(text, current):
        _discard(began)


def _again(text: str, current: int) -> None:
    _put(text, current)


def _discard(began: int) -> None:
    """Let the editor show what is in force."""
    st.session_state.pop(_BEGAN, None)
    st.session_state.pop(_key(began), None)


def _put(text: str, current: int) -> bool:
    """Put a text in the place of the version that the page says is in force."""
    with failing_as("saved"):
        version = lead_actions.write_guidelines(store(), token(), text, current)
        say(f"Saved: version {version} of the guidelines is in force.")
        return True
    return False
