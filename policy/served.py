"""Sampling from an OpenAI-compatible server such as vLLM, through its completions.

Prompts go as token ids and responses come back as token ids, so template and tokenizer are ours and
a response is the one that sampling here could have given. A policy version's adapter is loaded into
the server under a name that holds a digest of its files. Log-probabilities are always our own:
servers give them before the temperature or after it (vLLM's raw_logprobs and processed_logprobs),
and do not say which; theirs only check that it is this policy version that was sampled. Left out:
text in place of token ids, since encoding it again need not give the tokens that were sampled; and
PPO's rollouts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backbone.model import Backbone
from backbone.storage import CONFIG, WEIGHTS
from data.errors import PrefloopError
from policy.completions import Completion, completion_of, request_for
from policy.config import SampleConfig
from policy.endpoint import Endpoint, Refused, key_from_environment
from policy.logprobs import logprobs_of_states, response_states
from policy.responses import join
from policy.samplers import Wanted
from policy.sampling import Sample, replay, stop_ids

#: Mean difference in log-probability a token, nats, above which it is another model that samples.
#: Rounding in bf16 gives 0.02 to 0.04.
LARGEST_GAP = 0.1
READ_TOGETHER = 16  # responses in one forward pass
_POLL = 0.5  # seconds between two looks at whether the work should stop


@dataclass(frozen=True)
class Published:
    """A policy version, here and for a server."""

    name: str
    """The version's name."""
    adapter: str | None
    """Its adapter on the backbone (None: bare)."""
    folder: Path | None
    """Where its adapter lies; None for the bare checkpoint."""
    seen_as: str = ""
    """The same folder as the server sees it."""

    def model(self, checkpoint: str) -> str:
        """The name that the server is to know it by; other weights have another name."""
        if self.folder is None:
            return checkpoint
        digest = hashlib.sha256()
        for name in (CONFIG, WEIGHTS):
            with (self.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"prefloop-{self.name}-{digest.hexdigest()[:12]}"


@dataclass
class Gap:
    """How far the server's log-probabilities are from ours, over all tokens so far, nats."""

    tokens: int = 0
    total: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    def add(self, differences: Tensor) -> None:
        """Take in [N] absolute differences."""
        self.tokens += differences.numel()
        self.total += float(differences.sum())
        self.squares += float(differences.square().sum())
        self.largest = max(self.largest, float(differences.max()))

    @property
    def mean(self) -> float:
        """Mean difference a token."""
        return self.total / max(self.tokens, 1)

    @property
    def is_too_large(self) -> bool:
        """Whether the mean is above the limit by more than two standard errors."""
        tokens = max(self.tokens, 1)
        spread = math.sqrt(max(self.squares / tokens - self.mean ** 2, LARGEST_GAP ** 2))
        return self.mean - 2 * spread / math.sqrt(tokens) > LARGEST_GAP


class ServedSampler:
    """Samples from a server (a `Sampler`), so many requests at a time.

    Args:
        models: for each policy version id, the name that the server knows it by.
        adapters: and its adapter on the backbone (None: bare).
    """

    def __init__(self, endpoint: Endpoint, backbone: Backbone, models: Mapping[int, str],
                 adapters: Mapping[int, str | None], config: SampleConfig) -> None:
        self._endpoint = endpoint
        self._backbone = backbone
        self._models = models
        self._adapters = adapters
        self._config = config
        self.gaps = {version: Gap() for version in models}

    @property
    def figures(self) -> dict[str, float]:
        """Mean and largest difference between the server's log-probabilities and ours."""
        tokens = sum(gap.tokens for gap in self.gaps.values())
        if not tokens:
            return {}
        return {"sampling_gap": sum(gap.total for gap in self.gaps.values()) / tokens,
                "sampling_gap_max": max(gap.largest for gap in self.gaps.values())}

    def __call__(self, version: int, wanted: Sequence[Wanted], check: Callable[[], None]
                 ) -> Iterator[list[tuple[int, Sample]]]:
        """As every `Sampler`; what has come is handed on before an error is raised.

        Raises:
            PrefloopError: the server cannot be reached, refuses, or answers with something else
                than responses of this policy version.
        """
        pool = ThreadPoolExecutor(self._config.batch_size)
        try:
            going = {pool.submit(self._complete, self._models[version], one): place
                     for place, one in enumerate(wanted)}
            while going:
                check()
                done, _ = wait(going, _POLL, FIRST_COMPLETED)
                came, failed = _sorted_out(done, going)
                for start in range(0, len(came), READ_TOGETHER):
                    yield self._samples(version, wanted, came[start:start + READ_TOGETHER])
                if failed is not None:
                    raise failed
        except BaseException:
            self._endpoint.close()  # or threads would wait for answers that nobody wants
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _complete(self, model: str, wanted: Wanted) -> Completion:
        """Ask for one response."""
        config = self._config
        ends = self._backbone.end_ids | stop_ids(self._backbone, config.stop)
        body = request_for(wanted, model, ends, config)
        try:
            answer = self._endpoint.post("/completions", body)
        except Refused as error:
            if error.status != 400:
                raise
            raise PrefloopError(
                f"{error} (asked for {config.max_new_tokens} tokens after a prompt of "
                f"{len(wanted.prompt)}; vLLM's --max-model-len limits both together)") from None
        vocabulary = int(self._backbone.head.weight.shape[0])
        try:
            return completion_of(answer, model, wanted.prompt, vocabulary)
        except ValueError as error:
            raise PrefloopError(f"server {self._endpoint.address}: {error}") from None

    @torch.no_grad()
    def _samples(self, version: int, wanted: Sequence[Wanted],
                 came: Sequence[tuple[int, Completion]]) -> list[tuple[int, Sample]]:
        """Read the responses with our own backbone, and hold what the server says against it."""
        backbone, config = self._backbone, self._config
        texts = join([wanted[place].prompt for place, _ in came], [one.ids for _, one in came],
                     backbone.pad_id, backbone.device)
        states = response_states(backbone, self._adapters[version], texts)
        drawn, plain = (logprobs_of_states(backbone, states, texts, temperature, entropy=False
                                           ).logprobs for temperature in (config.temperature, 1.0))
        real = texts.mask.bool()
        theirs = torch.tensor([value for _, one in came for value in one.logprobs],
                              device=backbone.device)
        # In units of scores both times, so that a low temperature does not widen what is rounding.
        gaps = [(theirs - plain[real]).abs(), (theirs - drawn[real]).abs() * config.temperature]
        gap = self.gaps[version]
        gap.add(min(gaps, key=lambda found: float(found.mean())))
        if gap.is_too_large:
            raise PrefloopError(
                f"server {self._endpoint.address}: what it samples as {self._models[version]} is "
                f"not this policy version: its log-probabilities are {gap.mean:.2f} nats a token "
                "from ours; does it serve this workspace's checkpoint, and not quantised?")
        samples = []
        for row, (place, one) in enumerate(came):
            logprobs = drawn[row, :len(one.ids)].tolist()
            sample = replay(backbone, config.stop, one.ids[:config.max_new_tokens],
                            logprobs[:config.max_new_tokens])
            if sample.finish_reason == "length" and len(sample.ids) < config.max_new_tokens:
                raise PrefloopError(
                    f"server {self._endpoint.address}: it ended a response after "
                    f"{len(sample.ids)} tokens where nothing ends it here; does it serve this "
                    "workspace's checkpoint?")
            samples.append((place, sample))
        return samples


@contextmanager
def serving(config: SampleConfig, backbone: Backbone,
            versions: Mapping[int, Published]) -> Iterator[ServedSampler]:
    """A sampler from the configured server, with the versions' adapters loaded into it; they are
    taken out again in the end.

    Raises:
        PrefloopError: the server cannot be reached, does not serve the checkpoint, or cannot load
            adapters; the message says what to do.
        BadInput: the API key is none.
    """
    checkpoint = config.server_model or backbone.folder
    models = {version: one.model(checkpoint) for version, one in versions.items()}
    with Endpoint(config.server, config.server_timeout, key_from_environment()) as endpoint:
        known = _known_models(endpoint)
        if checkpoint not in known:
            raise PrefloopError(
                f"server {endpoint.address}: it does not serve {checkpoint}, but "
                f"{', '.join(known[:5]) or 'nothing'}: name the checkpoint as it does with "
                "server_model")
        loaded: list[str] = []
        try:
            for version, one in versions.items():
                if models[version] not in [*known, *loaded]:
                    _load(endpoint, models[version], one, backbone)
                    loaded.append(models[version])
            yield ServedSampler(endpoint, backbone, models,
                                {version: one.adapter for version, one in versions.items()}, config)
        finally:
            _unload(config, loaded)


def _sorted_out(done: set[Future[Completion]], going: dict[Future[Completion], int]
                ) -> tuple[list[tuple[int, Completion]], BaseException | None]:
    """What came, and the first thing that went wrong; none of it is going any more."""
    came, failed = [], None
    for future in done:
        place, error = going.pop(future), future.exception()
        if error is None:
            came.append((place, future.result()))
        else:
            failed = failed or error
    return sorted(came, key=lambda one: one[0]), failed


def _known_models(endpoint: Endpoint) -> list[str]:
    listed = endpoint.get("/models").get("data")
    return [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)
            ] if isinstance(listed, list) else []


