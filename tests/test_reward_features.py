"""Features of the frozen backbone: the right layer over the right tokens, computed once."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from reward_world import text

from backbone import flat_pass, layouts
from backbone.layouts import layer_count
from backbone.model import Backbone
from backbone.text import conversation_ids, prompt_ids
from data.errors import BadInput
from data.records import Message
from reward.instant.features import EncodedResponse, compute, encode_response, fingerprint
from reward.kinds import FeatureKind, question_of

KINDS = [FeatureKind(1, "mean"), FeatureKind(1, "last"), FeatureKind(3, "mean"),
         FeatureKind(2, "last")]


@pytest.fixture(params=[False, True], ids=["pad", "pad-is-eos"])
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path, layers=4, pad_is_eos=request.param)


def responses(backbone: Backbone, prompts: int = 4, each: int = 3, seed: int = 0,
              question: str = "") -> list[EncodedResponse]:
    draw = random.Random(seed)
    found = []
    for _ in range(prompts):
        messages = [Message(role="user", content=text(draw, draw.randint(1, 9)))]
        found += [encode_response(backbone, messages, text(draw, draw.randint(1, 12)), 512,
                                  question) for _ in range(each)]
    return random.Random(1).sample(found, len(found))


def by_hand(backbone: Backbone, response: EncodedResponse, kind: FeatureKind) -> np.ndarray:
    """All hidden states of one text by itself, from the model's own output."""
    with torch.no_grad():
        states = backbone.trunk(input_ids=torch.tensor([list(response.ids)]),
                                output_hidden_states=True, use_cache=False).hidden_states
    own = states[kind.layer][0, response.start:response.end]
    return np.asarray({"mean": own.mean(0), "last": own[-1],
                       "asked": states[kind.layer][0, -1]}[kind.pooling])


def test_features_are_those_of_each_text_by_itself(backbone: Backbone) -> None:
    asked = responses(backbone)
    found = compute(backbone, asked, KINDS)
    for kind in KINDS:
        for row, response in zip(found[kind], asked, strict=True):
            assert row == pytest.approx(by_hand(backbone, response, kind), abs=2e-5)


