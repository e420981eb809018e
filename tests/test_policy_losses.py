"""PPO's arithmetic against plain numpy, written from the papers."""

import numpy as np
import pytest
import torch

from policy.losses import (
    adapted_kl_coefficient,
    advantages_and_returns,
    approximate_kl,
    clipped_policy_loss,
    clipped_value_loss,
    exact_kl_loss,
    exact_kl_rewards,
    explained_variance,
    kl_k1,
    kl_k3,
    kl_rewards,
    last_index,
    masked_mean,
    masked_whiten,
    placed,
    whitening_scale,
)

RNG = np.random.default_rng(0)
LENGTHS = [5, 3, 1, 6]
B, R = len(LENGTHS), 6
MASK = np.array([[float(t < n) for t in range(R)] for n in LENGTHS])


def _random() -> np.ndarray:
    return RNG.normal(size=(B, R)).astype(np.float64)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values)


def test_rewards_are_kl_a_token_and_the_score_at_the_last_real_one() -> None:
    new, old, scores = _random(), _random(), RNG.normal(size=B)
    found = kl_rewards(_tensor(new), _tensor(old), _tensor(scores), _tensor(MASK), 0.3).numpy()
    for row, length in enumerate(LENGTHS):
        expected = [-0.3 * (new[row, t] - old[row, t]) for t in range(length)]
        expected[-1] += scores[row]
        np.testing.assert_allclose(found[row, :length], expected)
        assert not found[row, length:].any()


def test_the_last_index_ignores_padding_and_empty_rows() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]])
    assert last_index(mask).tolist() == [1, 2, 0]
    none = torch.zeros(3, 3)
    for rewards in (kl_rewards(none, none, torch.ones(3), mask.float(), 0.1),
                    exact_kl_rewards(none, torch.ones(3), mask.float(), 0.1)):
        assert rewards.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_follow_the_definition(gamma: float, lam: float) -> None:
    rewards, values = _random() * MASK, _random()
    advantages, returns = advantages_and_returns(
        _tensor(rewards), _tensor(values), _tensor(MASK), gamma, lam)
    for row, n in enumerate(LENGTHS):
        following = [*values[row, 1:n], 0.0]
        deltas = [rewards[row, t] + gamma * following[t] - values[row, t] for t in range(n)]
        for t in range(n):  # the definition's sum, not the recursion
            expected = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, n))
            assert advantages[row, t].item() == pytest.approx(expected)
            assert returns[row, t].item() == pytest.approx(expected + values[row, t])
        assert not advantages[row, n:].any() and not returns[row, n:].any()


def test_whitening_sees_real_tokens_only() -> None:
    values = _random()
    real = values[MASK.astype(bool)]
    padded = values + 1e6 * (1 - MASK)
    found = masked_whiten(_tensor(padded), _tensor(MASK)).numpy()
    np.testing.assert_allclose(found[MASK.astype(bool)], (real - real.mean()) / real.std(),
                               rtol=1e-5)
    assert not found[~MASK.astype(bool)].any()
    assert masked_mean(_tensor(padded), _tensor(MASK)).item() == pytest.approx(real.mean())


def test_the_policy_loss_is_the_clipped_surrogate() -> None:
    new, old, advantages = _random() * 0.4, _random() * 0.4, _random()
    loss, clipped = clipped_policy_loss(_tensor(new), _tensor(old), _tensor(advantages),
                                        _tensor(MASK), 0.2, MASK.sum())
    total, count = 0.0, 0
    for row, n in enumerate(LENGTHS):
        for t in range(n):
            ratio, a = np.exp(new[row, t] - old[row, t]), advantages[row, t]
            total += min(ratio * a, np.clip(ratio, 0.8, 1.2) * a)
            count += (ratio > 1.2 and a > 0) or (ratio < 0.8 and a < 0)
    assert loss.item() == pytest.approx(-total / MASK.sum())
    assert int(clipped) == count > 0


