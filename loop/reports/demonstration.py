"""What a demonstration has to show: a table, a JSON document and a self-contained HTML page.

Every figure comes from the workspace's database, with its n and its 95 % interval; whatever a
simulated labeler had a hand in says so. What people do in the workspace later is left out: other
rounds, other models, and their own answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.simulated import PREFERENCES
from data.errors import workspace_flag
from data.measures.agreement import percent_agreement, win_rate
from data.measures.statistics import Estimate, clustered_mean, mean_of_means
from loop.reports import html_page as page

if TYPE_CHECKING:
    from data.records import Job, Response, Round
    from data.store import Store

_COLUMNS = (("comparisons", "comparisons"), ("agreement", "labelers agree"),
            ("accuracy", "reward model, held out"), ("kl", "KL to reference (nats)"),
            ("gold", "mean gold score"), ("win_rate", "win rate vs. reference"),
            ("gold_win_rate", "gold win rate"))
_SHARES = {"agreement", "accuracy", "win_rate", "gold_win_rate"}
_EXAMPLES = 12


def build_report(store: Store, jobs: Sequence[Job], *, tiny: bool, seed: int,
                 paused: bool) -> dict[str, Any]:
    """All figures, as JSON can hold them: `rounds` holds one entry a round.

    `jobs` are the demonstration's own, in order; `paused`: one of them was not run in one go.
    """
    return {
        "claims": "none: a tiny random model" if tiny else "simulated labelers",
        "seed": seed, "labelers": [{"name": a.name, "kind": a.kind, **a.config}
                                   for a in store.people.all("simulated")],
        "gold": "VADER compound score of the response, -1 to 1",
        "rounds": [_round(store, store.rounds.get(job.round_id), job, {j.id for j in jobs})
                   for job in jobs if job.kind == "sample" and job.round_id is not None],
        "seconds": _seconds(jobs), "paused": paused,
        "ppo": [{"job": job.id, "steps": store.jobs.metrics(job.id)}
                for job in jobs if job.kind == "ppo"]}


def print_report(report: Mapping[str, Any], workspace: Path) -> None:
    """The table on standard output."""
    from loop.output import duration, print_table

    title = ("Demonstration with simulated labelers (positive sentiment, VADER), "
             f"{duration(sum(report['seconds'].values()))} "
             + ("with the pauses between its runs" if report["paused"] else "of work"))
    print_table(title, ["round", *(words for _, words in _COLUMNS)],
                [[row["round"], *(_words(row, key) for key, _ in _COLUMNS)]
                 for row in report["rounds"]])
    if report["claims"].startswith("none"):
        print("\nA tiny random model: the figures claim nothing.")
    for line in _forced(report):
        print(f"\n{line}")
    print(f"\nReport: {workspace / 'report.html'}\n"
          f"Open the workspace: prefloop up {workspace_flag(workspace)}")


def write_html(report: Mapping[str, Any], store: Store, path: Path) -> None:
    """The same as one HTML file with plots, which loads nothing from anywhere."""
    page.write(path, "prefloop demonstration", [
        *([page.paragraph("A tiny random model: this page shows that the code runs and claims "
                          "nothing.")] if report["claims"].startswith("none") else []),
        page.paragraph("All labelers are simulated: they prefer positive sentiment (VADER's "
                       "compound score) and answer with noise. Intervals are 95 %, clustered by "
                       "prompt."),
        page.table(["round", *(words for _, words in _COLUMNS)],
                   [[str(row["round"]), *(_words(row, key) for key, _ in _COLUMNS)]
                    for row in report["rounds"]]),
        *(page.paragraph(line) for line in _forced(report)),
        "<h2>PPO</h2>", page.plot(_plots(report), first=True),
        "<h2>Reference and final policy on held-out prompts</h2>",
        _examples(store, report["rounds"][-1]["round"])])


def _forced(report: Mapping[str, Any]) -> list[str]:
    """Where the gate would have held the demonstration up."""
    return [f"Round {row['round']}: {row['gate']}. A demonstration goes on all the same."
            for row in report["rounds"] if row["gate"]]


def _round(store: Store, round_: Round, sampled: Job, own: Collection[int]) -> dict[str, Any]:
    """A round that the job sampled, as far as the `own` jobs worked for it."""
    simulated = {labeler.id for labeler in store.people.all("simulated")}
    comparisons = [c for c in store.comparisons.current(round_id=round_.id)
                   if c.labeler_id in simulated]
    rewards = [m for m in store.versions.reward_models()
               if m.round_id == round_.id and m.job_id in own]
    accuracy = rewards[-1].metrics["held_out_accuracy"] if rewards else None
    return {
        "round": round_.number,
        "policy": store.versions.policy(round_.policy_version_id).name,
        "comparisons": len(comparisons),
        "agreement": _dict(percent_agreement(comparisons)),
        "accuracy": accuracy,
        "gate": next((v.metrics["gate"] for v in store.versions.policies()
                      if v.round_id == round_.id and v.job_id in own and "gate" in v.metrics),
                     None),
        "kl": (sampled.result or {}).get("kl"),
        "gold": _dict(_gold(store, round_)),
        "win_rate": _dict(win_rate(store, round_.id, ("simulated",))),
        "gold_win_rate": _dict(_gold_win_rate(store, round_))}


def _gold(store: Store, round_: Round) -> Estimate | None:
    """Mean gold score of the round's policy on held-out prompts; n counts prompts."""
    held_out = {p.id for p in store.prompts.all(split="held_out")}
    responses = [r for r in store.responses.of_round(round_.id, round_.policy_version_id)
                 if r.prompt_id in held_out]
    return mean_of_means([_gold_of(r) for r in responses], [r.prompt_id for r in responses])


