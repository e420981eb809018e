"""Sampling: the right distribution, the same whatever the batch, and honest ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import items, randomise

from backbone.model import Backbone
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY
from policy.sampling import draw, generate, replay, stop_ids, uniform_draws


def _backbone(folder: Path, **options: bool) -> Backbone:
    backbone = tiny_backbone(folder, **options)
    backbone.add_adapter(POLICY, backbone.new_lora_config(4, 8))
    randomise(backbone, POLICY)
    return backbone


def test_a_response_is_the_same_alone_and_in_any_batch(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompts = [item.ids for item in items(backbone)]
    draws = uniform_draws([(1, row) for row in range(len(prompts))], 30)
    together = generate(backbone, POLICY, prompts, draws, 1.3)
    assert len({len(s.ids) for s in together}) > 1, "rows must leave the batch at unlike times"
    for row, prompt in enumerate(prompts):
        alone = generate(backbone, POLICY, [prompt], draws[row:row + 1], 1.3)[0]
        assert alone.ids == together[row].ids
        np.testing.assert_allclose(alone.logprobs, together[row].logprobs, atol=1e-4)


def test_what_ran_before_changes_no_sample(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompts = [item.ids for item in items(backbone)]
    draws = uniform_draws([(4, row) for row in range(len(prompts))], 12)
    found = []
    for rows, width in ((1, 4), (1, 100_000)):  # shapes that choose plain and fused attention
        backbone.choose_attention(rows, width)
        found.append(generate(backbone, POLICY, prompts, draws, 1.0))
    assert [s.logprobs for s in found[0]] == [s.logprobs for s in found[1]]


def test_a_response_holds_no_nul_character(tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one from a server, of which the tokens are replayed here: no file could hold it."""
    backbone = tiny_backbone(tmp_path)
    monkeypatch.setattr(backbone.tokenizer, "decode", lambda ids, **_: "\0 a\0b\0 ")
    assert replay(backbone, [], [5], [0.0]).text == "ab"


@pytest.mark.parametrize("pad_is_eos", [False, True])
def test_sampled_and_trained_log_probabilities_are_the_same(tmp_path: Path,
                                                            pad_is_eos: bool) -> None:
    backbone = _backbone(tmp_path, pad_is_eos=pad_is_eos)
    prompts = [item.ids for item in items(backbone)]
    samples = generate(backbone, POLICY, prompts,
                       uniform_draws([(2, r) for r in range(len(prompts))], 20), 0.7)
    texts = join(prompts, [s.ids for s in samples], backbone.pad_id, backbone.device)
    found = response_logprobs(backbone, POLICY, texts, 0.7).logprobs
    for row, sample in enumerate(samples):
        np.testing.assert_allclose(found[row, :len(sample.ids)].detach().numpy(),
                                   sample.logprobs, atol=1e-4)
        assert not found[row, len(sample.ids):].any()


