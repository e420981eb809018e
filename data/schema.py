"""The tables, as numbered migrations. Append a migration; never edit one that has landed."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("prefloop")

# Comparisons are append-only: the triggers turn a mistake in our own code into an error
# instead of a lost label. `current_comparisons` is what every reader of labels reads.
_FIRST = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE labelers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, role TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0, config TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL,
    CHECK (kind IN ('human', 'ai', 'simulated', 'imported')),
    CHECK (role IN ('labeler', 'lead', 'engineer'))
) STRICT;
CREATE TABLE sign_in_codes (
    code_hash TEXT PRIMARY KEY, labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, used_at TEXT
) STRICT;
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY, labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, ended_at TEXT
) STRICT;

CREATE TABLE prompts (
    id INTEGER PRIMARY KEY, messages TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL, split TEXT NOT NULL CHECK (split IN ('train', 'held_out')),
    tags TEXT NOT NULL DEFAULT '[]', created_at TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'done', 'failed', 'stopped')),
    config TEXT NOT NULL DEFAULT '{}', resolved TEXT, round_id INTEGER REFERENCES rounds(id),
    requested_by INTEGER REFERENCES labelers(id), progress REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '', seconds_left REAL, attempts INTEGER NOT NULL DEFAULT 0,
    stop_requested INTEGER NOT NULL DEFAULT 0, result TEXT, error TEXT,
    created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT
) STRICT;
CREATE INDEX jobs_by_status ON jobs(status, id);
CREATE TABLE job_metrics (
    job_id INTEGER NOT NULL REFERENCES jobs(id), step INTEGER NOT NULL, metrics TEXT NOT NULL,
    created_at TEXT NOT NULL, PRIMARY KEY (job_id, step)
) STRICT;

CREATE TABLE reward_models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base TEXT NOT NULL, path TEXT NOT NULL,
    round_id INTEGER REFERENCES rounds(id), job_id INTEGER REFERENCES jobs(id),
    config TEXT NOT NULL, metrics TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE policy_versions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base TEXT NOT NULL, path TEXT,
    method TEXT NOT NULL, parent_id INTEGER REFERENCES policy_versions(id),
    reward_model_id INTEGER REFERENCES reward_models(id),
    round_id INTEGER REFERENCES rounds(id), job_id INTEGER REFERENCES jobs(id),
    config TEXT NOT NULL, metrics TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE rounds (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
    stage TEXT NOT NULL CHECK (stage IN ('sampling', 'labeling', 'training', 'improving', 'done')),
    policy_version_id INTEGER NOT NULL REFERENCES policy_versions(id),
    reference_id INTEGER NOT NULL REFERENCES policy_versions(id),
    created_at TEXT NOT NULL, closed_at TEXT
) STRICT;

CREATE TABLE responses (
    id INTEGER PRIMARY KEY, prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    policy_version_id INTEGER REFERENCES policy_versions(id),
    round_id INTEGER REFERENCES rounds(id), text TEXT NOT NULL,
    token_ids TEXT NOT NULL DEFAULT '[]', sampling TEXT NOT NULL DEFAULT '{}',
    seed INTEGER NOT NULL DEFAULT 0, sample_index INTEGER NOT NULL DEFAULT 0,
    finish_reason TEXT NOT NULL, logprob REAL, source TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX responses_by_prompt ON responses(prompt_id);
CREATE UNIQUE INDEX responses_sampled_once
    ON responses(round_id, prompt_id, policy_version_id, seed, sample_index)
    WHERE source = 'sample' AND round_id IS NOT NULL;

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, round_id INTEGER REFERENCES rounds(id),
    prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    purpose TEXT NOT NULL CHECK (purpose IN ('train', 'evaluate', 'gold', 'repeat')),
    wanted INTEGER NOT NULL CHECK (wanted >= 1), labels INTEGER NOT NULL DEFAULT 0,
    priority REAL NOT NULL DEFAULT 0, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_round ON tasks(round_id);
CREATE INDEX tasks_open ON tasks(priority DESC, labels, id) WHERE labels < wanted;
CREATE TABLE task_responses (
    task_id INTEGER NOT NULL REFERENCES tasks(id), position INTEGER NOT NULL,
    response_id INTEGER NOT NULL REFERENCES responses(id),
    PRIMARY KEY (task_id, position), UNIQUE (task_id, response_id)
) STRICT;
CREATE INDEX task_responses_by_response ON task_responses(response_id);
CREATE TABLE assignments (
    task_id INTEGER NOT NULL REFERENCES tasks(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    shown TEXT NOT NULL, leased_at TEXT NOT NULL, skipped_at TEXT, skip_reason TEXT,
    PRIMARY KEY (task_id, labeler_id)
) STRICT;
CREATE INDEX assignments_by_labeler ON assignments(labeler_id, leased_at);

CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY, task_id INTEGER NOT NULL REFERENCES tasks(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id), revision INTEGER NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('ranked', 'both_bad', 'withdrawn')),
    ranking TEXT NOT NULL, strength INTEGER NOT NULL, flags TEXT NOT NULL DEFAULT '{}',
    rationale TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL DEFAULT 0, shown TEXT NOT NULL,
    submission_key TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL,
    UNIQUE (task_id, labeler_id, revision)
) STRICT;
CREATE INDEX comparisons_by_labeler ON comparisons(labeler_id, id);
CREATE TRIGGER comparisons_are_never_changed BEFORE UPDATE ON comparisons
    BEGIN SELECT RAISE(ABORT, 'comparisons are append-only: add a revision'); END;
CREATE TRIGGER comparisons_are_never_deleted BEFORE DELETE ON comparisons
    BEGIN SELECT RAISE(ABORT, 'comparisons are append-only: add a revision'); END;
CREATE VIEW current_comparisons AS
    SELECT c.* FROM comparisons c
    WHERE c.verdict <> 'withdrawn' AND NOT EXISTS (
        SELECT 1 FROM comparisons later WHERE later.task_id = c.task_id
        AND later.labeler_id = c.labeler_id AND later.revision > c.revision);

CREATE TABLE preferences (
    id INTEGER PRIMARY KEY, comparison_id INTEGER NOT NULL REFERENCES comparisons(id),
    task_id INTEGER NOT NULL REFERENCES tasks(id),
    prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    chosen_id INTEGER NOT NULL REFERENCES responses(id),
    rejected_id INTEGER NOT NULL REFERENCES responses(id), strength INTEGER NOT NULL
) STRICT;
CREATE INDEX preferences_by_comparison ON preferences(comparison_id);
CREATE VIEW current_preferences AS
    SELECT p.* FROM preferences p JOIN current_comparisons c ON c.id = p.comparison_id;

CREATE TABLE reward_model_comparisons (
    reward_model_id INTEGER NOT NULL REFERENCES reward_models(id),
    comparison_id INTEGER NOT NULL REFERENCES comparisons(id),
    split TEXT NOT NULL CHECK (split IN ('train', 'held_out')),
    PRIMARY KEY (reward_model_id, comparison_id)
) STRICT;
"""