def _load(endpoint: Endpoint, model: str, version: Published, backbone: Backbone) -> None:
    path = version.seen_as or str(version.folder)
    try:
        endpoint.request("POST", "/load_lora_adapter", {"lora_name": model, "lora_path": path})
    except Refused as error:
        if error.status == 400 and "already been loaded" in error.said:
            return  # between our look and now; the name says that it is the same one
        if error.status in (404, 405, 501) and not error.said:
            rank = backbone.adapter_config(version.adapter).r if version.adapter else 16
            raise PrefloopError(
                f"server {endpoint.address}: it cannot load the adapter of {version.name}; start "
                "vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and "
                f"--enable-lora --max-lora-rank {rank}, or with --lora-modules {model}={path}"
                ) from None
        raise PrefloopError(f"{error} (while loading the adapter of {version.name} from {path}; "
                            "server_workspace names the workspace's folder as the server sees it)"
                            ) from None


def _unload(config: SampleConfig, models: Sequence[str]) -> None:
    """Take adapters out of the server; what does not work is left to it."""
    with suppress(PrefloopError), Endpoint(config.server, min(config.server_timeout, 10.0),
                                           key_from_environment()) as endpoint:
        for model in models:
            endpoint.request("POST", "/unload_lora_adapter", {"lora_name": model})
