"""How uncertain the instant model is of each open task, for leads.

A table of its own: whoever reads tasks to ask a labeler does not meet it.
"""

SQL = """
CREATE TABLE task_variances (
    task_id INTEGER PRIMARY KEY REFERENCES tasks(id), variance REAL NOT NULL
) STRICT;
"""