# What a lead decides (questions, guidelines, known answers, decisions), what labelers add to an
# answer, and who did what. `current_preferences` is what a reward model learns from: answers to
# hidden gold and repeats only measure their labeler, and where a lead has decided, that counts.
_TRUST = """
CREATE TABLE guidelines (
    version INTEGER PRIMARY KEY, text TEXT NOT NULL,
    created_by INTEGER REFERENCES labelers(id), created_at TEXT NOT NULL
) STRICT;
CREATE TABLE questions (
    version INTEGER PRIMARY KEY, config TEXT NOT NULL,
    created_by INTEGER REFERENCES labelers(id), created_at TEXT NOT NULL
) STRICT;

ALTER TABLE comparisons ADD COLUMN scores TEXT NOT NULL DEFAULT '{}';
ALTER TABLE comparisons ADD COLUMN active_seconds REAL;
ALTER TABLE comparisons ADD COLUMN question_version INTEGER REFERENCES questions(version);
ALTER TABLE comparisons ADD COLUMN guidelines_version INTEGER REFERENCES guidelines(version);
CREATE INDEX comparisons_by_time ON comparisons(created_at);

CREATE TABLE demonstrations (
    id INTEGER PRIMARY KEY,
    comparison_id INTEGER NOT NULL UNIQUE REFERENCES comparisons(id),
    prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    response_id INTEGER NOT NULL REFERENCES responses(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    text TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE VIEW current_demonstrations AS
    SELECT d.* FROM demonstrations d JOIN current_comparisons c ON c.id = d.comparison_id;

ALTER TABLE tasks ADD COLUMN repeat_of INTEGER REFERENCES tasks(id);
ALTER TABLE tasks ADD COLUMN only_for INTEGER REFERENCES labelers(id);
CREATE INDEX tasks_by_person ON tasks(only_for, repeat_of) WHERE only_for IS NOT NULL;
CREATE INDEX tasks_by_purpose ON tasks(purpose, id);
DROP INDEX tasks_open;
CREATE INDEX tasks_open ON tasks(round_id, priority DESC, labels, id) WHERE labels < wanted;
CREATE TABLE known_answers (
    task_id INTEGER PRIMARY KEY REFERENCES tasks(id),
    practice INTEGER NOT NULL CHECK (practice IN (0, 1)),
    verdict TEXT NOT NULL CHECK (verdict IN ('ranked', 'both_bad')), ranking TEXT NOT NULL,
    strength INTEGER NOT NULL, explanation TEXT NOT NULL DEFAULT '',
    retired INTEGER NOT NULL DEFAULT 0,
    created_by INTEGER REFERENCES labelers(id), created_at TEXT NOT NULL
) STRICT;

CREATE TABLE decisions (
    comparison_id INTEGER PRIMARY KEY REFERENCES comparisons(id),
    task_id INTEGER NOT NULL REFERENCES tasks(id), overrides TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_task ON decisions(task_id);
CREATE VIEW current_decisions AS
    SELECT d.*, c.labeler_id FROM decisions d JOIN current_comparisons c ON c.id = d.comparison_id;
DROP VIEW current_preferences;
CREATE VIEW current_preferences AS
    SELECT p.* FROM preferences p JOIN current_comparisons c ON c.id = p.comparison_id
    JOIN tasks t ON t.id = p.task_id
    WHERE t.purpose IN ('train', 'evaluate') AND p.comparison_id = coalesce(
        (SELECT max(d.comparison_id) FROM current_decisions d WHERE d.task_id = p.task_id),
        p.comparison_id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY, labeler_id INTEGER REFERENCES labelers(id), action TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '', details TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_action ON audit(action, id);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE VIRTUAL TABLE prompt_search USING fts5(text, content='');
CREATE VIRTUAL TABLE response_search USING fts5(text, content='responses', content_rowid='id');
CREATE VIRTUAL TABLE rationale_search USING fts5(rationale, content='comparisons',
    content_rowid='id');
CREATE TRIGGER prompts_are_searched AFTER INSERT ON prompts BEGIN
    INSERT INTO prompt_search(rowid, text) SELECT new.id,
        group_concat(json_extract(value, '$.content'), ' ') FROM json_each(new.messages);
END;
CREATE TRIGGER responses_are_searched AFTER INSERT ON responses BEGIN
    INSERT INTO response_search(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER rationales_are_searched AFTER INSERT ON comparisons WHEN new.rationale <> '' BEGIN
    INSERT INTO rationale_search(rowid, rationale) VALUES (new.id, new.rationale);
END;
INSERT INTO prompt_search(rowid, text)
    SELECT p.id, group_concat(json_extract(m.value, '$.content'), ' ')
    FROM prompts p, json_each(p.messages) m GROUP BY p.id;
INSERT INTO response_search(response_search) VALUES ('rebuild');
INSERT INTO rationale_search(rowid, rationale)
    SELECT id, rationale FROM comparisons WHERE rationale <> '';
"""

