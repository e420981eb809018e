"""Where things stand on the labeling page, and what the keyboard reaches there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Newcomer, Server, Tasks
from desk_page import button, done, key, panes, sides, stored
from playwright.sync_api import Locator, expect

from data.questions import Question

pytestmark = pytest.mark.browser

ARABIC = "يمكنك الاحتفاظ به في الثلاجة لمدة أسبوع."


@pytest.fixture
def scored(server: Server) -> Iterator[None]:
    server.store.questions.change(Question(scores=True))
    yield
    server.store.questions.change(Question())


def written_at(block: Locator) -> tuple[float, float]:
    """How far a block's first line is from its left edge, and from its right one."""
    return tuple(block.evaluate("""(block) => {
      const range = document.createRange();
      range.selectNodeContents(block);
      const [line, all] = [range.getClientRects()[0], block.getBoundingClientRect()];
      return [line.left - all.left, all.right - line.right];
    }"""))


@pytest.mark.usefixtures("scored")
def test_the_keys_of_flags_move_no_text(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    page = newcomer(width=1440)[1].page
    sides(page)
    before = panes(page).first.bounding_box()
    key(page, "f")
    expect(page.locator(".pf-active kbd").first).to_be_visible()
    assert panes(page).first.bounding_box() == before


@pytest.mark.usefixtures("scored")
def test_scores_are_chosen_by_the_arrow_keys_and_are_one_stop_of_tab(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    me, one = newcomer()
    page = one.page
    sides(page)
    for letter, keys, score in (("A", ("ArrowRight", "ArrowDown"), "3"),
                                ("B", ("ArrowLeft",), "7")):
        group = page.get_by_role("radiogroup", name=f"Score of {letter}")
        group.get_by_role("radio").first.focus()
        for name in keys:
            page.keyboard.press(name)
        expect(group.get_by_role("radio", name=score)).to_be_focused()
        assert group.locator("[aria-checked=true]").all_inner_texts() == [score]
        page.keyboard.press("Tab")
        expect(page.get_by_role("group", name=f"Flags of {letter}")
               .get_by_role("button").first).to_be_focused()
        page.keyboard.press("Shift+Tab")
        expect(group.get_by_role("radio", name=score)).to_be_focused()
    key(page, "2")
    expect(done(page)).to_be_visible()
    answer, = stored(server, me)
    assert [answer.answer.scores[i] for i in answer.shown] == [3, 7]


def test_each_paragraph_runs_as_it_begins_and_code_from_the_left(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, (f"{ARABIC}\n\nKeep it cold.\n\n```\nx = 1\n```", "Other"))
    page = newcomer()[1].page
    sides(page)
    pane = panes(page).filter(has_text=ARABIC)
    for block, from_left in ((pane.locator("p").nth(0), False), (pane.locator("p").nth(1), True),
                             (pane.locator("pre"), True)):
        left, right = written_at(block)
        assert (left < right) == from_left, block


def test_an_empty_desk_offers_no_differences(server: Server, newcomer: Newcomer) -> None:
    page = newcomer()[1].page
    expect(page.locator(".pf-desk.pf-empty-desk")).to_be_visible()
    expect(button(page, "Undo")).to_be_visible()
    expect(button(page, "Differences")).to_be_hidden()


def test_what_is_not_ranked_stands_beside_its_name(server: Server, newcomer: Newcomer,
                                                   tasks: Tasks) -> None:
    tasks(1, ("one", "two", "three", "four"))
    page = newcomer(width=390, height=844)[1].page
    sides(page)
    for pressed in ("2", "1", "="):
        key(page, pressed)
    key(page, "4")  # the strip has no room for more in one row
    name, pool = (page.locator(what).bounding_box() for what in (
        ".pf-ranking >> text='Not ranked'", ".pf-pool"))
    assert name is not None and pool is not None
    assert pool["y"] < name["y"] + name["height"] / 2 < pool["y"] + pool["height"]
