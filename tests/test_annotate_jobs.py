"""The Jobs page's texts: the policy's answers beside the reference's, none of them trusted."""

from streamlit.testing.v1 import AppTest


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