def test_the_draws_follow_the_distribution_at_the_temperature(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompt = items(backbone)[0].ids
    n, temperature = 4000, 0.5
    samples = generate(backbone, POLICY, [prompt] * n, uniform_draws(
        [(3, row) for row in range(n)], 1), temperature)
    drawn = np.bincount([s.ids[0] for s in samples],
                        minlength=len(backbone.tokenizer)) / n
    ids = torch.tensor([prompt])
    backbone.switch_to(POLICY)
    scores = backbone.language_model(input_ids=ids).logits[0, -1] / temperature
    expected = scores.softmax(-1).detach().numpy()
    # Total variation of an empirical distribution: about sqrt(cells / (2 π n)).
    assert np.abs(drawn - expected).sum() / 2 < 3 * np.sqrt(len(expected) / (2 * np.pi * n))


@pytest.mark.parametrize("vocabulary", [1, 200, 256, 1000, 1024])
def test_a_draw_inverts_the_cumulative_distribution(vocabulary: int) -> None:
    """Against plain numpy in double precision; what lies within rounding of an edge may fall on
    either side of it."""
    numbers = np.random.default_rng(vocabulary)
    scores = numbers.normal(0, 3, (500, vocabulary))
    scores[:, numbers.random(vocabulary) < 0.3] = -np.inf  # never drawn, whatever the number
    scores[:, vocabulary // 2] = 0.0
    uniforms = numbers.random(500)
    uniforms[:2] = 0.0, 1 - 2 ** -24
    tokens, logprobs = draw(torch.tensor(scores, dtype=torch.float32),
                            torch.tensor(uniforms, dtype=torch.float32))
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    edges = expected.cumsum(1)
    drawn, rows = tokens.numpy(), np.arange(500)
    assert np.isfinite(scores[rows, drawn]).all()
    assert (edges[rows, drawn] > uniforms - 1e-5).all()
    assert (edges[rows, drawn] - expected[rows, drawn] < uniforms + 1e-5).all()
    np.testing.assert_allclose(logprobs, np.log(expected[rows, drawn]), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_is_not_drawn_however_sums_are_rounded() -> None:
    """Numbers at the edges between runs of tokens, some of them very unlikely, all of them with
    tokens of no weight at both ends."""
    numbers, rows = np.random.default_rng(0), np.arange(2000)
    scores = numbers.normal(0, 2, (2000, 4, 256)) + numbers.choice([0, -9, -14, -18], (2000, 4, 1))
    scores[:, :, :100] = scores[:, :, 200:] = -np.inf
    weights = np.exp(scores - scores.max((1, 2), keepdims=True)).sum(2)
    edges = (weights / weights.sum(1, keepdims=True)).cumsum(1)[rows, numbers.integers(0, 4, 2000)]
    uniforms = np.clip(edges + numbers.integers(-4, 5, 2000) * 2.0 ** -25, 0, 1 - 2 ** -24)
    tokens, logprobs = draw(torch.tensor(scores.reshape(2000, 1024), dtype=torch.float32),
                            torch.tensor(uniforms, dtype=torch.float32))
    assert np.isfinite(scores.reshape(2000, 1024)[rows, tokens.numpy()]).all()
    assert logprobs.isfinite().all()


def test_streams_differ_and_repeat() -> None:
    first = uniform_draws([(0, 1), (0, 2)], 5)
    assert np.array_equal(first, uniform_draws([(0, 1), (0, 2)], 5))
    assert not np.array_equal(first[0], first[1])
    named = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0), (0, 0, 3), (3, 0, 0)]
    assert len(np.unique(uniform_draws(named, 5), axis=0)) == len(named), "by order, not by sum"
    assert np.array_equal(uniform_draws([(0, 2)], 3)[0], first[1, :3])
    assert (first >= 0).all() and (first < 1).all()


def test_responses_end_at_the_end_token_at_a_stop_text_or_at_the_limit(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompts = [item.ids for item in items(backbone)] * 4
    draws = uniform_draws([(4, r) for r in range(len(prompts))], 25)
    plain = generate(backbone, POLICY, prompts, draws, 1.5)
    for sample in plain:
        assert (sample.finish_reason == "eos") == (sample.ids[-1] in backbone.end_ids)
        assert all(i not in backbone.end_ids for i in sample.ids[:-1])
        assert "<|im_end|>" not in sample.text
    word = plain[0].text.split()[2]
    stopped = generate(backbone, POLICY, prompts, draws, 1.5, [word])
    for before, after in zip(plain, stopped, strict=True):
        if word in before.text:
            assert after.finish_reason == "stop"
            assert word not in after.text
            assert before.ids[:len(after.ids)] == after.ids
        else:
            assert after == before


def test_of_several_stop_texts_the_first_that_comes_ends_a_response(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompts = [item.ids for item in items(backbone)] * 4
    draws = uniform_draws([(4, r) for r in range(len(prompts))], 25)
    plain = generate(backbone, POLICY, prompts, draws, 1.5)
    words = [plain[0].text.split()[3][:2], plain[1].text.split()[2][:2]]  # tokens are whole words
    assert words[0] not in words[1] and words[1] not in words[0]
    for stop in (words, words[::-1]):
        stopped = generate(backbone, POLICY, prompts, draws, 1.5, stop)
        for before, after in zip(plain, stopped, strict=True):
            ends = [before.text.index(word) for word in words if word in before.text]
            assert after.text == (before.text[:min(ends)].strip() if ends else before.text)
            assert (after.finish_reason == "stop") == bool(ends)


def test_a_special_token_as_stop_text_ends_a_response(tmp_path: Path) -> None:
    """Though it is in no text that people read."""
    backbone = _backbone(tmp_path)
    start = backbone.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert stop_ids(backbone, ["<|im_start|>", "cat", "<|im_start|> cat", "nowhere"]) == {start}
    prompts = [item.ids for item in items(backbone)] * 4
    draws = uniform_draws([(4, r) for r in range(len(prompts))], 25)
    plain = generate(backbone, POLICY, prompts, draws, 1.5)
    stopped = generate(backbone, POLICY, prompts, draws, 1.5, ["<|im_start|>"])
    assert any(start in sample.ids for sample in plain)
    for before, after in zip(plain, stopped, strict=True):
        if start in before.ids:
            assert after.finish_reason == "stop" and after.ids.index(start) == len(after.ids) - 1
            assert before.ids[:len(after.ids)] == after.ids and before.text.startswith(after.text)
        else:
            assert after == before


def test_a_stop_request_gets_through(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(backbone, POLICY, [items(backbone)[0].ids], uniform_draws([(0,)], 5), 1.0,
                 check=stop)


def test_log_probabilities_and_gradients_are_those_of_a_plain_softmax(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    prompts = [item.ids for item in items(backbone)]
    responses = [[4 + (row * 7 + t) % 30 for t in range(3 + row)] for row in range(len(prompts))]
    texts = join(prompts, responses, backbone.pad_id, backbone.device)
    batch, mask = texts.batch, texts.mask
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    parameters = backbone.adapter_parameters(POLICY)

    def gradients(logprobs: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((logprobs * weights * mask).sum(), parameters))

    ours = response_logprobs(backbone, POLICY, texts, 0.7)
    mine = gradients(ours.logprobs)
    hidden = backbone.hidden(batch, POLICY)
    table = (backbone.language_model.lm_head(hidden) / 0.7).log_softmax(-1)

    def at_responses(values: torch.Tensor) -> torch.Tensor:
        """[B, R] of [B, T]: for each row, what stands one place before each response token."""
        return torch.stack([torch.nn.functional.pad(
            values[row, len(p) - 1:len(p) - 1 + len(r)], (0, mask.shape[1] - len(r)))
            for row, (p, r) in enumerate(zip(prompts, responses, strict=True))])

    plain = at_responses(table[:, :-1].gather(-1, batch.ids[:, 1:, None]).squeeze(-1))
    torch.testing.assert_close(ours.logprobs, plain * mask, atol=1e-5, rtol=1e-5)
    for a, b in zip(mine, gradients(plain), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    entropy = at_responses(-(table.exp() * table).sum(-1)) * mask
    torch.testing.assert_close(ours.entropy, entropy, atol=1e-4, rtol=1e-4)
    assert not ours.entropy.requires_grad


def test_responses_are_found_behind_their_prompts() -> None:
    texts = join([[1], [1, 2, 3], [4, 5]], [[7, 8, 9], [6], [7, 8]], 0, torch.device("cpu"))
    assert texts.batch.ids.tolist() == [[1, 7, 8, 9], [1, 2, 3, 6], [4, 5, 7, 8]]
    assert texts.mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert (texts.tokens * texts.mask).tolist() == [[7, 8, 9], [6, 0, 0], [7, 8, 0]]
    hidden = texts.batch.ids[..., None].float()  # a "hidden state" that says its own token
    assert (texts.before(hidden)[..., 0] * texts.mask).tolist() == [[1, 7, 8], [3, 0, 0], [5, 7, 0]]
    part = texts.select(torch.tensor([2]))
    assert part.mask.tolist() == [[1, 1]] and part.tokens.tolist() == [[7, 8]]
    assert [rows.tolist() for rows in texts.by_length(2, torch.tensor([1, 2, 0]))] == [[1, 2], [0]]
