"""The engineers' page of rounds: what each made, and from whose labels it came."""

from __future__ import annotations

import html

import streamlit as st

from annotate.engineers.reward_figures import accuracy_words
from annotate.figures import (
    NOTHING,
    Linked,
    cell_html,
    facts_html,
    moment,
    name_of,
    share,
    table_html,
)
from annotate.session import guarded, store
from data.measures.agreement import win_rate
from data.measures.statistics import Estimate, percent
from data.records import Labeler, PolicyVersion, RewardModel, Round
from data.reward_reports import held_out_accuracy, judge, latest_report
from data.store import Store

REFRESH_SECONDS = 10
PAGE_SIZE = 5
#: More labelers than this are counted, and named in a fold.
MOST_NAMED = 8
_STAGES = {"sampling": "writing responses", "stopped": "not all responses are written",
           "labeling": "labeling",
           "training": "training the reward model", "improving": "improving the policy",
           "done": "done"}


@guarded("rounds")
def page(labeler: Labeler) -> None:
    """Newest round first, some at a time, then every version."""
    st.fragment(_rounds, run_every=REFRESH_SECONDS)()


@guarded("rounds")
def _rounds(labeler: Labeler) -> None:
    st.subheader("Rounds")
    turns = store().rounds.all()
    if not turns:
        st.write("No round has been opened yet: *Open the next round*, on Jobs, does it.")
    number = 1 if len(turns) <= PAGE_SIZE else st.pagination(
        -(-len(turns) // PAGE_SIZE), key="rounds-page")
    for turn in turns[::-1][(number - 1) * PAGE_SIZE:number * PAGE_SIZE]:
        with st.container(border=True):
            _round(turn)
    policies = store().versions.policies()
    if policies:
        st.markdown("#### Policy versions")
        st.html(table_html(("Name", "Method", "From", "Reward model", "Made"), [
            (_policy(v.id), v.method, _policy(v.parent_id), _reward(v.reward_model_id),
             moment(v.created_at)) for v in reversed(policies)]))
    models = store().versions.reward_models()
    if models:
        st.markdown("#### Reward models")
        st.html(table_html(("Name", "Held-out accuracy", "Its baselines", "Made"), [
            _reward_row(m) for m in reversed(models)]))
        st.html('<p class="pf-about">The <a href="/reward" target="_self">Reward model</a> page '
                "has the whole report on each.</p>")


def _round(turn: Round) -> None:
    policy = store().versions.policy(turn.policy_version_id)
    given, wanted = store().tasks.progress(turn.id)
    path = str(store().database.path)
    win = _win_rate(store(), path, turn.id, store().comparisons.latest(turn.id))
    stage = store().rounds.stage_now(turn)
    st.markdown(f"**Round {turn.number}** :gray-badge[{_STAGES.get(stage, stage)}]")
    facts = [("Policy", policy.name, f"{policy.method}, opened {moment(turn.created_at)}"),
             ("Labels", f"{given:,} of {wanted:,}",
              percent(given / wanted) if wanted else "no pairs yet")]
    if turn.policy_version_id != turn.reference_id:
        facts.append(("Beats the reference", *share(win)))
    st.html(facts_html(facts))
    _made_by(turn)
    _lineage(turn, policy)


@st.cache_data(max_entries=200, show_spinner=False)
def _win_rate(_store: Store, path: str, round_id: int, latest: int) -> Estimate | None:
    """A round's, counted anew only when something in it was answered: rounds are large, and the
    page looks again every few seconds. `path` and `latest` tell one count from another."""
    return win_rate(_store, round_id)


@st.cache_data(max_entries=200, show_spinner=False)
def _labelers_behind(_store: Store, path: str, version_id: int) -> dict[str, int]:
    """A version's, which never change."""
    return _store.versions.labelers_behind(version_id)


def _made_by(turn: Round) -> None:
    """Who labeled this round, kinds told apart."""
    counts = store().comparisons.by_labeler(turn.id)
    if not counts:
        return
    people = {person.id: person for person in store().people.all()}
    names = ", ".join(f"{name_of(people[who])} ({n:,})" for who, n in counts.items())
    if len(counts) <= MOST_NAMED:
        st.text(f"Labels from {names}")
    else:
        with st.expander(f"Labels from {len(counts):,} labelers", key=f"labels-{turn.id}"):
            st.text(names)
    if store().comparisons.with_repeats(turn.id):
        st.caption("Hidden repeats are among these, and not among the labels that the round wants.")


def _lineage(turn: Round, policy: PolicyVersion) -> None:
    """The walk back from the round's policy: versions, reward models, labels, labelers."""
    if policy.parent_id is None:
        return
    lines: list[str] = []
    step: PolicyVersion | None = policy
    while step is not None:
        reward = "" if step.reward_model_id is None else \
            f" by {html.escape(step.method)} against reward model " \
            f"{cell_html(_reward(step.reward_model_id))}"
        parent = None if step.parent_id is None else store().versions.policy(step.parent_id)
        origin = f", from {cell_html(_policy(parent.id))}" if parent else " (reference)"
        lines.append(f"<li>{cell_html(_policy(step.id))}{origin}{reward}</li>")
        step = parent
    behind = _labelers_behind(store(), str(store().database.path), policy.id)
    people = {person.name: person for person in store().people.all()}
    links = ", ".join(
        cell_html(Linked(name_of(people[name]), f"/browse?labeler={people[name].id}"))
        + f" ({n:,} comparisons)" for name, n in behind.items())
    # Of the round, since two rounds may be of one policy.
    with st.expander("Where this policy comes from", key=f"lineage-{turn.id}"):
        st.html(f'<div class="pf-link"><ul>{"".join(lines)}</ul>'
                f"<p>Labelers behind it: {links or 'none'}</p></div>")


def _reward_row(model: RewardModel) -> tuple[str | Linked, ...]:
    report = latest_report(store(), model).metrics
    accuracy = held_out_accuracy(report)
    return (_reward(model.id), NOTHING if accuracy is None else accuracy_words(accuracy),
            judge(report).of_baselines, moment(model.created_at))


def _policy(version_id: int | None) -> str | Linked:
    """A policy version's name, which leads to what it came from and what came of it."""
    return NOTHING if version_id is None else Linked(
        store().versions.policy(version_id).name, f"/browse?policy={version_id}")


def _reward(version_id: int | None) -> str | Linked:
    """The same of a reward model version."""
    return NOTHING if version_id is None else Linked(
        store().versions.reward_model(version_id).name, f"/browse?reward_model={version_id}")
