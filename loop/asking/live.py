"""Keeps the instant model up to date while people label, and open tasks in the order it wishes.

A small process of its own beside the worker (numpy, no torch): a job that takes an hour does not
hold it up, and it holds up nobody. It looks into the database twice a second and does something
only where something has changed. All it knows follows from the database and the features kept in
the workspace, so it can be killed at any time. What goes wrong is said in one line, once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.asking import CURVE, STATE, AskedPair, AskedTask
from data.database import now
from data.errors import PrefloopError
from data.store import Store
from loop.asking.extracting import stood_on
from loop.asking.order import changed, order
from loop.output import note
from loop.settings import AskingConfig, Settings, read_settings

if TYPE_CHECKING:
    from reward.instant.model import InstantModel
    from reward.instant.selection import Rule

POLL = 0.5  # seconds between two looks
NICENESS = 10
#: More candidates than this are thinned out at random before a rule looks at them.
MOST_CANDIDATES = 2000
#: A variance is written anew when it has changed by this share of itself.
_NOTICEABLE = 0.02
#: Tasks whose variances are computed together, which bounds memory.
_AT_ONCE = 256
#: The curve is drawn anew when there are so many more answers, as a share and at least.
_CURVE_SHARE, _CURVE_LEAST = 0.1, 5


class Asker:
    """One workspace's instant model, and the order that follows from it."""

    def __init__(self, store: Store, workspace: Path) -> None:
        from reward.instant.response_features import ResponseFeatures

        self.store, self.workspace = store, workspace
        self._features = ResponseFeatures(workspace, store.responses)
        self.model: InstantModel | None = None
        self._seen: object = None
        self._files: tuple[str, ...] = ()
        self._curve_at: tuple[int, int, int] | None = None
        self._said: str | None = None

    def turn(self) -> bool:
        """Look, and if anything has changed since the last look, learn and order anew.

        Returns whether there was anything to do. What it could not do is said in the log, and
        tried again when something changes.
        """
        try:
            settings = read_settings(self.workspace)
            files = self._features.files()
            seen = (settings, files, self.store.asking.moment())
            if seen == self._seen:
                return False
            self._seen = seen
            self._act(settings, files)
            self._said = None
        except PrefloopError as error:
            self._say(str(error))
        except (ArithmeticError, ValueError) as error:  # of numpy: singular, or not finite
            self._say(f"the instant model could not be fitted ({error})")
        return True

    def _act(self, settings: Settings, files: tuple[str, ...]) -> None:
        asking = settings.asking
        if not asking.enabled:
            if self.store.setting(STATE):
                self.store.asking.forget_order()
                self.store.put_setting(STATE, None)
            return
        began = time.perf_counter()
        if not self._look_at(files):
            return
        assert self.model is not None  # made by the lines above
        pairs = self.store.asking.pairs(self.model.features.rows)
        quick = self.model.learn(pairs)
        learned = time.perf_counter()
        self._order(asking, settings.workspace.seed)
        self.store.put_setting(STATE, {
            "rule": asking.rule, "random_share": asking.random_share, "at": now(),
            "answers": len(self.model.learned), "quick_updates": quick,
            "responses": len(self.model.features.rows), "features": self.model.setup.features,
            "spread": self.model.setup.spread, "chosen_at": self.model.setup.chosen_at,
            "seconds_learning": learned - began, "seconds": time.perf_counter() - began})
        self._draw_curve(pairs)

    def _look_at(self, files: tuple[str, ...]) -> bool:
        """Stand on the features that there are, of those asked for; whether there are any."""
        from reward.instant.model import InstantModel, Setup

        if files == self._files:
            return self.model is not None
        table = self._features.read(set(stood_on(self.store)))
        if not table.rows:
            return False  # all are of responses that the database knows no more
        if self.model is None:
            before = self.store.setting(STATE) or {}
            self.model = InstantModel(table, Setup(
                before.get("features", Setup.features), before.get("spread", Setup.spread),
                before.get("chosen_at", 0)))
        else:
            self.model.use(table)
        self._files = files
        return True

    def _order(self, asking: AskingConfig, seed: int) -> None:
        assert self.model is not None
        rows = self.model.features.rows
        tasks = [t for t in self.store.asking.tasks() if all(i in rows for i in t.response_ids)]

        def favourites(candidates: Sequence[AskedTask], count: int) -> list[AskedTask]:
            return favourite_tasks(self.model, candidates, asking.rule, count, seed)

        wanted = changed(order(tasks, asking.rule, asking.random_share, seed, favourites,
                               self.store.asking.rule_has_chosen()), tasks)
        if wanted:
            self.store.asking.put_order(wanted)
        self._tell_variances([task for task in tasks if task.open])

    def _tell_variances(self, tasks: Sequence[AskedTask]) -> None:
        """Write how uncertain the model is of each open task, where that has changed noticeably."""
        assert self.model is not None
        known, now_known = self.store.asking.variances(), variances_of(self.model, tasks)
        moved = {i: value for i, value in now_known.items()
                 if i not in known or abs(value - known[i]) > _NOTICEABLE * known[i]}
        gone = known.keys() - now_known.keys()
        if moved or gone:
            self.store.asking.put_variances(moved, gone)

    def _draw_curve(self, pairs: Sequence[AskedPair]) -> None:
        """The learning curve, where there are enough new answers for it to differ, or some answers
        no longer count, or again. An answer is new once its responses' features are known."""
        from loop.asking.curve import document
        from reward.instant.model import learnable

        assert self.model is not None
        known = learnable(pairs, self.model.features)
        at = (len(set(known.answers.tolist())), self.model.setup.chosen_at,
              self.store.asking.moment()[-1])
        if self._curve_at is None:
            kept = self.store.setting(CURVE) or {}
            self._curve_at = (kept.get("answers", 0), kept.get("chosen_at", 0),
                              kept.get("counting_changes", 0))
        more = abs(at[0] - self._curve_at[0])
        if at[1:] == self._curve_at[1:] and more < max(_CURVE_LEAST,
                                                     _CURVE_SHARE * self._curve_at[0]):
            return
        found = document(self.model, known)
        self.store.put_setting(CURVE, found and {
            **found, "answers": at[0], "chosen_at": at[1], "counting_changes": at[2],
            "at": now()})
        self._curve_at = at

    def _say(self, line: str) -> None:
        """One line in the log; the same one only once."""
        if line != self._said:
            self._said = line
            note(f"{now()[:19]} asking: {' '.join(line.split())}; labeling goes on")


