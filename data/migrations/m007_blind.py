"""Counts tell leads' decisions from answers given blind.

They also know the newest answer of each person and round, which tells whether a round's figures
still hold. The indexes find what was first answered since a moment, without reading what was
answered before.
"""

SQL = """
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