# What a labeler's page shows is counted as it happens: an answer costs the same in a workspace of
# any size. A later revision takes the place of the one before, so only the change is added.
_COUNTS = """
CREATE TABLE round_progress (
    round_id INTEGER PRIMARY KEY REFERENCES rounds(id),
    given INTEGER NOT NULL, wanted INTEGER NOT NULL
) STRICT;
INSERT INTO round_progress SELECT round_id, sum(min(labels, wanted)), sum(wanted) FROM tasks
    WHERE round_id IS NOT NULL AND purpose IN ('train', 'evaluate') GROUP BY round_id;
CREATE TRIGGER new_tasks_are_counted AFTER INSERT ON tasks
WHEN new.round_id IS NOT NULL AND new.purpose IN ('train', 'evaluate') BEGIN
    INSERT INTO round_progress VALUES (new.round_id, min(new.labels, new.wanted), new.wanted)
    ON CONFLICT (round_id) DO UPDATE SET
        given = given + excluded.given, wanted = wanted + excluded.wanted;
END;
CREATE TRIGGER labels_are_counted AFTER UPDATE OF labels, wanted ON tasks
WHEN new.round_id IS NOT NULL AND new.purpose IN ('train', 'evaluate') BEGIN
    UPDATE round_progress SET wanted = wanted + new.wanted - old.wanted,
        given = given + min(new.labels, new.wanted) - min(old.labels, old.wanted)
        WHERE round_id = new.round_id;
END;
CREATE TRIGGER tasks_stay_what_they_are BEFORE UPDATE OF round_id, purpose ON tasks
WHEN new.round_id IS NOT old.round_id OR new.purpose <> old.purpose BEGIN
    SELECT RAISE(ABORT, 'a task keeps its round and its purpose');
END;

CREATE TABLE answer_counts (
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    round_id INTEGER NOT NULL, answers INTEGER NOT NULL, PRIMARY KEY (labeler_id, round_id)
) STRICT, WITHOUT ROWID;
INSERT INTO answer_counts SELECT c.labeler_id, coalesce(t.round_id, 0), count(*)
    FROM current_comparisons c JOIN tasks t ON t.id = c.task_id GROUP BY 1, 2;
CREATE TRIGGER answers_are_counted AFTER INSERT ON comparisons BEGIN
    INSERT INTO answer_counts SELECT new.labeler_id, coalesce(t.round_id, 0),
        (new.verdict <> 'withdrawn') - coalesce((SELECT earlier.verdict <> 'withdrawn'
            FROM comparisons earlier WHERE earlier.task_id = new.task_id
            AND earlier.labeler_id = new.labeler_id AND earlier.revision < new.revision
            ORDER BY earlier.revision DESC LIMIT 1), 0)
        FROM tasks t WHERE t.id = new.task_id
    ON CONFLICT (labeler_id, round_id) DO UPDATE SET answers = answers + excluded.answers;
END;
CREATE INDEX prompts_by_split ON prompts(split);
"""

