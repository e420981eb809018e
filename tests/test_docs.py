"""The documentation is tested: commands parse, links lead somewhere, names exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from docs_pages import ALL, ENGINEERS, FENCE, PAGES, ROOT, SHELL, blocks, prose, spans

from data.measures.agreement import REFERENCE_FIGURES
from loop import cli
from loop.cli import COMMANDS
from loop.fields import fields_of
from loop.settings import SECTIONS


def calls(text: str) -> list[list[str]]:
    """Every call of prefloop in shell lines, as its arguments."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] | None = None
        for word in lexer:
            if set(word) <= set("();<>|&"):
                call = None
            elif call is not None:
                call.append(word)
            elif Path(word).name == "prefloop":
                call = []
                found.append(call)
    return found


def split_name(arguments: list[str]) -> tuple[str, list[str]]:
    words = 2 if arguments[:1] == ["labeler"] else 1
    return " ".join(arguments[:words]), arguments[words:]


@cache
def help_of(name: str) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.run([*name.split(), "--help"]) == 0
    return out.getvalue()


@cache
def flags_of(name: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", help_of(name)))


CALLS = [(block.page, call) for block in ALL if block.language in SHELL
         for call in calls(block.text)]


def test_there_is_something_to_test() -> None:
    assert len(CALLS) > 25
    assert {name for name, _ in (split_name(call) for _, call in CALLS)} >= {"ppo", "labeler add"}


@pytest.mark.parametrize(("page", "call"), CALLS, ids=lambda v: v if isinstance(v, str)
                         else " ".join(v))
def test_every_command_line_parses(page: str, call: list[str], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no workspace's settings stand between the line and the parser
    name, rest = split_name(call)
    assert name in COMMANDS, f"{page}: there is no command {name!r}"
    try:
        cli.parse(name, rest)
    except SystemExit as error:
        assert error.code == 0, f"{page}: {' '.join(call)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_and_flag_in_the_text_exists(page: Path) -> None:
    known = set().union(*(flags_of(name) for name in COMMANDS))
    known |= {"--quick", "--curves", "--keep"} if page.name == "benchmarks.md" else set()
    for span in spans(page):
        words = span.split()
        if words[0] == "prefloop" and len(words) > 1 and words[1] not in ("COMMAND", "--help"):
            name, rest = split_name(words[1:])
            assert name in COMMANDS, f"{page.name}: `{span}`"
            strangers = {w for w in rest if w.startswith("--")} - flags_of(name)
            assert not strangers, f"{page.name}: `{span}`"
        elif words[0].startswith("--"):
            assert words[0].split("=")[0] in known, f"{page.name}: `{span}`"


def test_the_engineers_page_shows_every_command_with_an_example() -> None:
    shown = {split_name(call)[0] for block in blocks(ENGINEERS) for call in calls(block.text)
             if block.language in SHELL}
    assert shown >= COMMANDS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_and_image_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, heading = target.partition("#")
            assert (page.parent / path).exists() if path else True, f"{page.name}: {target}"
            if heading:
                text = ((page.parent / path) if path else page).read_text("utf-8")
                names = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
                assert heading in {re.sub(r"[^\w\- ]", "", n.lower()).replace(" ", "-")
                                   for n in names}, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_file_named_is_there(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"(data|annotate|backbone|reward|policy|loop|tests|docs)/[\w./]*", span):
            assert (ROOT / span).exists(), f"{page.name}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_section_named_exists(page: Path) -> None:
    named = {m[1] for span in spans(page) if (m := re.fullmatch(r"\[([a-z-]+)\]", span))}
    assert named <= SECTIONS.keys()
    if page == ENGINEERS:
        assert named == SECTIONS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_key_that_is_given_a_value_exists(page: Path) -> None:
    keys = {field.name for config in SECTIONS.values() for field in fields_of(config)}
    for span in spans(page):
        if m := re.fullmatch(r"([a-z_]+) = \S+", span):
            assert m[1] in keys | {"synchronous"}, f"{page.name}: `{span}`"


def test_every_snake_case_name_of_the_guides_is_a_setting_or_a_figure() -> None:
    """A renamed setting, column or metric would leave its old name behind here."""
    sources = [*(ROOT / "policy").glob("*.py"), *(ROOT / "reward").rglob("*.py"),
               *(ROOT / "data").rglob("*.py"), *(ROOT / "backbone").glob("config.py"),
               *(ROOT / "annotate" / "door").glob("*.py"),
               *(ROOT / "loop" / "stages").glob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    for page in PAGES:
        if page.name == "benchmarks.md":
            continue
        for span in spans(page):
            if re.fullmatch(r"[a-z]+(_[a-z]+)+", span):
                parts = span.split("_", 1)
                laps = parts[0] == "seconds" and f'lap("{parts[1]}")' in code
                assert laps or re.search(rf"\b{span}\b", code), f"{page.name}: `{span}`"


def test_the_metrics_of_ppo_are_all_explained() -> None:
    """Read from the source: a step takes a model, and the names are what matters here."""
    source = "".join((ROOT / "policy" / f"{name}.py").read_text("utf-8")
                     for name in ("metrics", "ppo"))
    names = set(re.findall(r'"([a-z_0-9]+)":', source)) | {"alarm", "ended"}
    names -= {"prompt", "text", "policy", "value", "step"}
    assert len(names) > 25
    assert names <= set(spans(ENGINEERS))


def test_the_readme_names_exactly_the_two_set_up_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    section = text[text.index("## Set up"):text.index("## Try it")]
    lines = [line for m in FENCE.finditer(section) for line in m["text"].splitlines()]
    assert lines == ["make up", "make test"]
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for page in PAGES:
        for block in blocks(page):
            assert set(re.findall(r"^make (\S+)", block.text, re.MULTILINE)) <= set(targets)
        for span in spans(page):
            if m := re.match(r"make ([a-z-]+)", span):
                assert m[1] in targets, f"{page.name}: `{span}`"


def test_published_figures_are_those_that_the_page_shows() -> None:
    text = (ROOT / "docs" / "leads.md").read_text("utf-8")
    for where, figure in REFERENCE_FIGURES:
        assert f"| {where} | {figure} |" in text


def test_labelers_keys_are_those_of_the_buttons() -> None:
    from annotate.choices import PAIR_CHOICES, PLAIN_CHOICES
    from data.questions import Question
    from data.records import SKIP_REASONS

    text = " ".join((ROOT / "docs" / "labelers.md").read_text("utf-8").split())
    for choice in (*PAIR_CHOICES, *PLAIN_CHOICES):
        assert f"| {choice.label} | `{choice.key}` |" in text
    assert all(f"**{flag}**" in text for flag in Question().flags)
    assert ", ".join(SKIP_REASONS) in text


def test_how_long_a_session_lasts_is_what_the_pages_say() -> None:
    from data.sessions import SessionRules

    rules = SessionRules()
    labelers, security = (" ".join((ROOT / "docs" / name).read_text("utf-8").split())
                          for name in ("labelers.md", "security.md"))
    assert (f"signed in for {rules.lifetime_days} days, or {rules.idle_hours / 24:g} days without "
            "use") in labelers
    assert (f"{rules.lifetime_days} days after signing in, and after {rules.idle_hours} hours "
            "without use") in security


def test_who_may_do_what_is_what_the_roles_permit() -> None:
    from annotate.permissions import PERMISSIONS

    named = {"answer tasks": "answer", "see quality": "quality", "start and stop jobs": "rounds",
             "the question": "settings", "people": "people"}
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    section = text[text.index("## Who may do what"):]
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in section[:section.index("\n- ")].splitlines() if line.startswith("|")]
    roles, stated = rows[0][1:], rows[2:]
    assert set(roles) == set(PERMISSIONS)
    assert [row[0].split(",")[0] for row in stated] == list(named)
    for column, role in enumerate(roles, 1):
        assert {named[row[0].split(",")[0]] for row in stated if row[column] == "yes"} == \
            PERMISSIONS[role], role
