"""Labelers whose answers a lead has set aside.

All that stands is in `current_*` as before; what counts, in training and in figures, is in
`counted_*`. A decision that is set aside overrules nobody. The trigger lets tasks want a label
more, and counts how often anybody was set aside or counted again, which tells whoever keeps a
figure that it no longer holds.
"""

SQL = """
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