# When a session was last used, for it to end after some time without.
_SESSIONS = """
ALTER TABLE sessions ADD COLUMN seen_at TEXT NOT NULL DEFAULT '';
UPDATE sessions SET seen_at = created_at;
CREATE INDEX sessions_by_labeler ON sessions(labeler_id, created_at);
"""

# What a labeler answered since a moment, and where a prompt is asked, without reading the rest.
_LOOKUPS = """
CREATE INDEX comparisons_by_person_and_time ON comparisons(labeler_id, created_at);
CREATE INDEX tasks_by_prompt ON tasks(prompt_id, round_id);
"""

# In which order tasks are asked, and who chose: a rule of the instant model, or chance. A label
# moves its task behind all that have fewer, at once, whether or not anybody orders them anew.
_ASKING = """
ALTER TABLE tasks ADD COLUMN chosen_by TEXT;
CREATE INDEX tasks_chosen ON tasks(chosen_by, id) WHERE chosen_by IS NOT NULL;
CREATE TRIGGER asked_tasks_step_back AFTER UPDATE OF labels ON tasks
WHEN new.chosen_by IS NOT NULL AND new.labels <> old.labels BEGIN
    UPDATE tasks SET priority = priority + old.labels - new.labels WHERE id = new.id;
END;
"""

