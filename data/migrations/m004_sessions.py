"""Sessions know when they were last used, to end after some time without."""

SQL = """
ALTER TABLE sessions ADD COLUMN seen_at TEXT NOT NULL DEFAULT '';
UPDATE sessions SET seen_at = created_at;
CREATE INDEX sessions_by_labeler ON sessions(labeler_id, created_at);
"""