def test_what_is_asked_about_a_response_is_read_after_it(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [*KINDS, FeatureKind(3, "asked", "why?"), FeatureKind(1, "asked", "why?")]
    assert question_of(kinds) == "why?" and question_of(KINDS) == ""
    asked, plain = responses(backbone, question="why?"), responses(backbone)
    found, without = compute(backbone, asked, kinds), compute(backbone, plain, KINDS)
    monkeypatch.setattr(layouts, "runs_flat", lambda _: False)
    packed = compute(backbone, asked, kinds)
    for kind in kinds:
        assert packed[kind] == pytest.approx(found[kind], abs=2e-5)
        for row, response in zip(found[kind], asked, strict=True):
            assert row == pytest.approx(by_hand(backbone, response, kind), abs=2e-5)
    for kind in KINDS:
        assert found[kind] == pytest.approx(without[kind], abs=2e-5), "they only look back"


def test_a_question_is_the_users_next_turn(backbone: Backbone) -> None:
    messages = [Message(role="user", content="tell me about the cat")]
    asked = encode_response(backbone, messages, "red green", 512, "why?")
    turns = [*messages, Message(role="assistant", content="red green"),
             Message(role="user", content="why?")]
    assert list(asked.ids) == prompt_ids(backbone.tokenizer, turns)
    assert asked.ids[:asked.end] == encode_response(backbone, messages, "red green", 512).ids
    cut = encode_response(backbone, [*messages, Message(role="assistant", content="dog " * 9),
                                     *messages], "red green", len(asked.ids), "why?")
    assert len(cut.ids) <= len(asked.ids)
    assert cut.ids[cut.start:] == asked.ids[asked.start:]


def test_same_text_same_features_flat_packed_padded_or_alone(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = responses(backbone)
    together = compute(backbone, asked, KINDS)
    alone = [compute(backbone, [one], KINDS) for one in asked]
    monkeypatch.setattr(layouts, "runs_flat", lambda _: False)
    packed = compute(backbone, asked, KINDS)
    monkeypatch.setattr(Backbone, "can_pack", False)
    padded = compute(backbone, asked, KINDS)
    for kind in KINDS:
        assert together[kind] == pytest.approx(np.vstack([a[kind] for a in alone]), abs=2e-5)
        assert packed[kind] == pytest.approx(together[kind], abs=2e-5)
        assert padded[kind] == pytest.approx(together[kind], abs=2e-5)


def test_half_precision_gives_the_same_to_its_rounding(tmp_path: Path) -> None:
    full = tiny_backbone(tmp_path, layers=4)
    half = tiny_backbone(tmp_path, layers=4, dtype=torch.bfloat16)
    asked = responses(full)
    exact = compute(full, asked, KINDS)
    for kind, values in compute(half, asked, KINDS).items():
        assert values.dtype == np.float32
        assert values == pytest.approx(exact[kind], abs=0.1)
    assert fingerprint(full) != fingerprint(half)


def test_an_adapter_changes_nothing(backbone: Backbone) -> None:
    asked = responses(backbone, 2)
    bare = compute(backbone, asked, KINDS)
    name, weights = fingerprint(backbone), backbone.new_lora_config(4, 8)
    backbone.add_adapter("moved", weights)
    for parameter in backbone.adapter_parameters("moved"):
        parameter.data += 0.5
    backbone.switch_to("moved")
    for kind, values in compute(backbone, asked, KINDS).items():
        assert values == pytest.approx(bare[kind], abs=2e-5)
    assert fingerprint(backbone) == name


@pytest.mark.parametrize("flat", [True, False])
def test_only_the_layers_asked_for_are_run(backbone: Backbone, flat: bool,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    run = []
    monkeypatch.setattr(layouts, "runs_flat", lambda _: flat)
    blocks = list(backbone.trunk.layers)  # type: ignore[arg-type]
    for number, block in enumerate(blocks, 1):
        block.register_forward_hook(lambda *_, number=number: run.append(number))
    as_it_is = flat_pass._layer
    monkeypatch.setattr(flat_pass, "_layer", lambda layer, *more: (
        run.append(blocks.index(layer) + 1), as_it_is(layer, *more))[1])
    compute(backbone, responses(backbone, 1), [FeatureKind(2)])
    assert max(run) == 2
    run.clear()
    backbone.hidden(feature_batch(backbone), None)  # and nothing is left in the way
    assert max(run) == layer_count(backbone) == 4


def feature_batch(backbone: Backbone):  # type: ignore[no-untyped-def]
    from backbone.text import pad

    return pad([[5, 6, 7]], backbone.pad_id, backbone.device)


def test_the_response_begins_where_the_prompt_ends(backbone: Backbone) -> None:
    messages = [Message(role="user", content="tell me about the cat")]
    encoded = encode_response(backbone, messages, "red green blue", 512)
    own = backbone.tokenizer.decode(encoded.ids[encoded.start:]).split()
    assert own[:3] == ["red", "green", "blue"]
    assert "assistant" not in own


def test_a_long_conversation_keeps_its_response(backbone: Backbone) -> None:
    old = [Message(role="user", content="one two three four five six " * 4),
           Message(role="assistant", content="seven eight nine ten " * 4),
           Message(role="user", content="tell me about the dog")]
    whole = encode_response(backbone, old, "yes red no", 512)
    cut = encode_response(backbone, old, "yes red no", 30)
    assert len(cut.ids) <= 30 < len(whole.ids)
    assert cut.ids[cut.start:] == whole.ids[whole.start:]
    turns = [*old, Message(role="assistant", content="yes red no")]
    assert list(cut.ids) == conversation_ids(backbone.tokenizer, turns, 30,
                                             backbone.config_pad_id)[0]
    tiny = encode_response(backbone, old, "yes red no " * 9, 10)
    assert tiny.start == 0
    assert len(tiny.ids) in (9, 10)  # a pad token at the end is left off


def test_responses_that_begin_alike_keep_what_they_share(backbone: Backbone) -> None:
    messages = [Message(role="user", content="say more")]
    asked = [encode_response(backbone, messages, words, 512)
             for words in ("the cat and the dog", "the cat and the sea", "the cat and", "the")]
    found = compute(backbone, asked, KINDS)
    for kind in KINDS:
        for row, response in zip(found[kind], asked, strict=True):
            assert row == pytest.approx(by_hand(backbone, response, kind), abs=2e-5)


def test_a_checkpoint_is_known_by_its_weights_wherever_they_lie(tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        folder = tiny_checkpoint(tmp_path / str(seed), seed=seed)
        found.append(Backbone(str(folder), torch.device("cpu"), torch.float32))
    assert fingerprint(found[0]) != fingerprint(found[1])
    moved = tmp_path / "moved"
    (tmp_path / "1").rename(moved)
    again = Backbone(str(moved / "tiny"), torch.device("cpu"), torch.float32)
    assert fingerprint(again) == fingerprint(found[0])


def test_wrong_kinds_are_refused(backbone: Backbone) -> None:
    for wrong in ((0, "mean"), (1, "max")):
        with pytest.raises(BadInput):
            FeatureKind(*wrong)
    for pooling, question in (("asked", ""), ("mean", "why?")):
        with pytest.raises(BadInput, match="with the question"):
            FeatureKind(1, pooling, question)
    with pytest.raises(BadInput, match="one question at a time"):
        question_of([FeatureKind(1, "asked", "why?"), FeatureKind(1, "asked", "how?")])
    for kind in (FeatureKind(20, "last"), FeatureKind(1, "asked", "Is this: right? (1.5)")):
        assert FeatureKind.parse(str(kind)) == kind
    with pytest.raises(BadInput, match="has 4"):
        compute(backbone, responses(backbone, 1), [FeatureKind(5)])


def test_progress_is_heard_and_stops_the_work(backbone: Backbone) -> None:
    heard: list[float] = []
    compute(backbone, responses(backbone), KINDS, heard.append)
    assert heard[-1] == 1

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        compute(backbone, responses(backbone), KINDS, stop)
