"""A lead's decision takes nobody's place among the labels of its task.

Figures are of what was given blind; the labels of a task are these and what leads had answered
blind before they decided, which keeps the place it took. What was answered after all is no skip.
"""

SQL = """
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
