"""The Jobs page's texts: the policy's answers beside the reference's, none of them trusted; and
what its forms make of what people type."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from annotate.engineers.charts import axes_of
from annotate.engineers.job_form import parse
from data.errors import BadInput


def _page() -> None:
    from annotate.engineers.page_jobs import _probes

    _probes([{"step": 0, "reward": 1.0},
             {"step": 5, "probes": [
                 {"prompt": "Hi <b>there</b>", "text": "**new** <script>alert(1)</script>",
                  "reference": "old"},
                 {"prompt": "Two", "text": "a", "reference": "b"}]},
             {"step": 6}])


def _no_probes() -> None:
    from annotate.engineers.page_jobs import _probes

    _probes([{"step": 0, "samples": []}])


def test_the_latest_probes_stand_side_by_side_as_text() -> None:
    app = AppTest.from_function(_page).run(timeout=60)
    assert not app.exception
    assert "step 5 beside the reference" in app.markdown[0].value
    shown = [element.proto.body for element in app.get("html")]
    assert len(shown) == 6 and len(app.columns) == 4
    assert "Hi &lt;b&gt;there" in shown[0]
    assert "Policy" in shown[1] and "<strong>new</strong>" in shown[1]
    assert "Reference" in shown[2] and "old" in shown[2]
    assert not any("<script" in body for body in shown)


def test_a_job_without_probes_shows_none() -> None:
    app = AppTest.from_function(_no_probes).run(timeout=60)
    assert not app.exception and not app.markdown and not app.get("html")


def _reports() -> None:
    from annotate.engineers.charts import result

    tested = {"reward_model": "reward-1", "prompts": 19, "pairs": 296}
    result("train-reward", tested)
    result("eval-reward", {**tested, "file": {"prompts": 19, "training_prompts": 0}})
    result("sample", {"tasks": 4, "pairs": 8})


def test_what_a_reward_model_was_tested_on_is_not_taken_for_what_it_learned() -> None:
    app = AppTest.from_function(_reports).run(timeout=60)
    trained, of_file, other = [element.proto.body for element in app.get("html")]
    assert "<td>Held-out pairs</td><td>296</td>" in trained
    assert "<td>Held-out prompts</td><td>19</td>" in trained
    assert "<td>Pairs</td>" in of_file and "<td>Pairs</td>" in other


@pytest.mark.parametrize(("kind", "typed", "found"), [
    ("float", "0,125", 0.125), ("float", "1e-5", 1e-5), ("float", " 0,5 ", 0.5),
    ("float", "1000", 1000.0), ("float", "", 3), ("int", "1000", 1000), ("int", "20", 20)])
def test_a_number_is_read_as_people_write_it(kind: str, typed: str, found: float) -> None:
    assert parse({"name": "kl_stop", "type": kind, "default": 3}, typed) == found


@pytest.mark.parametrize(("kind", "typed", "said"), [
    ("float", "1,000", "KL stop: 1,000 can be read in two ways; write 1000, or a point"),
    ("int", "1,000", "KL stop: 1,000 can be read in two ways; write 1000, or a point"),
    ("int", "٣", "KL stop: wanted a whole number, not '٣'"),
    ("float", "٣", "KL stop: wanted a number, not '٣'"),
    ("int", "1_000", "KL stop: wanted a whole number, not '1_000'"),
    ("float", "1_0.5", "KL stop: wanted a number, not '1_0.5'"),
    ("float", "inf", "KL stop: wanted a finite number, not 'inf'"),
    ("float", "nan", "KL stop: wanted a finite number"),
    ("float", "1e400", "KL stop: wanted a finite number"),
    ("float", "1,000.5", "KL stop: wanted a number"),
    ("int", "1,5", "KL stop: wanted a whole number, not '1,5'"),
    ("int", "1e3", "KL stop: wanted a whole number")])
def test_what_is_no_number_for_a_job_is_refused_by_its_fields_name(
        kind: str, typed: str, said: str) -> None:
    field: dict[str, Any] = {"name": "kl_stop", "type": kind, "default": 3}
    with pytest.raises(BadInput) as caught:
        parse(field, typed)
    assert str(caught.value).startswith(said)


def test_a_number_below_what_a_job_takes_is_refused_by_its_fields_name() -> None:
    epochs: dict[str, Any] = {"name": "epochs", "type": "int", "default": 3, "least": 1}
    rate: dict[str, Any] = {"name": "learning_rate", "type": "float", "default": 1.0, "above": 0}
    assert parse(epochs, "1") == 1 and parse(rate, "1e-9") == 1e-9
    with pytest.raises(BadInput, match=r"^Epochs: must be at least 1, not -1$"):
        parse(epochs, "-1")
    with pytest.raises(BadInput, match=r"^Learning rate: must be above 0, not -1\.0$"):
        parse(rate, "-1")


def test_a_curves_ticks_are_whole_steps_and_shares_stay_between_0_and_1() -> None:
    short, long = axes_of("held_out_accuracy", [1, 2, 3]), axes_of("loss", list(range(50)))
    assert short["xaxis"]["dtick"] == 1 and "dtick" not in long["xaxis"]
    allowed = short["yaxis"]["autorangeoptions"]
    assert -0.1 < allowed["minallowed"] <= 0 and 1 <= allowed["maxallowed"] < 1.1
    assert "autorangeoptions" not in long["yaxis"]