def test_a_clipped_token_has_no_gradient_and_the_first_step_has_the_policy_gradient() -> None:
    old = torch.zeros(1, 3, dtype=torch.float64)
    new = torch.tensor([[0.0, 1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[2.0, 1.0, -1.0]], dtype=torch.float64)
    loss, _ = clipped_policy_loss(new, old, advantages, torch.ones(1, 3), 0.2, 3)
    loss.backward()
    assert new.grad is not None
    np.testing.assert_allclose(new.grad.numpy(), [[-2 / 3, 0, 0]], atol=1e-12)


def test_the_value_loss_is_clipped_around_the_old_value() -> None:
    new, old, returns = _random(), _random(), _random()
    loss, clipped = clipped_value_loss(_tensor(new), _tensor(old), _tensor(returns),
                                       _tensor(MASK), 0.2, MASK.sum())
    total, count = 0.0, 0
    for row, n in enumerate(LENGTHS):
        for t in range(n):
            near = old[row, t] + np.clip(new[row, t] - old[row, t], -0.2, 0.2)
            plain = (new[row, t] - returns[row, t]) ** 2
            cut = (near - returns[row, t]) ** 2
            total += 0.5 * max(plain, cut)
            count += cut > plain
    assert loss.item() == pytest.approx(total / MASK.sum())
    assert int(clipped) == count


def test_the_kl_estimator_is_k3_and_unbiased() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    exact = float((p * np.log(p / q)).sum())  # KL(old ‖ new), sampled from old
    drawn = RNG.choice(3, size=200_000, p=p)
    new, old = np.log(q)[drawn][None], np.log(p)[drawn][None]
    estimate = approximate_kl(_tensor(new), _tensor(old), torch.ones(1, drawn.size)).item()
    assert estimate / drawn.size == pytest.approx(exact, rel=0.02)
    assert approximate_kl(_tensor(_random()), _tensor(_random()), _tensor(MASK)).item() >= 0


def test_explained_variance() -> None:
    returns = _tensor(_random())
    assert explained_variance(returns, returns, _tensor(MASK)) == pytest.approx(1)
    assert explained_variance(torch.zeros(B, R), returns, _tensor(MASK)) == pytest.approx(0)
    assert np.isnan(explained_variance(returns, torch.ones(B, R), _tensor(MASK)))
    values, real = _random(), MASK.astype(bool)
    left = (returns.numpy() - values)[real]
    for scale in (1.0, 1e-4):  # whatever the rewards' unit
        assert explained_variance(_tensor(scale * values), scale * returns, _tensor(MASK)) == (
            pytest.approx(1 - left.var() / returns.numpy()[real].var()))


def test_the_kl_controller_is_zieglers() -> None:
    # 10 % too much KL, 256 responses, horizon 10,000: β grows by 0.1 · 256 / 10,000.
    assert adapted_kl_coefficient(0.15, 6.6, 6.0, 256, 10_000) == pytest.approx(
        0.15 * (1 + 0.1 * 256 / 10_000))
    assert adapted_kl_coefficient(0.15, 60, 6.0, 256, 10_000) == pytest.approx(
        0.15 * (1 + 0.2 * 256 / 10_000))  # the error is clipped
    assert adapted_kl_coefficient(0.15, 0, 6.0, 256, 10_000) == pytest.approx(
        0.15 * (1 - 0.2 * 256 / 10_000))


def test_losses_do_not_depend_on_how_a_minibatch_is_split() -> None:
    new, old, advantages = (_tensor(_random()) for _ in range(3))
    mask = _tensor(MASK)
    whole, _ = clipped_policy_loss(new, old, advantages, mask, 0.2, mask.sum())
    parts = sum(clipped_policy_loss(new[i:i + 1], old[i:i + 1], advantages[i:i + 1],
                                    mask[i:i + 1], 0.2, mask.sum())[0] for i in range(B))
    assert float(parts) == pytest.approx(whole.item())


def test_k1_and_k3_are_unbiased_and_k3_is_never_negative() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.35, 0.35, 0.3])
    exact = float((p * np.log(p / q)).sum())  # KL(π ‖ π_ref), sampled from π
    drawn = RNG.choice(3, size=(100_000, 2), p=p)
    new, old, mask = np.log(p)[drawn], np.log(q)[drawn], np.ones(drawn.shape)
    k1 = kl_k1(_tensor(new), _tensor(old), _tensor(mask)).numpy()
    k3 = kl_k3(_tensor(new), _tensor(old), _tensor(mask)).numpy()
    for found in (k1, k3):  # two tokens a response
        assert found.mean() == pytest.approx(2 * exact, abs=5 * found.std() / np.sqrt(100_000))
    assert (k3 >= 0).all() and (k1 < 0).any() and k3.std() < k1.std() / 3
    row = [(new[0, t] - old[0, t], q[drawn[0, t]] / p[drawn[0, t]]) for t in range(2)]
    assert k1[0] == pytest.approx(sum(r[0] for r in row))
    assert k3[0] == pytest.approx(sum(r[1] - 1 - np.log(r[1]) for r in row))