def _gold_win_rate(store: Store, round_: Round) -> Estimate | None:
    """How often the policy's response scores higher than the reference's; equal counts half."""
    won, prompts = [], []
    for mine, its in _head_to_head(store, round_):
        difference = _gold_of(mine) - _gold_of(its)
        won.append(0.5 if difference == 0 else float(difference > 0))
        prompts.append(mine.prompt_id)
    return clustered_mean(won, prompts)


def _head_to_head(store: Store, round_: Round) -> list[tuple[Response, Response]]:
    """(policy's, reference's) responses of the round's evaluate tasks."""
    pairs = []
    for task in store.tasks.of_round(round_.id, "evaluate"):
        both = {r.policy_version_id: r for r in store.responses.get(task.response_ids)}
        if {round_.policy_version_id, round_.reference_id} == both.keys():
            pairs.append((both[round_.policy_version_id], both[round_.reference_id]))
    return pairs


def _gold_of(response: Response) -> float:
    return PREFERENCES["sentiment"](response.text)


def _seconds(jobs: Sequence[Job]) -> dict[str, float]:
    """From the first start to the end, by kind of job."""
    from datetime import datetime

    total: dict[str, float] = {}
    for job in jobs:
        if job.started_at and job.finished_at:
            spent = datetime.fromisoformat(job.finished_at) - datetime.fromisoformat(
                job.started_at)
            total[job.kind] = total.get(job.kind, 0.0) + spent.total_seconds()
    return total


def _dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_dict()


def _words(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if value is None:
        return "–"
    if not isinstance(value, Mapping):
        return str(value)
    estimate = Estimate.from_dict(value)
    if key in _SHARES:
        return estimate.percent()
    return estimate.rounded(2)


def _plots(report: Mapping[str, Any]) -> Any:
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    names = (("reward", "reward (reference = 0)"), ("kl", "KL to reference, nats"),
             ("length", "length, tokens"), ("entropy", "entropy, nats"))
    figure = make_subplots(rows=2, cols=2, subplot_titles=[title for _, title in names])
    for number, run in enumerate(report["ppo"]):
        steps = [entry["step"] + 1 for entry in run["steps"]]
        for place, (name, _) in enumerate(names):
            figure.add_trace(Scatter(
                x=steps, y=[entry.get(name) for entry in run["steps"]], name=f"round {number}",
                legendgroup=str(number), showlegend=place == 0, mode="lines+markers",
                line={"color": ("#3366cc", "#dc3912")[number % 2]}),
                row=place // 2 + 1, col=place % 2 + 1)
    figure.update_xaxes(title_text="step", row=2)
    figure.update_layout(height=520, margin={"l": 40, "r": 20, "t": 40, "b": 40},
                         legend={"orientation": "h"})
    return figure


def _examples(store: Store, number: int) -> str:
    last = next(round_ for round_ in store.rounds.all() if round_.number == number)
    pairs = _head_to_head(store, last)[:_EXAMPLES]
    return page.table(["prompt", "reference", "final policy"],
                      [[store.prompts.get(mine.prompt_id).text, its.text, mine.text]
                       for mine, its in pairs], "text")
