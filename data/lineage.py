"""Where anything came from and what came of it: one card a thing, with links both ways.

From an answer to its task, the responses, the policy versions that wrote them, the reward models
those learned against, the comparisons and labelers behind these; and from a labeler or an answer
down to every reward model and policy version that learned from it. Whoever may still be asked
about a response is not told who wrote it (`data.blindness`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data.blindness import hidden_from
from data.errors import BadInput
from data.lineage_groups import Group, Groups, Link
from data.people import state_of
from data.records import Task
from data.store import Store


@dataclass(frozen=True)
class Card:
    """One thing: facts about it, what it came from, what came of it. Empty groups are left out."""

    kind: str
    id: int
    title: str
    facts: tuple[tuple[str, str], ...]
    came_from: tuple[Group, ...]
    led_to: tuple[Group, ...]


def card(store: Store, kind: str, thing: int, viewer: int) -> Card:
    """The card of one thing, for a viewer (a labeler's id) who may still be asked about it.

    Raises:
        BadInput: an unknown kind.
        NotFound: there is no such thing.
    """
    if kind not in _CARDS:
        raise BadInput(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    title, facts, came_from, led_to = _CARDS[kind](_Cards(store, viewer), thing)
    return Card(kind, thing, title, tuple(facts), tuple(g for g in came_from if g.links),
                tuple(g for g in led_to if g.links))


_OF_TASK = "SELECT t.{} FROM comparisons c JOIN tasks t ON t.id = c.task_id WHERE c.id = :id"
_Parts = tuple[str, Sequence[tuple[str, str]], Sequence[Group], Sequence[Group]]


class _Cards(Groups):
    """The cards: a method each, named by the kind; the groups that they are of are inherited."""

    def answer(self, thing: int) -> _Parts:
        """A comparison, current or not."""
        comparison = self._store.comparisons.get(thing)
        responses = self.responses("SELECT response_id FROM task_responses WHERE task_id = :id",
                                   comparison.task_id)
        revisions = self._store.comparisons.history(comparison.task_id, comparison.labeler_id)
        decision = self._store.decisions.of_task(comparison.task_id)
        came = [self.labelers("SELECT labeler_id FROM comparisons WHERE id = :id", thing),
                self.tasks("SELECT task_id FROM comparisons WHERE id = :id", thing),
                self.prompts(_OF_TASK.format("prompt_id"), thing),
                responses, *self.writers(responses),
                self.rounds(_OF_TASK.format("round_id"), thing)]
        others = Group("Other revisions", tuple(
            Link("answer", c.id, f"Revision {c.revision}") for c in revisions if c.id != thing),
            len(revisions) - 1)
        led = [others, self.answers("SELECT value FROM decisions, json_each(overrides) "
                                    "WHERE comparison_id = :id", thing, "Answers it overrides")]
        if decision is not None and thing in decision.overrides:
            led.append(Group("Overridden by", (
                Link("answer", decision.comparison_id, "A lead's decision"),), 1))
        what = "Answer" if self._store.decisions.get(thing) is None else "Decision"
        return (f"{what} {thing}", [("Revision", f"{comparison.revision} of {len(revisions)}")],
                came, [*led, *self.learned("comparison_id = :id", thing)])

    def task(self, thing: int) -> _Parts:
        """A question, with everybody's answers."""
        task = self._store.tasks.get(thing)
        responses = self.responses("SELECT response_id FROM task_responses WHERE task_id = :id",
                                   thing)
        known = self._store.known.get(thing)
        facts = [("Purpose", task.purpose), ("Labels", self._labels(task))]
        if known is not None:
            facts.append(("Known answer", "practice" if known.practice else "hidden gold"))
        came = [self.prompts("SELECT prompt_id FROM tasks WHERE id = :id", thing), responses,
                *self.writers(responses),
                self.rounds("SELECT round_id FROM tasks WHERE id = :id", thing),
                self.tasks("SELECT repeat_of FROM tasks WHERE id = :id", thing, "Repeat of")]
        led = [self.answers("SELECT id FROM current_comparisons WHERE task_id = :id", thing),
               self.labelers("SELECT DISTINCT labeler_id FROM current_comparisons "
                             "WHERE task_id = :id", thing),
               self.tasks("SELECT id FROM tasks WHERE repeat_of = :id", thing, "Repeats"),
               *self.learned("c.task_id = :id", thing)]
        return f"Task {thing}", facts, came, led

    def _labels(self, task: Task) -> str:
        """Labels that the task has and wants; a decision takes nobody's place."""
        labels = self._store.database.value("SELECT labels FROM tasks WHERE id = ?", [task.id])
        decided = self._store.decisions.of_task(task.id) is not None
        return f"{labels} of {task.wanted}{', decided' if decided else ''}"

    def prompt(self, thing: int) -> _Parts:
        """A conversation so far."""
        prompt = self._store.prompts.get(thing)
        facts = [("Source", prompt.source), ("Split", prompt.split.replace("_", "-")),
                 ("Tags", ", ".join(prompt.tags) or "none")]
        led = [self.responses("SELECT id FROM responses WHERE prompt_id = :id", thing),
               self.tasks("SELECT id FROM tasks WHERE prompt_id = :id", thing),
               self.answers("SELECT c.id FROM current_comparisons c JOIN tasks t "
                            "ON t.id = c.task_id WHERE t.prompt_id = :id", thing)]
        return f"Prompt {thing}", facts, [], led

    def response(self, thing: int) -> _Parts:
        """What a model wrote (or a file held)."""
        response = self._store.responses.get([thing])[0]
        mine = self.responses("SELECT id FROM responses WHERE id = :id", thing)
        tasks = "SELECT task_id FROM task_responses WHERE response_id = :id"
        facts = [("Source", response.source), ("Ended by", response.finish_reason)]
        came = [self.prompts("SELECT prompt_id FROM responses WHERE id = :id", thing),
                *self.writers(mine),
                self.rounds("SELECT round_id FROM responses WHERE id = :id", thing)]
        answers = f"SELECT id FROM current_comparisons WHERE task_id IN ({tasks})"
        led = [self.tasks(tasks, thing), self.answers(answers, thing),
               self.labelers("SELECT DISTINCT labeler_id FROM current_comparisons "
                             f"WHERE task_id IN ({tasks})", thing),
               *self.learned(f"c.task_id IN ({tasks})", thing)]
        hidden = thing in hidden_from(self._store, self._viewer, [thing])
        return "Response" if hidden else f"Response {thing}", facts, came, led

    def policy(self, thing: int) -> _Parts:
        """A policy version: what made it, what it wrote."""
        policy = self._store.versions.policy(thing)
        came = [self.policies("SELECT parent_id FROM policy_versions WHERE id = :id", thing,
                              "Parent version"),
                self.rewards("SELECT reward_model_id FROM policy_versions WHERE id = :id", thing),
                self.taught("reward_model_id = (SELECT reward_model_id FROM policy_versions "
                            "WHERE id = :id)", thing),
                self.labelers_behind(thing)]
        led = [self.policies("SELECT id FROM policy_versions WHERE parent_id = :id", thing,
                             "Versions made from it"),
               self.rounds("SELECT id FROM rounds WHERE policy_version_id = :id", thing,
                           "Rounds that sampled it"),
               self.responses("SELECT id FROM responses WHERE policy_version_id = :id", thing,
                              leave_out_hidden=True)]
        return (f"Policy version {policy.name}",
                [("Method", policy.method), ("Base", policy.base)], came, led)

    def reward_model(self, thing: int) -> _Parts:
        """A reward model version: whose comparisons it learned from, of which rounds, what it
        taught."""
        model = self._store.versions.reward_model(thing)
        comparisons = ("SELECT comparison_id FROM reward_model_comparisons "
                       "WHERE reward_model_id = :id AND split = ")
        learned, measured = f"{comparisons}'train'", f"{comparisons}'held_out'"
        came = [self.labelers_counted(learned, thing),
                self.answers(learned, thing, "Comparisons it learned from"),
                self.answers(measured, thing, "Comparisons it was measured on"),
                self.taught("reward_model_id = :id", thing)]
        led = [self.policies("SELECT id FROM policy_versions WHERE reward_model_id = :id", thing)]
        return f"Reward model {model.name}", [("Base", model.base)], came, led

    def labeler(self, thing: int) -> _Parts:
        """Somebody who answers."""
        person = self._store.people.get(thing)
        facts = [("Kind", person.kind), ("Role", person.role), ("State", state_of(person))]
        led = [self.answers("SELECT id FROM current_comparisons WHERE labeler_id = :id", thing),
               *self.learned("c.labeler_id = :id", thing)]
        return person.name, facts, [], led

    def round(self, thing: int) -> _Parts:
        """One turn of the loop."""
        turn = self._store.rounds.get(thing)
        came = [self.policies("SELECT policy_version_id FROM rounds WHERE id = :id", thing,
                              "Policy version sampled"),
                self.policies("SELECT reference_id FROM rounds WHERE id = :id", thing,
                              "Reference")]
        led = [self.tasks("SELECT id FROM tasks WHERE round_id = :id", thing),
               *self.learned("c.task_id IN (SELECT id FROM tasks WHERE round_id = :id)", thing)]
        return f"Round {turn.number}", [("Stage", self._store.rounds.stage_now(turn))], came, led


_CARDS: dict[str, Callable[[_Cards, int], _Parts]] = {
    "answer": _Cards.answer, "task": _Cards.task, "prompt": _Cards.prompt,
    "response": _Cards.response, "policy": _Cards.policy, "reward_model": _Cards.reward_model,
    "labeler": _Cards.labeler, "round": _Cards.round}
KINDS = tuple(_CARDS)
