"""Who samples what a round wants: this process here, or a server (`policy/served.py`).

Either way a response is named by integers, and the same names give the same responses again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backbone.model import Backbone
from policy.config import SampleConfig
from policy.sampling import Sample, generate, uniform_draws


@dataclass(frozen=True)
class Wanted:
    """A response that is to be sampled."""

    prompt: list[int]
    """The prompt's token ids."""
    key: tuple[int, ...]
    """What names its stream of random numbers."""


class Sampler(Protocol):
    """Samples responses of policy versions."""

    @property
    def figures(self) -> dict[str, float]:
        """What there is to report of all that was sampled."""

    def __call__(self, version: int, wanted: Sequence[Wanted], check: Callable[[], None]
                 ) -> Iterator[list[tuple[int, Sample]]]:
        """One response for each that is wanted, a few at a time as they come, each with its place
        in `wanted`.

        Args:
            version: id of the policy version.
            check: called now and then; may raise to stop the work.
        """


@dataclass(frozen=True)
class LocalSampler:
    """Samples in this process, batch by batch."""

    backbone: Backbone
    adapters: Mapping[int, str | None]
    """For each policy version id, the adapter on the backbone (None: bare)."""
    config: SampleConfig

    @property
    def figures(self) -> dict[str, float]:
        """Nothing: who samples and who records are one."""
        return {}

    def __call__(self, version: int, wanted: Sequence[Wanted], check: Callable[[], None]
                 ) -> Iterator[list[tuple[int, Sample]]]:
        """As every `Sampler`."""
        config = self.config
        for places in _batches(len(wanted), config.batch_size):
            check()
            draws = uniform_draws([wanted[place].key for place in places], config.max_new_tokens)
            samples = generate(self.backbone, self.adapters[version],
                               [wanted[place].prompt for place in places], draws,
                               config.temperature, config.stop, check)
            yield list(zip(places, samples, strict=True))


def _batches(count: int, size: int) -> Iterator[range]:
    # A small first batch, so that somebody who waits has something to rank early.
    first = min(max(2, size // 4), count)
    if first:
        yield range(first)
    for start in range(first, count, size):
        yield range(start, min(start + size, count))
