"""Sign-in codes work once, sessions end, and no secret can be read from the database."""

from datetime import timedelta
from pathlib import Path

import pytest

from data.errors import BadInput
from data.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "prefloop.db")


def test_a_code_signs_in_once(store: Store) -> None:
    ann = store.people.add("Ann", "lead")
    code = store.people.create_code(ann.id)
    assert store.people.of_code(code) == ann  # looking at it does not use it up
    token = store.people.redeem(code)
    assert token is not None and store.people.of_session(token) == ann
    assert store.people.redeem(code) is None
    assert store.people.of_code(code) is None
    store.people.end_session(token)
    assert store.people.of_session(token) is None


def test_old_codes_and_expired_ones_stop_working(store: Store) -> None:
    ann = store.people.add("Ann")
    first, second = store.people.create_code(ann.id), store.people.create_code(ann.id)
    assert store.people.redeem(first) is None
    token = store.people.redeem(second, lifetime=timedelta(seconds=-1))
    assert token is not None and store.people.of_session(token) is None
    late = store.people.create_code(ann.id, lifetime=timedelta(seconds=-1))
    assert store.people.redeem(late) is None
    assert store.people.redeem("guess") is None


def test_disabling_signs_out_and_keeps_out(store: Store) -> None:
    ann = store.people.add("Ann")
    token = store.people.redeem(store.people.create_code(ann.id))
    code = store.people.create_code(ann.id)
    assert token is not None
    store.people.set_disabled(ann.id, True)
    assert store.people.of_session(token) is None
    assert store.people.redeem(code) is None
    store.people.set_disabled(ann.id, False)
    assert store.people.of_session(token) is None  # signed out stays signed out
    assert store.people.redeem(code) is not None


def test_only_people_can_sign_in(store: Store) -> None:
    for kind in ("ai", "simulated", "imported"):
        with pytest.raises(BadInput, match="cannot sign in"):
            store.people.create_code(store.people.add(f"A {kind}", kind=kind).id)


def test_secrets_are_not_in_the_file(store: Store) -> None:
    code = store.people.create_code(store.people.add("Ann").id)
    token = store.people.redeem(code)
    assert token is not None
    store.database.value("PRAGMA wal_checkpoint(TRUNCATE)")
    content = store.database.path.read_bytes()
    assert code.encode() not in content and token.encode() not in content


def test_names_are_checked(store: Store) -> None:
    assert store.people.add("  Ann   Lee ").name == "Ann Lee"
    for name, role, kind in (("Ann Lee", "labeler", "human"), ("", "labeler", "human"),
                             ("x" * 81, "labeler", "human"), ("a\0b", "labeler", "human"),
                             ("Bob", "king", "human"), ("Bob", "labeler", "robot")):
        with pytest.raises(BadInput):
            store.people.add(name, role, kind)
    assert [p.name for p in store.people.all()] == ["Ann Lee"]
