"""Whether PPO finds optima that are known: total variation between the policy it ends with and
π* ∝ π_ref exp(r/β), on problems of one and of two tokens whose every response can be listed.

Five seeds each, with the KL from the sampled token (k1) and over the whole vocabulary (exact). The
tiny model is random; what is measured is the algorithm.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from benchmarks.harness import flags, say, show, spread

SEEDS, QUICK_SEEDS = 5, 2


def distances(tokens: int, kl_penalty: Literal["k1", "exact"], seeds: int) -> list[float]:
    """Total variation to the optimum after training, a seed each."""
    from dataclasses import replace

    import torch
    from known_optimum import CONFIGS, Problem

    torch.set_num_threads(1)  # quickest at this size
    config = replace(CONFIGS[tokens], kl_penalty=kl_penalty)
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            problem = Problem(Path(folder), tokens, config.kl_coefficient, seed)
            found.append(problem.solve(config, Path(folder) / "checkpoint").after)
    return found


def main() -> None:
    """Run every problem over its seeds."""
    asked = flags(__doc__ or "")
    figures, units = {}, {}
    penalties: tuple[Literal["k1", "exact"], ...] = ("k1", "exact")
    for tokens in (1, 2):
        for kl_penalty in penalties:
            key = f"total_variation_{tokens}_{kl_penalty}"
            units[key] = f"{tokens} token{'s' * (tokens > 1)}, {kl_penalty} KL"
            say(f"training: {units[key]} ...")
            figures[key] = spread(distances(tokens, kl_penalty,
                                             QUICK_SEEDS if asked.quick else SEEDS))
    show(figures, units, asked.json)


if __name__ == "__main__":
    main()
