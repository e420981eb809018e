"""Tasks know what chose them to be asked: a rule of the instant model, or chance.

A label moves its task behind all that have fewer, at once, whether or not anybody orders them anew.
"""

SQL = """
ALTER TABLE tasks ADD COLUMN chosen_by TEXT;
CREATE INDEX tasks_chosen ON tasks(chosen_by, id) WHERE chosen_by IS NOT NULL;
CREATE TRIGGER asked_tasks_step_back AFTER UPDATE OF labels ON tasks
WHEN new.chosen_by IS NOT NULL AND new.labels <> old.labels BEGIN
    UPDATE tasks SET priority = priority + old.labels - new.labels WHERE id = new.id;
END;
"""
