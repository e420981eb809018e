"""Addresses of the Browse page that nobody would type: no error, and nothing of anybody else's."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from browser import Server
from forging import Arrive, run

from annotate.leads.addresses import id_of
from annotate.leads.browse_filters import Offered, address, in_words, read
from data.records import Answer, Labeler
from data.search import HEEDED, KINDS, Filters


@pytest.mark.parametrize("name", ["of", "in", "what", "flag", "answer", "task", "policy"])
def test_an_address_that_names_nothing_is_the_search_or_one_line(
        server: Server, arrive: Arrive, name: str) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("browse") as tab:
            for value in ("²", "٣", "-1", "1 OR 1=1", "9" * 5000, "0", "x"):
                await tab.rerun(page="browse", query=f"{name}={quote(value)}")
                assert not tab.all("exception"), (value, tab.text())
    run(main())


def test_a_decision_is_called_so(server: Server, arrive: Arrive,
                                 tasks: Callable[..., list[int]]) -> None:
    """It was not given blind, and counts as nobody's answer on People."""
    async def main() -> None:
        lead, visitor = arrive("lead")
        answered, disputed = (server.store.tasks.get(task) for task in tasks(2))
        ranking = tuple((response,) for response in answered.response_ids)
        server.store.assignments.assign(answered.id, lead.id)
        server.store.comparisons.submit(lead.id, answered, Answer(ranking), "browse-answer")
        decision = server.store.decisions.decide(
            lead.id, disputed.id, Answer((disputed.response_ids,), 0), "browse-decision")
        async with await visitor.tab("browse") as tab:
            await tab.rerun(page="browse", query=f"of={lead.id}")
            rows = [one.proto.label.replace("\\", "") for one in tab.all("button")]
            assert [row.split(":")[0] for row in rows if row.startswith(lead.name)] == [
                f"{lead.name} (decision)", lead.name]
            await tab.rerun(page="browse", query=f"task={disputed.id}")
            assert f"{lead.name} (decision)" in tab.text()
            await tab.rerun(page="browse", query=f"answer={decision.comparison_id}")
            assert f"Decision {decision.comparison_id}" in tab.text()
        async with await visitor.tab("people") as tab:
            row = tab.text().split(f"<td>{lead.name}</td>")[1].split("</tr>")[0]
            assert row.count(">1</td>") == 3, row  # in all, this round, today
    run(main())


def test_a_filter_stays_in_force_as_what_it_names_is_renamed(
        server: Server, arrive: Arrive, person: Callable[..., Labeler]) -> None:
    async def main() -> None:
        who = person()
        async with await arrive("lead")[1].tab("browse") as tab:
            query = f"of={who.id}"
            await tab.rerun(page="browse", query=query)
            tab.set(tab.labelled("Labeler"), who.name)
            server.store.people.set_aside(who.id, True)  # by somebody else
            for _ in range(3):
                await tab.rerun(query=query)
                assert not tab.all("exception") and tab.labelled("Clear filters")
            assert tab.labelled("Labeler").proto.raw_value == f"{who.name} (set aside)"
    run(main())


def test_the_address_of_what_is_still_to_be_judged_has_no_id(
        server: Server, arrive: Arrive, tasks: Callable[..., list[int]]) -> None:
    async def main() -> None:
        lead, visitor = arrive("lead")
        task = server.store.tasks.get(tasks(1, texts=("text of one", "text of two"))[0])
        one = task.response_ids[0]
        async with await visitor.tab("browse", record=True) as tab:
            for hidden in (True, False):
                if not hidden:
                    server.store.assignments.assign(task.id, lead.id)
                    server.store.comparisons.submit(
                        lead.id, task, Answer((task.response_ids,), 0), f"address-{lead.id}")
                await tab.rerun(page="browse", query=f"task={task.id}")
                tab.received.clear()
                await tab.press(tab.labelled("text of one"))
                address, = {found for data in tab.received
                            for found in re.findall(rb"response=[0-9a-f-]+", data)}
                assert (address == b"response=%d" % one) is not hidden, address
                assert b"%d-" % task.prompt_id in address or not hidden
                await tab.rerun(page="browse", query=address.decode())
                assert "text of one" in tab.text() and "text of two" not in tab.text()
                assert ("Who wrote this is hidden" in tab.text()) is hidden
                assert (f"Response {one}" in tab.text()) is not hidden
            await tab.rerun(page="browse", query=f"response={task.prompt_id}-0123")
            assert not tab.all("exception")
    run(main())


def test_an_id_is_what_the_database_can_hold() -> None:
    assert id_of("12") == 12 and id_of("9" * 5000) == int("9" * 18) < 2**63
    assert [id_of(text) for text in ("", "²", "٣", "-1", "1.0", "x", " 1")] == [None] * 7


_OFFERED: Offered = {
    "round_id": ("Round", {3: "Round 1"}), "labeler_id": ("Labeler", {7: "Ada [x]"}),
    "purpose": ("Purpose", {"train": "Train"}), "verdict": ("Verdict", {"tie": "Tie"}),
    "flag": ("Flag", {"un&true=?": "un&true=?"}), "tag": ("Tag", {"#1": "#1"}),
    "source": ("Source", {"web": "web"}), "split": ("Split", {"held_out": "Held-out"})}


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_says_what_was_asked_and_no_more(kind: str) -> None:
    """What a kind does not heed is not in its address, to come back unseen."""
    everything = Filters("a & b", 3, "#1", "web", "held_out", "train", 7, "un&true=?", "tie")
    query = urlencode(address(kind, everything))
    read_back, filters = read(dict(parse_qsl(query)), _OFFERED)
    assert read_back == kind and filters.text == "a & b"
    for name, value in vars(everything).items():
        assert getattr(filters, name) == (value if name in HEEDED[kind] else None)
    assert address(*read({}, _OFFERED)) == {} == address("answers", Filters())


def test_what_is_not_on_offer_is_left_aside() -> None:
    asked = {"what": "secrets", "of": "999", "in": "x", "verdict": "1 OR 1=1", "flag": ""}
    assert read(asked, _OFFERED) == ("answers", Filters())


def test_filters_are_named_in_words_that_draw_nothing() -> None:
    words = in_words(Filters("*river*", 3, labeler_id=7), _OFFERED)
    assert words == r"words “\*river\*”, Round 1, labeler Ada \[x\]"
    assert in_words(Filters(), _OFFERED) == ""
