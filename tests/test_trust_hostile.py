"""Hostile text everywhere at once: on the pages of every role in real Chromium nothing of it runs,
loads, covers or leads away; exports and terminals get data."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import (
    Server,
    Visit,
    make_workspace,
    open_round,
    serving,
    settled,
    sign_in,
    visit,
)
from hostile_text import ALL, CHARACTERS, FORMULAS, HTML, LARGE, MARKDOWN
from playwright.sync_api import Browser, expect

from annotate.figures import as_label, table_html
from annotate.rendering import to_html
from data.comparisons import LONGEST_RATIONALE
from data.database import now
from data.errors import BadInput
from data.exchange.exporting import export
from data.exchange.importing import import_preferences, import_prompts
from data.people import LONGEST_NAME, alike
from data.questions import LONGEST_FLAG, MOST_FLAGS, Question
from data.records import Answer, Message, NewResponse
from data.store import DATABASE_NAME, Store
from data.visible import reveal, reveal_line
from loop.cli import run

#: No app of ours has these; the page's own are Streamlit's, under the same policy.
_FOUND = """() => {
  const far = /evil\\.example|javascript:|data:text/i, bad = [];
  const load = ['href', 'src', 'srcset', 'action', 'formaction', 'poster', 'data', 'style',
                'xlink:href', 'background', 'srcdoc'];
  const walk = root => { for (const e of root.querySelectorAll('*')) {
    for (const a of e.attributes) {
      if (/^on/i.test(a.name)) bad.push(e.outerHTML.slice(0, 200));
      if (load.includes(a.name) && far.test(a.value)) bad.push(e.outerHTML.slice(0, 200));
    }
    if (['IFRAME', 'OBJECT', 'EMBED', 'BASE'].includes(e.tagName)) bad.push(e.outerHTML);
    if (e.shadowRoot) walk(e.shadowRoot);
  } };
  walk(document);
  return [bad, window.hacked ?? null];
}"""
#: The menu is where it was, and what is at its place is the menu.
_COVERED = """() => [...document.querySelectorAll('[data-testid="stTopNavLink"]')]
  .filter(e => e.offsetParent).some(e => { const r = e.getBoundingClientRect();
    return !e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)); })"""


def names() -> list[str]:
    """Payloads as labelers' names: those that the store takes for one."""
    taken = {alike(text): text for text in ALL.values() if text.isprintable()
             and text == " ".join(text.split()) and len(text) <= LONGEST_NAME}
    return list(taken.values())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A workspace in which every field that holds text holds all of it."""
    store = make_workspace(tmp_path_factory.mktemp("hostile") / "workspace")
    fill(store)
    return store


def fill(store: Store) -> None:
    texts = list(ALL.values())
    writable = [text for text in texts if "\0" not in text and text.strip()]  # prompts are checked
    lead = store.people.add("the lead", "lead")
    store.questions.change(Question(flags=tuple(dict.fromkeys(
        text.strip() for text in texts if 0 < len(text.strip()) <= LONGEST_FLAG
        and text.isprintable()))[:MOST_FLAGS], reason=True, rewrite=True), lead.id)
    store.questions.write_guidelines("\n\n".join(MARKDOWN.values()), lead.id)
    store.put_setting("worker", {"pid": 1, "seen": now()})
    round_id = open_round(store)
    store.versions.add_policy(name=HTML["image handler"], base="tiny",
                              method=MARKDOWN["remote image"])
    talk = [Message(role="assistant" if i % 2 else "user", content=text)
            for i, text in enumerate([*writable, *["well?"] * (1 + len(writable) % 2)])]
    nine = ["\n\n".join(texts[i::9]) for i in range(9)]
    for prompt, responses in ((talk, nine), ([Message(role="user", content="large")],
                                             list(LARGE.values()))):
        prompt_id, _ = store.prompts.add(prompt, texts[0], [text for text in texts if text][:20])
        ids = store.responses.add([NewResponse(prompt_id, text, round_id=round_id, sample_index=i)
                                   for i, text in enumerate(responses)])
        store.tasks.add(prompt_id, ids, round_id=round_id, wanted=3,
                        priority=2.0 if responses is nine else 1.0)
    for name in names():
        store.people.add(name)
    first = store.people.named(names()[0])  # has done the one, and finds the large one
    task = store.tasks.get(1)
    store.assignments.assign(task.id, first.id)
    store.comparisons.submit(first.id, task, Answer(
        tuple((response,) for response in task.response_ids), 3), "key")
    for i, text in enumerate(writable):  # answers, each by a labeler of a hostile name
        prompt_id, _ = store.prompts.add([Message(role="user", content=f"{i} {text}")], text)
        ids = store.responses.add([NewResponse(prompt_id, f"{text} {side}") for side in "AB"])
        task = store.tasks.get(store.tasks.add(prompt_id, ids, round_id=round_id, wanted=2))
        for turn in range(2):  # who disagree
            who = store.people.named(names()[(i + turn) % len(names())])
            store.assignments.assign(task.id, who.id)
            store.comparisons.submit(who.id, task, Answer(
                tuple((response,) for response in ids[::1 - 2 * turn]), 3,
                rationale=text[:LONGEST_RATIONALE]), f"key-{i}-{turn}")
    job = store.jobs.add("ppo", {"prompts": texts[0]}, lead.id)
    with store.database.write() as db:
        db.conn.execute("UPDATE jobs SET status = 'failed', error = ?, message = ? WHERE id = ?",
                        [HTML["script"], MARKDOWN["streamlit colours"], job.id])


@pytest.fixture(scope="module")
def server(store: Store) -> Iterator[Server]:
    with serving(store.database.path.parent) as running:
        yield running


def harmless(window: Visit, where: str) -> None:
    """Nothing ran, nothing was fetched, nothing leads away and nothing covers the page."""
    window.page.wait_for_timeout(150)  # time for what would run by itself
    bad, ran = window.page.evaluate(_FOUND)
    assert bad == [] and ran is None and window.dialogs == [], (where, bad, ran)
    assert window.strangers() == [], (where, window.strangers())
    assert not window.page.evaluate(_COVERED), where
    assert window.page.url.startswith("http://127.0.0.1"), where


@pytest.mark.browser
@pytest.mark.parametrize("role", ["labeler", "lead"])
def test_no_page_runs_loads_or_is_covered(server: Server, chromium: Browser, role: str) -> None:
    who = server.store.people.named(names()[0]) if role == "labeler" else \
        server.store.people.named("the lead")
    window = visit(chromium)
    try:
        sign_in(window, server, who)
        settled(window.page)
        links = window.page.get_by_test_id("stTopNavLink")
        addresses = [link.get_attribute("href") or "" for link in links.all()]
        assert len(addresses) >= 3
        last = "large" if role == "labeler" else "well?"  # the last words of the prompt
        expect(window.page.get_by_text(last, exact=True).first).to_be_visible()
        harmless(window, "label")
        for address in addresses[1:]:
            window.page.goto(f"{server.url}/{address.rsplit('/', 1)[-1]}")
            settled(window.page)
            harmless(window, address)
            assert window.page.get_by_test_id("stException").count() == 0, address
            for fold in window.page.locator("details summary").all()[:3]:
                fold.click()
            settled(window.page)
            for choice in window.page.get_by_test_id("stButtonGroup").locator("button").all()[:6]:
                if choice.is_visible() and choice.is_enabled():
                    choice.click()
                    settled(window.page)  # what stands there next is drawn anew
            harmless(window, f"{address}, opened")
    finally:
        window.context.close()


@pytest.mark.browser
def test_one_text_does_not_turn_what_stands_beside_it(chromium: Browser) -> None:
    """Cells and labels after an override read as they would alone."""
    window = visit(chromium)
    try:
        window.page.set_content(table_html(("a", "b"), [
            (text, "left to right 123") for text in CHARACTERS.values()]) + "".join(
            f"<p><span class=x>{to_html(text)}</span></p>" for text in CHARACTERS.values()))
        shown = window.page.evaluate(
            "() => [...document.querySelectorAll('td:nth-child(2)')].map(e => e.innerText)")
        assert shown == ["left to right 123"] * len(CHARACTERS)
        source = window.page.content()
        assert not [c for c in "\u202e\u202d\u2066\u2067\u200b\ufeff\x1b\x9b" if c in source]
    finally:
        window.context.close()


@pytest.mark.parametrize("name", ALL)
def test_labels_and_cells_hold_text_only(name: str) -> None:
    cell = table_html(("x",), [(ALL[name],)])
    # Figures, such as a hostile "-2", are held together by ours.
    cell = re.sub(r'<span class="pf-whole">([^<>]*)</span>', r"\1", cell)
    assert cell.count("<") == table_html(("x",), [("",)]).count("<")
    label = as_label(ALL[name])
    for special in "[](){}<>:$*_`~#!|":
        assert label.count(special) == label.count("\\" + special)
    assert not re.search(r"https?\\?://|www\\?\.|@[\w-]", label, re.IGNORECASE)


def test_what_is_hidden_is_shown_and_what_scripts_need_stays() -> None:
    assert reveal("\x1b[31m a\u202eb \U000e0041 \x9b \x00 c\rd") == \
        "⟨001B⟩[31m a⟨202E⟩b ⟨E0041⟩ ⟨009B⟩ ⟨0000⟩ c⟨000D⟩d"
    assert reveal_line("a\r\nb\tc") == "a\\nb\\tc"
    for text in ("line\r\n\ttab", "👨‍👩‍👧 ❤️", "می‌خواهم", "שלום \u200f", "naïve café 你好"):
        assert reveal(text) == text


# Exports, imports and terminals -------------------------------------------------------------------


@pytest.mark.parametrize("what", ["comparisons", "preferences", "responses"])
def test_a_csv_holds_no_formula_and_jsonl_holds_every_character(
        store: Store, tmp_path: Path, what: str) -> None:
    export(store, tmp_path / "x.csv", what)
    csv.field_size_limit(10_000_000)
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert cells and not [cell for cell in cells if cell[:1] in tuple("=+@\t\r")]
    assert not [cell for cell in cells if cell[:1] == "-" and not _is_number(cell)]
    export(store, tmp_path / "x.jsonl", what)
    lines = (tmp_path / "x.jsonl").read_bytes().split(b"\n")
    rows = [json.loads(line) for line in lines if line]
    told = _strings(rows)
    if what == "responses":
        stored = {row["text"] for row in store.database.rows("SELECT text FROM responses")}
        assert stored <= told
    else:
        assert {f"{text} A" for text in FORMULAS.values()} <= told


def _is_number(cell: str) -> bool:
    try:
        return float(cell) < 0
    except ValueError:
        return False


def _strings(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    parts: Sequence[Any] = list(value.values()) if isinstance(value, dict) else \
        value if isinstance(value, list) else ()
    return set().union(*map(_strings, parts)) if parts else set()


def test_files_of_hostile_text_come_in_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / DATABASE_NAME)
    texts = {name: text for name, text in ALL.items() if "\0" not in text and text.strip()}
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text, "tags": [text]}) + "\n"
                            for text in texts.values()), "utf-8")
    import_prompts(store, file)
    stored = {prompt["content"] for row in store.database.rows("SELECT messages FROM prompts")
              for prompt in json.loads(row["messages"])}
    assert {text.strip() for text in texts.values()} == {text.strip() for text in stored}
    before = store.database.value("SELECT count(*) FROM prompts")
    for hopeless in ('{"prompt": "\\ud800 half a pair"}', '{"prompt": "a \\u0000 b"}',
                     '{"prompt": "x", "tags": ["\\udc00"]}', '{"prompt": ' + "[" * 100_000):
        file.write_text('{"prompt": "a good one"}\n' + hopeless + "\n", "utf-8")
        with pytest.raises(BadInput, match="2"):
            import_prompts(store, file)
    assert store.database.value("SELECT count(*) FROM prompts") == before


def test_file_names_are_hostile_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / DATABASE_NAME)
    row = json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"})
    for name in ("\x1b[31mred\x1b]0;hacked\x07.jsonl", "\u202elnosj.jsonl",
                 "<img src=x onerror=alert(1)>.jsonl", "=cmd|' C calc'!A0.jsonl"):
        file = tmp_path / name
        file.write_text(row.replace('"a"', json.dumps(name)) + "\n")
        import_preferences(store, file)
    assert all(person.name.isprintable() for person in store.people.all())
    wrong = tmp_path / "\x1b[2J wrong.jsonl"
    wrong.write_text("{")
    for command in (["import", str(wrong)], ["labeler", "list"], ["status"],
                    ["labeler", "link", "\x1b[2J nobody"], ["labeler", "add", "\x1b[2J"]):
        run([*command, "--workspace", str(tmp_path)])
        out, err = capsys.readouterr()
        assert not [c for c in out + err if not c.isprintable() and c not in "\n\t"], command
