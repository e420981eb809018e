"""Features of responses for the instant model: computed by whoever holds the backbone.

The worker's child does it between jobs, in small parts that give way to a job at once; what was
computed is kept. Everything heavy is imported inside: where nothing is lacking, nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.records import Response
    from data.store import Store
    from loop.settings import Settings
    from reward.instant.response_features import Array, FeatureTable
    from reward.kinds import FeatureKind

#: Responses whose features are kept together; a part that has to give way is computed again.
PART = 32
#: Responses that the instant model stands on, of those that wait for an answer and of
#: those answered last: a large import is learned from in part, rather than read for hours.
MOST = 6000
#: Setting: of which checkpoint, and read how, the workspace keeps features.
_OF = "features_of"


class _GivesWay(Exception):
    """Something else is to be done first."""


def as_asked(settings: Settings) -> str:
    """How the settings ask for features to be read, and of which checkpoint, in one line: where it
    changes, those that are kept no longer hold."""
    from reward.kinds import DEPTHS

    return (f"{settings.models.reward_checkpoint} at {DEPTHS}, asked "
            f"{settings.reward.question!r}, of up to {settings.reward.max_length} tokens")


def stood_on(store: Store) -> list[int]:
    """The responses that the instant model stands on, those of tasks that wait first."""
    return store.asking.responses(MOST)


def extract_features(store: Store, workspace: Path, settings: Settings,
                     give_way: Callable[[], bool] = lambda: False, most: int = MOST,
                     on_part: Callable[[float], None] = lambda share: None,
                     backbone: Backbone | None = None, wanted: Sequence[int] | None = None) -> bool:
    """Compute and keep what is lacking, tasks that wait first; whether nothing is lacking now.

    `give_way` is asked often; once it says so, the work ends at the next safe point. No more than
    `most` responses are computed, of those `wanted` where they are given. `on_part` hears the share
    that is done; what it raises ends the work as well. A `backbone` that is at hand is used. What
    was read otherwise than the settings ask is forgotten once something takes its place.

    Raises:
        PrefloopError: the checkpoint cannot be loaded, or a file cannot be read or written.
    """
    from reward.instant.response_features import ResponseFeatures

    kept, name = ResponseFeatures(workspace, store.responses), as_asked(settings)
    if wanted is None:
        wanted = stood_on(store)
    if kept.ids().issuperset(wanted) and (not wanted or store.setting(_OF) == name):
        return True
    if backbone is None:
        from loop.models import reward_backbone

        backbone = reward_backbone(settings.models)
    kinds, of = _read_by(backbone, settings)
    have = kept.ids(of)
    lacking = [i for i in wanted if i not in have][:most]
    if not have and not lacking:
        return False  # nothing would take the place of what is there
    if not have:
        kept.forget()  # those of another checkpoint or another database, or read otherwise
    store.put_setting(_OF, name)

    def check(_: float = 0.0) -> None:
        if give_way():
            raise _GivesWay

    try:
        for start in range(0, len(lacking), PART):
            check()
            part = store.responses.get(lacking[start:start + PART])
            kept.add(part, _features(store, backbone, part, kinds, settings.reward.max_length,
                                     check), of)
            on_part((start + len(part)) / len(lacking))
    except _GivesWay:
        return False
    return have.union(lacking).issuperset(wanted)


def known_features(store: Store, workspace: Path, settings: Settings,
                   wanted: Collection[int] | None = None) -> FeatureTable:
    """The features that are kept, of those `wanted`, or else of those that the instant model stands
    on; none where they were read otherwise than the settings ask.

    Raises:
        PrefloopError: a file cannot be read.
    """
    from reward.instant.response_features import ResponseFeatures

    hold = store.setting(_OF) == as_asked(settings)
    return ResponseFeatures(workspace, store.responses).read(
        set(stood_on(store) if wanted is None else wanted) if hold else set())


def _read_by(backbone: Backbone, settings: Settings) -> tuple[Sequence[FeatureKind], str]:
    """What is read of each response, and the stamp of files that hold just that."""
    from backbone.layouts import layer_count
    from reward.instant.features import fingerprint
    from reward.kinds import DEPTHS, kinds_of

    kinds = kinds_of(layer_count(backbone), settings.reward.question, DEPTHS)
    return kinds, " ".join((fingerprint(backbone), *map(str, kinds),
                            f"of up to {settings.reward.max_length} tokens"))


def _features(store: Store, backbone: Backbone, responses: Sequence[Response],
              kinds: Sequence[FeatureKind], max_length: int,
              check: Callable[[float], None]) -> dict[FeatureKind, Array]:
    from reward.instant.features import compute, encode_response
    from reward.kinds import question_of

    prompts = {i: store.prompts.get(i).messages for i in {r.prompt_id for r in responses}}
    question = question_of(kinds)
    encoded = [encode_response(backbone, prompts[r.prompt_id], r.text, max_length, question)
               for r in responses]
    return compute(backbone, encoded, kinds, check)
