"""Sign-in codes work once, sessions end, and no secret can be read from the database."""

from datetime import timedelta

import pytest

from data.database import now
from data.errors import BadInput
from data.people import sign_in_address
from data.sessions import SessionRules
from data.store import Store


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


def test_names_differ_in_more_than_case_and_spaces(store: Store) -> None:
    store.people.add("Grace Hasty")
    for name in ("grace hasty", " GRACE   hasty ", "Grace\u00a0Hasty"):
        with pytest.raises(BadInput, match="there is already a labeler called 'Grace Hasty'"):
            store.people.add(name)
    with pytest.raises(BadInput, match="differ in more than capital letters"):
        store.people.add("grace hasty")
    store.people.add("Straße")
    with pytest.raises(BadInput, match="'Straße'"):
        store.people.add("STRASSE")
    assert store.people.add("Grace Hastie").name == "Grace Hastie"
    # Two annotators of a file are two, however alike their names; a name is nobody's twice.
    assert store.people.add("grace hasty", kind="imported").kind == "imported"
    with pytest.raises(BadInput, match="already"):
        store.people.add("Grace Hasty", kind="imported")


def test_a_refused_name_is_told_why(store: Store) -> None:
    for name, why in ((" ", "name: give one"), ("x" * 200, "at most 80 characters.* 200"),
                      ("a\0b", "do not print")):
        with pytest.raises(BadInput, match=why):
            store.people.add(name)


def _age(store: Store, **ago: timedelta) -> None:
    """Let every session have been started, or last used, so long ago."""
    with store.database.write() as db:
        for column, since in ago.items():
            db.conn.execute(f"UPDATE sessions SET {column} = ?", [now(-since)])


def test_sessions_end_after_their_time_and_without_use(store: Store) -> None:
    ann = store.people.add("Ann")
    token = store.people.redeem(store.people.create_code(ann.id))
    assert token is not None
    _age(store, seen_at=timedelta(hours=119))
    assert store.people.of_session(token) == ann
    _age(store, seen_at=timedelta(hours=121))
    assert store.people.of_session(token) is None and store.people.sessions.of(ann.id) == []
    store.people.sessions.used(token)
    assert store.people.of_session(token) is None  # what has ended is not used back to life
    _age(store, created_at=timedelta(days=13), seen_at=timedelta())
    assert store.people.of_session(token) == ann
    store.people.sessions.set_rules(SessionRules(lifetime_days=12))
    assert store.people.of_session(token) is None  # also for sessions that were open before
    store.people.sessions.set_rules(SessionRules(lifetime_days=365, idle_hours=500))
    _age(store, expires_at=timedelta(hours=-2))
    assert store.people.of_session(token) == ann
    session, = store.people.sessions.of(ann.id)
    assert session.ends_at == store.database.value("SELECT expires_at FROM sessions")
    _age(store, expires_at=timedelta(seconds=1))
    assert store.people.of_session(token) is None  # more days are for the next
    for wrong in ({"lifetime_days": 0}, {"idle_hours": 0}, {"lifetime_days": 1000}):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            SessionRules(**wrong)


def test_one_of_several_sessions_is_this_one(store: Store) -> None:
    ann, tokens = store.people.add("Ann"), []
    for _ in range(3):
        tokens.append(store.people.redeem(store.people.create_code(ann.id)) or "")
    for number, token in enumerate(reversed(tokens)):
        assert [s.is_this for s in store.people.sessions.of(ann.id, token)] == [
            place == number for place in range(3)]
    assert not any(s.is_this for s in store.people.sessions.of(ann.id))


def test_use_is_written_once_a_minute_and_never_after_the_end(store: Store) -> None:
    ann = store.people.add("Ann")
    token = store.people.redeem(store.people.create_code(ann.id))
    assert token is not None
    before = store.people.sessions.of(ann.id)
    store.people.sessions.used(token)
    assert store.people.sessions.of(ann.id) == before
    _age(store, seen_at=timedelta(minutes=2))
    store.people.sessions.used(token)
    assert store.people.sessions.of(ann.id)[0].seen_at > before[0].seen_at
    store.people.end_session(token)
    ended = store.database.value("SELECT ended_at FROM sessions")
    _age(store, seen_at=timedelta(minutes=2))
    store.people.sessions.used(token)
    store.people.end_session(token)
    assert store.people.of_session(token) is None
    assert store.database.value("SELECT ended_at FROM sessions") == ended


def test_an_address_belongs_to_one_person(store: Store) -> None:
    ann = store.people.add("Ann", "lead", config={"email": " Ann@Example.org "})
    bob = store.people.add("bob@example.org")
    assert store.people.of_email("ann@example.ORG") == ann
    assert store.people.of_email("bob@example.org") == bob  # called by it
    assert store.people.of_email("carl@example.org") is None
    for taken in ("ann@example.org", "BOB@example.org"):
        with pytest.raises(BadInput, match="belongs to"):
            store.people.add("Eve", config={"email": taken})
    with pytest.raises(BadInput, match="belongs to Ann"):
        store.people.set_email(bob.id, "ann@example.org")
    for wrong in ("ann", "@example.org", "a b@example.org", "a@b@example.org", "a@localhost",
                  "a@exa\nmple.org", "a@\u202egro.elpmaxe"):
        with pytest.raises(BadInput, match="no e-mail address"):
            store.people.set_email(bob.id, wrong)
    store.people.set_email(bob.id, "robert@example.org")
    assert store.people.of_email("bob@example.org") is None  # an address of one's own replaces it
    for who, address in ((ann, "ann@example.org"), (bob, "bob@example.org")):
        store.people.set_email(who.id, "")  # nor with the address that is their name
        assert store.people.of_email(address) is None and store.people.of_email("") is None
    store.people.add("A machine", kind="simulated", config={"email": "m@example.org"})
    assert store.people.of_email("m@example.org") is None


def test_an_address_that_was_taken_back_is_known(store: Store) -> None:
    ann = store.people.add("Ann", config={"email": "ann@example.org"})
    bob = store.people.add("Bob@example.org")
    assert [sign_in_address(store.people.get(who.id)) for who in (ann, bob)] == [
        "ann@example.org", "bob@example.org"]
    assert sign_in_address(store.people.add("Cas")) == ""
    store.people.set_email(ann.id, "ann.b@example.org")
    store.people.set_email(bob.id, "")
    taken_back = ["ann@example.org", "BOB@example.org "]
    assert all(store.people.was_taken_back(each) for each in taken_back)
    assert not store.people.was_taken_back("ann.b@example.org")
    store.people.set_email(ann.id, "")
    store.people.set_email(ann.id, "ann@example.org")  # hers again
    assert store.people.get(ann.id).config == {"email": "ann@example.org",
                                               "taken_back": ["ann.b@example.org"]}


def test_domains_are_names(store: Store) -> None:
    assert store.people.domains() == ()
    store.people.set_domains([" Example.org", "@lab.example.org", "example.org", ""])
    assert store.people.domains() == ("example.org", "lab.example.org")
    for wrong in ("org", "*.example.org", "example.org/x", ".example.org", "exa mple.org"):
        with pytest.raises(BadInput, match="domains"):
            store.people.set_domains([wrong])


def test_roles_change_for_people_only(store: Store) -> None:
    ann = store.people.add("Ann")
    store.people.set_role(ann.id, "engineer")
    assert store.people.get(ann.id).role == "engineer"
    with pytest.raises(BadInput, match="role"):
        store.people.set_role(ann.id, "king")
    with pytest.raises(BadInput, match="only people"):
        store.people.set_role(store.people.add("bot", kind="simulated").id, "lead")
