"""A label moves its task behind all that have fewer, also where nobody has put it in order.

Else those whose features are not read yet would come before those in order, once these have a
label. A task that was made with a priority of its own keeps it.
"""

SQL = """
UPDATE tasks SET priority = -labels
    WHERE chosen_by IS NULL AND round_id IS NOT NULL AND priority = 0 AND labels > 0;
DROP TRIGGER asked_tasks_step_back;
CREATE TRIGGER asked_tasks_step_back AFTER UPDATE OF labels ON tasks
WHEN new.round_id IS NOT NULL AND new.labels <> old.labels
AND (new.chosen_by IS NOT NULL OR new.priority = -old.labels) BEGIN
    UPDATE tasks SET priority = priority + old.labels - new.labels WHERE id = new.id;
END;
"""