# Of the answers that are counted, how many are leads' decisions, which were not given blind; the
# newest answer of each person and round, which tells whether a round's figures still hold; and what
# was first answered since a moment, without reading what was answered before.
_BLIND = """
ALTER TABLE answer_counts ADD COLUMN decisions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE answer_counts ADD COLUMN latest INTEGER NOT NULL DEFAULT 0;
INSERT INTO answer_counts (labeler_id, round_id, answers, latest)
    SELECT c.labeler_id, coalesce(t.round_id, 0), 0, max(c.id)
    FROM comparisons c JOIN tasks t ON t.id = c.task_id WHERE true GROUP BY 1, 2
    ON CONFLICT (labeler_id, round_id) DO UPDATE SET latest = excluded.latest;
UPDATE answer_counts SET decisions = found.n FROM (
    SELECT d.labeler_id, coalesce(t.round_id, 0) AS round_id, count(*) AS n
    FROM current_decisions d JOIN tasks t ON t.id = d.task_id GROUP BY 1, 2) AS found
    WHERE found.labeler_id = answer_counts.labeler_id AND found.round_id = answer_counts.round_id;
DROP TRIGGER answers_are_counted;
CREATE TRIGGER answers_are_counted AFTER INSERT ON comparisons BEGIN
    INSERT INTO answer_counts (labeler_id, round_id, answers, decisions, latest)
        SELECT new.labeler_id, coalesce(t.round_id, 0),
            (new.verdict <> 'withdrawn') - coalesce(earlier.verdict <> 'withdrawn', 0),
            -EXISTS (SELECT 1 FROM decisions d WHERE d.comparison_id = earlier.id), new.id
        FROM tasks t LEFT JOIN comparisons earlier ON earlier.id = (
            SELECT id FROM comparisons WHERE task_id = new.task_id
            AND labeler_id = new.labeler_id AND revision < new.revision
            ORDER BY revision DESC LIMIT 1)
        WHERE t.id = new.task_id
    ON CONFLICT (labeler_id, round_id) DO UPDATE SET answers = answers + excluded.answers,
        decisions = decisions + excluded.decisions, latest = max(latest, excluded.latest);
END;
CREATE TRIGGER decisions_are_counted AFTER INSERT ON decisions BEGIN
    UPDATE answer_counts SET decisions = decisions + 1
        WHERE labeler_id = (SELECT labeler_id FROM comparisons WHERE id = new.comparison_id)
        AND round_id = (SELECT coalesce(round_id, 0) FROM tasks WHERE id = new.task_id);
END;
CREATE INDEX first_answers ON comparisons(labeler_id, created_at) WHERE revision = 1;
CREATE INDEX changed_answers ON comparisons(created_at) WHERE revision > 1;
CREATE INDEX decisions_by_time ON decisions(created_at);
CREATE INDEX tasks_of_one ON tasks(only_for, round_id) WHERE only_for IS NOT NULL;
"""

# How uncertain the instant model is of each open task, for leads. A table of its own: whoever reads
# tasks to ask a labeler does not meet it.
_VARIANCES = """
CREATE TABLE task_variances (
    task_id INTEGER PRIMARY KEY REFERENCES tasks(id), variance REAL NOT NULL
) STRICT;
"""

