"""Reading help in real Chromium: differences, guidelines, folding, formulas, hostile text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import Newcomer, Server, Tasks, Visit, add_task, sign_in
from desk_page import button, key, panes, sides, status
from playwright.sync_api import Page, expect
from test_annotate_rendering import PAYLOADS

from data.records import Labeler, Message

pytestmark = pytest.mark.browser


def marked(page: Page) -> dict[str, list[str]]:
    """What is marked in each response, by its whole text."""
    return {pane.inner_text().split("\n")[0]: pane.locator("mark").all_inner_texts()
            for pane in panes(page).all()}


def test_differences_are_marked_word_by_word_and_passage_by_passage(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, (
        "Long: the sky looks **blue because** air scatters light.\n\nA passage of its own here, "
        "which the other lacks entirely.\n\n- one item\n- another item `code <b>`",
        "Short: the sky looks red because air scatters light.\n\n- one item\n- another thing "
        "`code <b>`"))
    _, one = newcomer()
    page = one.page
    before = sides(page)
    key(page, "d")
    expect(status(page)).to_have_text("Marked: what the other one does not say there.")
    found = marked(page)
    long, short = (found[next(name for name in found if name.startswith(start))]
                   for start in ("Long", "Short"))
    assert long == ["Long", "blue",
                    "A passage of its own here, which the other lacks entirely.", "item"]
    assert short == ["Short", "red", "thing"]
    assert sides(page) == before  # marks change no text
    key(page, "d")
    expect(page.locator("mark")).to_have_count(0)
    assert sides(page) == before
    html = panes(page).first.inner_html()
    key(page, "d")
    key(page, "d")
    assert panes(page).first.inner_html() == html


def test_differences_of_huge_and_of_equal_texts(server: Server, newcomer: Newcomer,
                                                tasks: Tasks) -> None:
    long = [f"word{number % 977}" for number in range(6000)]
    tasks(1, (" ".join(long), " ".join([*long[:3000], "NEW", *long[3001:]])))
    _, one = newcomer()
    sides(one.page)
    key(one.page, "d")
    expect(status(one.page)).to_contain_text("Marked")
    found = [word for words in marked(one.page).values() for word in words]
    assert sorted(found) == ["NEW", long[3000]]

    tasks(1, ("twice the same $x^2$", "twice  the same\n$x^2$"))
    _, two = newcomer()
    sides(two.page)
    key(two.page, "d")
    expect(status(two.page)).to_have_text("No word differs.")


def test_of_many_responses_each_is_held_against_the_best(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(1, ("same words in all", "same words in none", "other words in all"))
    _, one = newcomer()
    page = one.page
    texts = sides(page)
    key(page, "d")
    expect(status(page)).to_have_text("Marked: what A does not say there.")
    place = texts.index("same words in none")
    page.keyboard.press(str(place + 1))
    expect(panes(page).nth(place).locator("mark")).to_have_count(0)
    found = marked(page)
    assert found["same words in all"] == ["all"]
    assert found["other words in all"] == ["other", "all"]


def test_guidelines_lie_beside_the_task(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    server.store.questions.write_guidelines("# How to judge\n\nBe **fair**. <script>x</script>")
    me, one = newcomer()
    page = one.page
    panel = page.get_by_role("complementary", name="Guidelines")
    expect(panel).to_be_visible()  # new ones are open
    expect(panel.locator("strong")).to_have_text("fair")
    expect(panel).to_contain_text("Version 1")
    key(page, "g")
    expect(panel).to_be_hidden()
    page.reload()
    sides(page)
    expect(panel).to_be_hidden()
    page.keyboard.press("g")
    expect(panel).to_be_visible()
    key(page, "1")
    expect(status(page)).to_contain_text("Saved")
    assert server.store.comparisons.current(labeler_id=me.id)[0].answer.guidelines_version == 1
    page.get_by_role("button", name="Close the guidelines").click()
    expect(panel).to_be_hidden()
    server.store.questions.write_guidelines("Version two of them")
    page.reload()
    expect(panel).to_contain_text("Version two of them")


def test_formulas_tables_and_code_are_drawn(server: Server, newcomer: Newcomer,
                                            tasks: Tasks) -> None:
    tasks(1, ("Roots: $x = \\frac{-b}{2a}$ and \\[\\sum_{i=1}^n i\\]", "costs $5 or $10\n\n"
              "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx < y\n```"))
    _, one = newcomer()
    page = one.page
    sides(page)
    box = page.locator("math mfrac").bounding_box()
    assert box is not None and box["height"] > 15  # drawn as a fraction, not as text in a line
    expect(page.locator("math[display=block] munderover")).to_have_count(1)
    expect(page.locator(".pf-text td")).to_have_text(["1", "2"])
    expect(page.locator(".pf-text pre")).to_have_text("x < y\n")
    prose = page.locator(".pf-response", has_text="costs $5 or $10")
    expect(prose.locator("math")).to_have_count(0)


def test_a_long_conversation_is_folded_and_opened_by_key(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(0)
    turn = server.store.rounds.current()
    assert turn is not None
    add_task(server.store, turn.id, [
        Message(role="user", content="the very first words " + "old " * 300),
        Message(role="assistant", content="an old answer " * 30),
        Message(role="user", content="what now?")], ["one", "two"])
    _, one = newcomer()
    page = one.page
    sides(page)
    expect(page.get_by_text("what now?")).to_be_visible()
    expect(page.get_by_text("the very first words")).to_be_hidden()
    key(page, "h")
    expect(page.get_by_text("the very first words")).to_be_visible()


def test_text_size_is_kept_and_responses_lie_side_by_side(server: Server, newcomer: Newcomer,
                                                          tasks: Tasks) -> None:
    tasks(1)
    _, one = newcomer()
    page = one.page
    sides(page)
    left, right = (panes(page).nth(i).bounding_box() for i in range(2))
    assert left is not None and right is not None
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]

    def size() -> float:
        """Of ordinary text, which stands in paragraphs and lists."""
        sizes = panes(page).first.evaluate("""(pane) => {
            pane.insertAdjacentHTML("beforeend", "<p>one</p><ul><li>two</li></ul>");
            const found = [...pane.querySelectorAll("p, li")].map(
                (each) => parseFloat(getComputedStyle(each).fontSize));
            return [Math.min(...found), Math.max(...found)]; }""")
        assert sizes[0] == sizes[1]
        return float(sizes[0])

    normal = size()
    page.keyboard.press("+")
    larger = size()
    assert larger > normal
    page.reload()
    sides(page)
    assert size() == larger
    button(page, "A: smaller text").click()
    page.keyboard.press("-")
    assert size() < normal


def test_hostile_responses_run_nothing_and_load_nothing(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    texts = list(PAYLOADS.values())
    tasks(1, tuple(dict.fromkeys(("\n\n".join(texts[::2]), "\n\n".join(texts[1::2])))))
    server.store.questions.write_guidelines("\n\n".join(texts))
    me, one = person(), window()
    one.page.add_init_script("window.ran = 0; window.alert = () => { window.ran += 1 }")
    sign_in(one, server, me)
    page = one.page
    expect(panes(page)).to_have_count(2)
    key(page, "d")
    expect(status(page)).to_contain_text("Marked")
    assert page.evaluate("window.ran") == 0
    inside = page.locator(".pf-text")
    for tag in ("script", "img", "iframe", "svg", "a", "form", "style", "link", "object", "input"):
        assert inside.locator(tag).count() == 0
    assert page.evaluate("""() => [...document.querySelectorAll(".pf-text, .pf-text *")].every(
        (element) => [...element.attributes].every(({name}) => !name.startsWith("on")
            && !["style", "src", "href", "id"].includes(name)))""")
    headers = page.request.get(server.url).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe-eval" not in policy
    assert "blob:" not in next(p for p in policy.split(";") if "script-src" in p)
    assert headers["x-content-type-options"] == "nosniff"
    assert page.request.put(f"{server.url}/_stcore/upload_file/a/b").status == 404


def test_the_browsers_own_wall_lets_nothing_through(server: Server, newcomer: Newcomer,
                                                    tasks: Tasks) -> None:
    """Even if the server's two walls were gone."""
    tasks(1)
    _, one = newcomer()
    page = one.page
    sides(page)
    left = page.evaluate("""async (texts) => {
        const { inert } = await import("/_stcore/bidi-components/prefloop.desk/inert.js");
        const holder = document.createElement("div");
        document.body.append(holder);
        for (const text of texts) holder.append(inert(text));
        return [...holder.querySelectorAll("*")].map((element) => element.localName + " "
            + [...element.attributes].map(({name}) => name).join(" ")); }""",
                         [*PAYLOADS.values(), "<p onclick=alert(1) style='x'>a</p>",
                          "<math><mtext><a xlink:href='javascript:1'>x</a></mtext></math>"])
    assert left
    one.errors.clear()  # the browser names the handlers that it refuses to make, even here
    for element in left:
        name, *attributes = element.split()
        assert name not in ("script", "img", "iframe", "svg", "a", "style", "link", "form",
                            "object", "meta", "template", "button")
        assert not {"style", "src", "href", "onclick", "onerror", "onload"} & set(attributes)