def favourite_tasks(model: InstantModel | None, tasks: Sequence[AskedTask], rule: Rule, count: int,
                    seed: int) -> list[AskedTask]:
    """The tasks that a rule would ask next, the best first, each as if those before were answered.

    A task of more than two responses stands for the pair of them that is least certain.
    """
    import numpy as np

    from reward.instant.selection import Pool, prompt_centers, select

    assert model is not None
    rng = np.random.default_rng([seed, len(model.learned)])
    if len(tasks) > MOST_CANDIDATES:
        tasks = [tasks[i] for i in rng.permutation(len(tasks))[:MOST_CANDIDATES]]
    if not tasks:
        return []
    rows = model.features.rows
    pairs = [_least_certain(model, [rows[i] for i in task.response_ids]) for task in tasks]
    used, place = np.unique(np.array(pairs), return_inverse=True)
    prompts = {p: n for n, p in enumerate(dict.fromkeys(
        [t.prompt_id for t in tasks]
        + [m[0].prompt_id for m in model.learned.values()]))}
    place = place.reshape(-1, 2)
    # An answered prompt mostly has no open task left, yet what was asked of it counts nearby.
    of_prompt = np.array([prompts.get(p, -1) for p in model.features.prompts.tolist()], int)
    centers = prompt_centers(model.table[of_prompt >= 0], of_prompt[of_prompt >= 0], len(prompts))
    pool = Pool(model.table[used], model.posterior.coefficients, model.posterior.covariance,
                place[:, 0], place[:, 1], np.array([prompts[t.prompt_id] for t in tasks]),
                model.posterior.log_tie,
                asked=np.array([prompts[m[0].prompt_id] for m in model.learned.values()], int),
                centers=centers)
    return [tasks[pair] for pair in select(pool, count, rule, rng)]


def variances_of(model: InstantModel, tasks: Sequence[AskedTask]) -> dict[int, float]:
    """Task id -> posterior variance of the reward difference of its two responses; of more than
    two, that of the pair that is least certain."""
    from itertools import combinations

    import numpy as np

    rows = model.features.rows
    found: dict[int, float] = {}
    for start in range(0, len(tasks), _AT_ONCE):
        part = tasks[start:start + _AT_ONCE]
        pairs = [(place, rows[a], rows[b]) for place, task in enumerate(part)
                 for a, b in combinations(task.response_ids, 2)]
        place, first, second = np.array(pairs, int).reshape(-1, 3).T
        most = np.zeros(len(part))
        np.maximum.at(most, place, model.differences(first, second)[1])
        found |= {task.id: value for task, value in zip(part, most.tolist(), strict=True)}
    return found


def _least_certain(model: InstantModel, rows: Sequence[int]) -> tuple[int, int]:
    from itertools import combinations

    import numpy as np

    every = list(combinations(rows, 2))
    if len(every) == 1:
        return every[0]
    first, second = np.array(every).T
    return every[int(model.differences(first, second)[1].argmax())]


def main() -> None:
    """`python -m loop.asking.live WORKSPACE`"""
    os.nice(NICENESS)
    workspace = Path(sys.argv[1])
    asker = Asker(Store.of_workspace(workspace), workspace)
    while True:
        asker.turn()
        time.sleep(POLL)


if __name__ == "__main__":
    main()