# Labelers whose answers a lead has set aside. All that stands is in `current_*` as before; what
# counts, in training and in figures, is in `counted_*`. A decision that is set aside overrules
# nobody. The trigger lets tasks want a label more, and counts how often anybody was set aside or
# counted again, which tells whoever keeps a figure that it no longer holds.
_SET_ASIDE = """
ALTER TABLE labelers ADD COLUMN set_aside_at TEXT;
ALTER TABLE labelers ADD COLUMN set_aside_changes INTEGER NOT NULL DEFAULT 0;
CREATE VIEW counted_comparisons AS
    SELECT c.* FROM current_comparisons c WHERE NOT EXISTS (
        SELECT 1 FROM labelers l WHERE l.id = c.labeler_id AND l.set_aside_at IS NOT NULL);
DROP VIEW current_preferences;
DROP VIEW current_decisions;
CREATE VIEW counted_decisions AS
    SELECT d.*, c.labeler_id FROM decisions d JOIN counted_comparisons c ON c.id = d.comparison_id;
CREATE VIEW current_preferences AS
    SELECT p.* FROM preferences p JOIN current_comparisons c ON c.id = p.comparison_id
    JOIN tasks t ON t.id = p.task_id
    WHERE t.purpose IN ('train', 'evaluate') AND p.comparison_id = coalesce(
        (SELECT max(d.comparison_id) FROM counted_decisions d WHERE d.task_id = p.task_id),
        p.comparison_id);
CREATE VIEW counted_preferences AS
    SELECT p.* FROM current_preferences p WHERE NOT EXISTS (
        SELECT 1 FROM labelers l WHERE l.id = p.labeler_id AND l.set_aside_at IS NOT NULL);
CREATE VIEW counting_changes AS SELECT coalesce(sum(set_aside_changes), 0) AS n FROM labelers;
CREATE TRIGGER what_is_set_aside_is_not_counted AFTER UPDATE OF set_aside_at ON labelers
WHEN (new.set_aside_at IS NULL) <> (old.set_aside_at IS NULL) BEGIN
    UPDATE labelers SET set_aside_changes = set_aside_changes + 1 WHERE id = new.id;
    UPDATE tasks SET labels = (SELECT count(*) FROM counted_comparisons c
        WHERE c.task_id = tasks.id)
        WHERE id IN (SELECT c.task_id FROM comparisons c WHERE c.labeler_id = new.id);
END;
CREATE INDEX repeats_by_round ON tasks(round_id) WHERE purpose = 'repeat';
"""

# A label moves its task behind all that have fewer, also where nobody has put it in order: else
# those whose features are not read yet would come before those in order, once these have a label.
# A task that was made with a priority of its own keeps it.
_STEP_BACK = """
UPDATE tasks SET priority = -labels
    WHERE chosen_by IS NULL AND round_id IS NOT NULL AND priority = 0 AND labels > 0;
DROP TRIGGER asked_tasks_step_back;
CREATE TRIGGER asked_tasks_step_back AFTER UPDATE OF labels ON tasks
WHEN new.round_id IS NOT NULL AND new.labels <> old.labels
AND (new.chosen_by IS NOT NULL OR new.priority = -old.labels) BEGIN
    UPDATE tasks SET priority = priority + old.labels - new.labels WHERE id = new.id;
END;
"""

