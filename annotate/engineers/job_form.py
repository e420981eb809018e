"""A form for any kind of job, built from what the worker says it takes (`job_kinds`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotate import actions
from annotate.engineers.refusals import in_titles, refusal
from annotate.figures import as_prose, title_of
from annotate.launch import workspace_of_environment
from annotate.session import store, token
from data.errors import BadInput, PrefloopError
from data.limits import is_finite, too_low
from data.records import RewardModel
from data.reward_reports import verdict
from data.startable import require_work

#: Under which the session keeps which job is in view; one that is started here comes into view.
CHOSEN = "job-chosen"
#: Digits with a comma before every three: thousands to some, a decimal comma to others.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
#: Fields of a job that stands or falls with its reward model; both are asked for together.
_GATED = {"reward_model", "force"}


def show(entry: Mapping[str, Any]) -> None:
    """Help, the common fields, the others in a fold, and the button that starts the job."""
    kind, common = entry["kind"], set(entry.get("common") or ())
    fields = entry["fields"]
    st.caption(entry["help"])
    if kind == "sample" and (
            warning := store().tasks.unfinished_words(store().rounds.current())):
        st.warning(warning)
    if _is_gated(entry):
        _judge(kind)
        fields = [field for field in fields if field["name"] not in _GATED]
    with st.form(f"job-{kind}", border=False):
        first = [field for field in fields if field["name"] in common]
        _widgets(kind, first, min(len(first), 5))
        rest = [field for field in fields if field["name"] not in common]
        if rest:
            with st.expander(f"All settings ({len(rest)} more)"):
                _widgets(kind, rest, 3)
        st.form_submit_button(entry["title"], type="primary", key=f"start-{kind}",
                              on_click=_start, args=(entry,))


def _is_gated(entry: Mapping[str, Any]) -> bool:
    """Whether this kind of job trusts a reward model (see `data.reward_reports.judge`)."""
    return {field["name"] for field in entry["fields"]} >= _GATED


def _judge(kind: str) -> None:
    """Which reward model, and whether it may be used: outside the form, so that it answers."""
    models = {model.name: model for model in reversed(store().versions.reward_models())}
    if not models:
        if store().jobs.unfinished("train-reward"):
            st.info("The job will go by the reward model that is in training.")
        else:
            st.warning("There is no reward model yet: train one first.")
        return
    newest = next(iter(models))
    st.selectbox("Reward model", ["", *list(models)[1:]], key=f"job-{kind}-reward_model",
                 format_func=lambda name: name or f"{newest} (the newest)")
    model = _chosen(kind)
    found = verdict(store(), model) if model else None
    if model is None or found is None or found.standing == "beats":
        return
    said = st.info if found.offered else st.warning
    said(as_prose(f"{model.name}: {found.reason}."))
    if not found.offered:
        # Without help: a finger that presses its sign ticks the box.
        st.checkbox("Use it anyway", key=_word(kind, model))


def _chosen(kind: str) -> RewardModel | None:
    """The reward model that is chosen, else the newest; None where there is none."""
    name = st.session_state.get(f"job-{kind}-reward_model")
    versions = store().versions
    known = versions.reward_models()
    if not known:
        return None
    return versions.reward_model_named(name) if name else known[-1]


def _word(kind: str, model: RewardModel) -> str:
    """Under which the session keeps that somebody insists on a reward model: on this one alone."""
    return f"job-{kind}-force-{model.name}"


def _widgets(kind: str, fields: Sequence[Mapping[str, Any]], wide: int) -> None:
    """Row by row, so that they keep their order where columns stand one below the other."""
    for begin in range(0, len(fields), max(wide, 1)):
        for column, field in zip(st.columns(wide, vertical_alignment="bottom"),
                                 fields[begin:begin + wide], strict=False):
            with column:
                _widget(kind, field)


def _widget(kind: str, field: Mapping[str, Any]) -> None:
    """One field; numbers are typed as text, since 1e-5 has no place in a number box."""
    name, default, key = field["name"], field["default"], _key(kind, field)
    label, help_text = title_of(name), field.get("help") or None
    if field["type"] == "bool":
        # No checkbox: a finger that presses its help would tick it.
        st.radio(label, (True, False), 0 if default else 1, key=key, help=help_text,
                 format_func=lambda on: "Yes" if on else "No", horizontal=True)
    elif field["type"] == "choice":
        choices = list(field["choices"])
        st.selectbox(label, choices, choices.index(default), key=key, help=help_text)
    elif field["type"] == "list":
        st.text_area(label, "\n".join(default or ()), key=key, help=help_text, height=80)
    else:
        st.text_input(label, "" if default is None else str(default), key=key, help=help_text)


def _start(entry: Mapping[str, Any]) -> None:
    try:
        config = {}
        if any(field["name"] == "reward_model" for field in entry["fields"]):
            _require_a_reward_model()
        require_work(store(), entry["kind"])
        insisted = _insisted(entry["kind"]) if _is_gated(entry) else {}
        for field in entry["fields"]:
            value = parse(field, st.session_state.get(_key(entry["kind"], field)))
            if value != field["default"]:
                config[field["name"]] = value
        config |= insisted
        actions.require(store(), token(), "rounds")  # nobody else has anything looked at
        if refused := refusal(workspace_of_environment(), entry["kind"], config):
            raise BadInput(in_titles(refused, {field["name"] for field in entry["fields"]}))
        job = actions.start_job(store(), token(), entry["kind"], config)
        st.session_state["jobs-notice"] = f"Job {job.id} is queued."
        st.session_state[CHOSEN] = job.id
    except PrefloopError as error:
        st.session_state["jobs-error"] = f"NOT started: {error}"


def _require_a_reward_model() -> None:
    """There is one, or will be when a job that is asked for now has its turn."""
    if not (store().versions.reward_models() or store().jobs.unfinished("train-reward")):
        raise BadInput("there is no reward model yet; train one first")


def _insisted(kind: str) -> dict[str, Any]:
    """What the job says of a reward model that it takes by somebody's word: its name too, since by
    the job's turn another may be the newest. Empty where it takes no word.

    Raises:
        BadInput: it takes one, and nobody has given it.
    """
    model = _chosen(kind)
    found = verdict(store(), model) if model else None
    if model is None or found is None or found.offered:
        return {}
    if not st.session_state.get(_word(kind, model)):
        raise BadInput(f"the reward model: {found.reason}; label more pairs and train again, or "
                       "tick Use it anyway")
    return {"force": True, "reward_model": model.name}


def parse(field: Mapping[str, Any], value: Any) -> Any:
    """A form's value as the field's type; empty gives the default.

    Raises:
        BadInput: it is no such number, or none that a job can run with.
    """
    kind, name = field["type"], field["name"]
    if value is None or (value == "" and kind != "str"):
        return field["default"]
    if kind == "list":
        return [line.strip() for line in str(value).splitlines() if line.strip()]
    if kind not in ("int", "float"):
        return value
    try:
        number = _number(kind, str(value).strip())
        if wrong := too_low(number, field.get("least"), field.get("above")):
            raise BadInput(wrong)
        return number
    except BadInput as error:
        raise BadInput(f"{title_of(name)}: {error}") from None


def _number(kind: str, text: str) -> int | float:
    """A number as people type it. Raises BadInput, without the field's name."""
    if _THOUSANDS.fullmatch(text):
        raise BadInput(f"{text} can be read in two ways; write {text.replace(',', '')}, or a point "
                       "before decimals")
    plain = text.replace(",", ".")
    try:
        # Python's own numbers may have underscores, and the digits of any script.
        if not text.isascii() or "_" in text:
            raise ValueError(text)
        number = int(plain) if kind == "int" else float(plain)
    except ValueError:
        wanted = "a whole number" if kind == "int" else "a number"
        raise BadInput(f"wanted {wanted}, not {text!r}") from None
    if not is_finite(number):
        raise BadInput(f"wanted a finite number, not {text!r}")
    return number


def _key(kind: str, field: Mapping[str, Any]) -> str:
    return f"job-{kind}-{field['name']}"