def test_estimates_of_the_kl_ignore_padding() -> None:
    new, old = _random(), _random()
    dirty = new + 50 * (1 - MASK)
    for estimator in (kl_k1, kl_k3, approximate_kl):
        torch.testing.assert_close(estimator(_tensor(dirty), _tensor(old), _tensor(MASK)),
                                   estimator(_tensor(new), _tensor(old), _tensor(MASK)))


def test_k3_as_a_reward_would_hold_nothing_back_near_the_reference() -> None:
    """Why it is no penalty: its expected policy gradient is that of KL(π‖q) − KL(q‖π)."""
    q = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    for distance in (1.0, 0.1):
        scores = (q + distance * torch.tensor([0.5, -1.0, 0.3])).requires_grad_()
        log_p = scores.log_softmax(-1)
        p = log_p.exp()

        def gradient(value: torch.Tensor, of: torch.Tensor = scores) -> torch.Tensor:
            return torch.autograd.grad(value, of, retain_graph=True)[0]

        ratio = (q - log_p).detach()
        as_reward = gradient((p.detach() * (torch.expm1(ratio) - ratio) * log_p).sum())
        forward, backward = (p * (log_p - q)).sum(), (q.exp() * (q - log_p)).sum()
        torch.testing.assert_close(as_reward, gradient(forward - backward))
        k1 = gradient((p.detach() * -ratio * log_p).sum())
        torch.testing.assert_close(k1, gradient(forward))
    assert as_reward.norm() < 0.1 * gradient(forward).norm()


def test_with_the_exact_kl_a_token_pays_for_the_state_it_leads_to() -> None:
    kl, scores = np.abs(_random()), RNG.normal(size=B)
    found = exact_kl_rewards(_tensor(kl), _tensor(scores), _tensor(MASK), 0.3).numpy()
    for row, n in enumerate(LENGTHS):
        expected = [-0.3 * kl[row, t + 1] if t + 1 < n else scores[row] for t in range(n)]
        np.testing.assert_allclose(found[row, :n], expected)
        assert not found[row, n:].any()
    loss = exact_kl_loss(_tensor(kl), _tensor(MASK), 0.3, MASK.sum())
    assert loss.item() == pytest.approx(0.3 * (kl * MASK).sum() / MASK.sum())


def test_what_tokens_bring_lies_where_they_are_and_what_is_left_over_at_the_last() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
    found = placed([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0, 8.0], [5.0], [7.0], []], mask)
    assert found.tolist() == [[1, 2, 3, 0], [1, 14, 0, 0], [5, 0, 0, 0], [0] * 4, [0] * 4]


def test_whitening_multiplies_by_its_scale() -> None:
    values = _tensor(_random())
    mask = _tensor(MASK)
    scale = whitening_scale(values, mask)
    white = masked_whiten(values, mask)
    torch.testing.assert_close(white, (values - masked_mean(values, mask)) * scale * mask)
