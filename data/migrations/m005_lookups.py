"""Indexes that a large workspace needs: what a labeler answered since a moment, and where a prompt
is asked, without reading the rest."""

SQL = """
CREATE INDEX comparisons_by_person_and_time ON comparisons(labeler_id, created_at);
CREATE INDEX tasks_by_prompt ON tasks(prompt_id, round_id);
"""
