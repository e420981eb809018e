"""Questions, guidelines, known answers, decisions, the audit log and full-text search.

`current_preferences` leaves out what no reward model may learn from: answers to hidden gold and
repeats only measure their labeler, and where a lead has decided, the decision alone counts.
"""

SQL = """
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