# A lead's decision takes nobody's place. Figures are of what was given blind; the labels of a task
# are these and what leads had answered blind before they decided, which keeps the place it took.
# What was answered after all is no skip.
_PLACES = """
CREATE VIEW blind_comparisons AS
    SELECT c.* FROM counted_comparisons c WHERE NOT EXISTS (
        SELECT 1 FROM decisions d WHERE d.comparison_id = c.id);
CREATE VIEW placed_comparisons AS
    SELECT c.* FROM counted_comparisons c WHERE 'withdrawn' <> (
        SELECT blind.verdict FROM comparisons blind
        WHERE blind.task_id = c.task_id AND blind.labeler_id = c.labeler_id
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.comparison_id = blind.id)
        ORDER BY blind.revision DESC LIMIT 1);
DROP TRIGGER what_is_set_aside_is_not_counted;
CREATE TRIGGER what_is_set_aside_is_not_counted AFTER UPDATE OF set_aside_at ON labelers
WHEN (new.set_aside_at IS NULL) <> (old.set_aside_at IS NULL) BEGIN
    UPDATE labelers SET set_aside_changes = set_aside_changes + 1 WHERE id = new.id;
    UPDATE tasks SET labels = (SELECT count(*) FROM placed_comparisons c
        WHERE c.task_id = tasks.id)
        WHERE id IN (SELECT c.task_id FROM comparisons c WHERE c.labeler_id = new.id);
END;
CREATE TRIGGER decisions_take_no_place AFTER INSERT ON decisions BEGIN
    UPDATE tasks SET labels = (SELECT count(*) FROM placed_comparisons c
        WHERE c.task_id = tasks.id) WHERE id = new.task_id;
END;
UPDATE tasks SET labels = (SELECT count(*) FROM placed_comparisons c
    WHERE c.task_id = tasks.id) WHERE id IN (SELECT task_id FROM decisions);
UPDATE assignments SET skipped_at = NULL, skip_reason = NULL
    WHERE skipped_at IS NOT NULL AND EXISTS (SELECT 1 FROM current_comparisons c
        WHERE c.task_id = assignments.task_id AND c.labeler_id = assignments.labeler_id);
"""

# By which acts an assignment was skipped, or that was taken back: a tab that was not heard for a
# while sends its own again, when the person has done something else since.
_SKIPS = """
ALTER TABLE assignments ADD COLUMN skip_keys TEXT NOT NULL DEFAULT '[]';
"""


@migrations()
def m001_the_loop(db: Database) -> None:
    """Every noun of the loop, with the links that make its lineage."""
    for statement in _split(_FIRST):
        db.conn.execute(statement)


@migrations()
def m002_trust(db: Database) -> None:
    """Questions, guidelines, known answers, decisions, the audit log and full-text search."""
    for statement in _split(_TRUST):
        db.conn.execute(statement)


@migrations()
def m003_counts(db: Database) -> None:
    """Counts of what a round has and of what a labeler has answered, kept by triggers."""
    for statement in _split(_COUNTS):
        db.conn.execute(statement)


@migrations()
def m004_sessions(db: Database) -> None:
    """Sessions know when they were last used."""
    for statement in _split(_SESSIONS):
        db.conn.execute(statement)


@migrations()
def m005_lookups(db: Database) -> None:
    """Indexes that a large workspace needs."""
    for statement in _split(_LOOKUPS):
        db.conn.execute(statement)


@migrations()
def m006_asking(db: Database) -> None:
    """Tasks know what chose them to be asked."""
    for statement in _split(_ASKING):
        db.conn.execute(statement)


@migrations()
def m007_blind(db: Database) -> None:
    """Counts tell decisions from answers given blind."""
    for statement in _split(_BLIND):
        db.conn.execute(statement)


@migrations()
def m008_variances(db: Database) -> None:
    """How uncertain the instant model is of open tasks."""
    for statement in _split(_VARIANCES):
        db.conn.execute(statement)


@migrations()
def m009_set_aside(db: Database) -> None:
    """Labelers whose answers do not count."""
    for statement in _split(_SET_ASIDE):
        db.conn.execute(statement)


@migrations()
def m010_step_back(db: Database) -> None:
    """Tasks that nobody has put in order step back with their labels too."""
    for statement in _split(_STEP_BACK):
        db.conn.execute(statement)


@migrations()
def m011_places(db: Database) -> None:
    """Decisions take no places among the labels of their tasks; what was answered is no skip."""
    for statement in _split(_PLACES):
        db.conn.execute(statement)


@migrations()
def m012_skips(db: Database) -> None:
    """Assignments know the acts that skipped them or took that back."""
    for statement in _split(_SKIPS):
        db.conn.execute(statement)


def _split(script: str) -> list[str]:
    """Statements of a script; `executescript` would commit the migration's transaction."""
    import sqlite3

    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
