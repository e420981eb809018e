"""How a linear head's features and spread are chosen where there is much: by the newest pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_world import fit_linear, prepare
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import good_wins

from backbone.model import Backbone
from data.prompts import cluster_of
from loop.asking.instant import _pairs
from reward import heads
from reward.examples import Example, PreferenceData
from reward.heads import encoded, linear_part, linear_setup
from reward.instant import choosing
from reward.instant.choosing import choose_features
from reward.instant.comparisons import Comparisons, comparisons_of
from reward.instant.features import compute
from reward.instant.model import COMPONENTS, SPREADS
from reward.instant.standard import some_prompts
from reward.kinds import feature_sets, kinds_of

Array = np.ndarray[Any, Any]


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path)


def test_where_all_fits_the_choice_is_that_of_the_whole_table(backbone: Backbone) -> None:
    train = good_wins(60).train
    part, about = linear_part(backbone, 100, "", train, None, None)
    kinds = kinds_of(2, "")
    read = compute(backbone, encoded(backbone, train, 100, ""), kinds)
    values = {name: np.hstack([read[kind] for kind in several])
              for name, several in feature_sets(kinds).items()}
    rows = {i: row for row, i in enumerate(i for e in train for i in e.texts)}
    answers = comparisons_of(train, rows)
    prompts = np.array([e.prompt_id for e in train for _ in e.texts])
    best = choose_features(prepare(values, components=COMPONENTS, groups=prompts), answers,
                           spreads=SPREADS)[0]
    assert about == {"features": best.features.name, "spread": best.spread}
    whole = values[best.features.name]
    expected = fit_linear(whole, answers, spread=best.spread, standard=best.features.standard)
    np.testing.assert_allclose(part.head.scores(whole), expected.scores(whole), atol=1e-5)


def test_much_is_chosen_from_in_part_and_fitted_whole(backbone: Backbone,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def standardise(features: Array, *rest: Any, **more: Any) -> Any:
        seen.append(len(features))
        return standard(features, *rest, **more)

    standard = choosing.standardise
    monkeypatch.setattr(choosing, "standardise", standardise)
    monkeypatch.setattr(choosing, "_MOST_TEXTS", 20)
    monkeypatch.setattr(choosing, "_AT_ONCE", 7)
    monkeypatch.setattr(heads, "_MOST_PAIRS", 30)
    train = good_wins(60).train
    found = linear_setup(backbone, 100, "", train, None, None)
    assert set(seen) == {20} and len(seen) == len(feature_sets(kinds_of(2, "")))
    assert len(found.best.features.table) == 60, "of the responses of 30 pairs"
    assert len(found.table) == len(found.rows) == 120 and len(found.answers.first) == 60
    read = compute(backbone, encoded(backbone, train, 100, ""), found.kinds)
    np.testing.assert_allclose(
        found.table, found.best.features.standard.of(np.hstack([read[k] for k in found.kinds])),
        atol=1e-5)


@pytest.mark.parametrize("responses", [1, 3, 50])
def test_some_prompts_are_whole_ones_as_far_as_there_is_room(responses: int) -> None:
    prompts = np.repeat(np.arange(40), responses)
    assert some_prompts(prompts, 40 * responses).tolist() == list(range(len(prompts)))
    found = some_prompts(prompts, 20)
    assert len(found) == (20 // responses * responses or 20)
    assert len(set(prompts[found].tolist())) == max(20 // responses, 1)


def an_old_prompt_answered_last() -> list[Example]:
    """Twenty prompts, of which the one that was added first has the newest answers."""
    first, *others = good_wins(20).train
    return [replace(first, pairs=tuple(replace(first.pairs[0], comparison_id=10**6 + n)
                                       for n in range(4))), *others]


def test_the_newest_pairs_are_those_that_were_answered_last(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen_by: list[Comparisons] = []

    def choose(prepared: Any, comparisons: Comparisons, **more: Any) -> Any:
        chosen_by.append(comparisons)
        return choose_features(prepared, comparisons, **more)

    monkeypatch.setattr(heads, "choose_features", choose)
    monkeypatch.setattr(heads, "_MOST_PAIRS", 6)
    train = an_old_prompt_answered_last()
    linear_setup(backbone, 100, "", train, None, None)
    groups = [cluster_of(train[n].messages) for n in (0, 0, 0, 0, 18, 19)]
    assert sorted(chosen_by[0].groups.tolist()) == sorted(groups)
    pairs = _pairs(PreferenceData(tuple(train[:15]), tuple(train[15:])))
    assert [p.comparison_id for p in pairs] == sorted(p.comparison_id for p in pairs)
    assert len(pairs) == 23 and [p.prompt_id for p in pairs[-5:]] == [20, 1, 1, 1, 1]
