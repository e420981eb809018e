"""Counts of what a round has and of what a labeler has answered, kept by triggers.

So an answer costs the same in a workspace of any size. A later revision takes the place of the one
before, so only the change is added.
"""

SQL = """
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
