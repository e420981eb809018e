"""Assignments know the acts that skipped them, or took that back.

A tab that was not heard for a while sends its own again, when the person has done something else
since.
"""

SQL = """
ALTER TABLE assignments ADD COLUMN skip_keys TEXT NOT NULL DEFAULT '[]';
"""
