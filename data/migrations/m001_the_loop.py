"""Every noun of the loop, with the links that make its lineage.

Comparisons are append-only: the triggers turn a mistake in our own code into an error instead of a
lost label. `current_comparisons` are those that stand, neither revised nor withdrawn.
"""

SQL = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE labelers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, role TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0, config TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL,
    CHECK (kind IN ('human', 'ai', 'simulated', 'imported')),
    CHECK (role IN ('labeler', 'lead', 'engineer'))
) STRICT;
CREATE TABLE sign_in_codes (
    code_hash TEXT PRIMARY KEY, labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, used_at TEXT
) STRICT;
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY, labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, ended_at TEXT
) STRICT;

CREATE TABLE prompts (
    id INTEGER PRIMARY KEY, messages TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL, split TEXT NOT NULL CHECK (split IN ('train', 'held_out')),
    tags TEXT NOT NULL DEFAULT '[]', created_at TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'done', 'failed', 'stopped')),
    config TEXT NOT NULL DEFAULT '{}', resolved TEXT, round_id INTEGER REFERENCES rounds(id),
    requested_by INTEGER REFERENCES labelers(id), progress REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '', seconds_left REAL, attempts INTEGER NOT NULL DEFAULT 0,
    stop_requested INTEGER NOT NULL DEFAULT 0, result TEXT, error TEXT,
    created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT
) STRICT;
CREATE INDEX jobs_by_status ON jobs(status, id);
CREATE TABLE job_metrics (
    job_id INTEGER NOT NULL REFERENCES jobs(id), step INTEGER NOT NULL, metrics TEXT NOT NULL,
    created_at TEXT NOT NULL, PRIMARY KEY (job_id, step)
) STRICT;

CREATE TABLE reward_models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base TEXT NOT NULL, path TEXT NOT NULL,
    round_id INTEGER REFERENCES rounds(id), job_id INTEGER REFERENCES jobs(id),
    config TEXT NOT NULL, metrics TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE policy_versions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base TEXT NOT NULL, path TEXT,
    method TEXT NOT NULL, parent_id INTEGER REFERENCES policy_versions(id),
    reward_model_id INTEGER REFERENCES reward_models(id),
    round_id INTEGER REFERENCES rounds(id), job_id INTEGER REFERENCES jobs(id),
    config TEXT NOT NULL, metrics TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE rounds (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
    stage TEXT NOT NULL CHECK (stage IN ('sampling', 'labeling', 'training', 'improving', 'done')),
    policy_version_id INTEGER NOT NULL REFERENCES policy_versions(id),
    reference_id INTEGER NOT NULL REFERENCES policy_versions(id),
    created_at TEXT NOT NULL, closed_at TEXT
) STRICT;

CREATE TABLE responses (
    id INTEGER PRIMARY KEY, prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    policy_version_id INTEGER REFERENCES policy_versions(id),
    round_id INTEGER REFERENCES rounds(id), text TEXT NOT NULL,
    token_ids TEXT NOT NULL DEFAULT '[]', sampling TEXT NOT NULL DEFAULT '{}',
    seed INTEGER NOT NULL DEFAULT 0, sample_index INTEGER NOT NULL DEFAULT 0,
    finish_reason TEXT NOT NULL, logprob REAL, source TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX responses_by_prompt ON responses(prompt_id);
CREATE UNIQUE INDEX responses_sampled_once
    ON responses(round_id, prompt_id, policy_version_id, seed, sample_index)
    WHERE source = 'sample' AND round_id IS NOT NULL;

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, round_id INTEGER REFERENCES rounds(id),
    prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    purpose TEXT NOT NULL CHECK (purpose IN ('train', 'evaluate', 'gold', 'repeat')),
    wanted INTEGER NOT NULL CHECK (wanted >= 1), labels INTEGER NOT NULL DEFAULT 0,
    priority REAL NOT NULL DEFAULT 0, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_round ON tasks(round_id);
CREATE INDEX tasks_open ON tasks(priority DESC, labels, id) WHERE labels < wanted;
CREATE TABLE task_responses (
    task_id INTEGER NOT NULL REFERENCES tasks(id), position INTEGER NOT NULL,
    response_id INTEGER NOT NULL REFERENCES responses(id),
    PRIMARY KEY (task_id, position), UNIQUE (task_id, response_id)
) STRICT;
CREATE INDEX task_responses_by_response ON task_responses(response_id);
CREATE TABLE assignments (
    task_id INTEGER NOT NULL REFERENCES tasks(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    shown TEXT NOT NULL, leased_at TEXT NOT NULL, skipped_at TEXT, skip_reason TEXT,
    PRIMARY KEY (task_id, labeler_id)
) STRICT;
CREATE INDEX assignments_by_labeler ON assignments(labeler_id, leased_at);

CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY, task_id INTEGER NOT NULL REFERENCES tasks(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id), revision INTEGER NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('ranked', 'both_bad', 'withdrawn')),
    ranking TEXT NOT NULL, strength INTEGER NOT NULL, flags TEXT NOT NULL DEFAULT '{}',
    rationale TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL DEFAULT 0, shown TEXT NOT NULL,
    submission_key TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL,
    UNIQUE (task_id, labeler_id, revision)
) STRICT;
CREATE INDEX comparisons_by_labeler ON comparisons(labeler_id, id);
CREATE TRIGGER comparisons_are_never_changed BEFORE UPDATE ON comparisons
    BEGIN SELECT RAISE(ABORT, 'comparisons are append-only: add a revision'); END;
CREATE TRIGGER comparisons_are_never_deleted BEFORE DELETE ON comparisons
    BEGIN SELECT RAISE(ABORT, 'comparisons are append-only: add a revision'); END;
CREATE VIEW current_comparisons AS
    SELECT c.* FROM comparisons c
    WHERE c.verdict <> 'withdrawn' AND NOT EXISTS (
        SELECT 1 FROM comparisons later WHERE later.task_id = c.task_id
        AND later.labeler_id = c.labeler_id AND later.revision > c.revision);

CREATE TABLE preferences (
    id INTEGER PRIMARY KEY, comparison_id INTEGER NOT NULL REFERENCES comparisons(id),
    task_id INTEGER NOT NULL REFERENCES tasks(id),
    prompt_id INTEGER NOT NULL REFERENCES prompts(id),
    labeler_id INTEGER NOT NULL REFERENCES labelers(id),
    chosen_id INTEGER NOT NULL REFERENCES responses(id),
    rejected_id INTEGER NOT NULL REFERENCES responses(id), strength INTEGER NOT NULL
) STRICT;
CREATE INDEX preferences_by_comparison ON preferences(comparison_id);
CREATE VIEW current_preferences AS
    SELECT p.* FROM preferences p JOIN current_comparisons c ON c.id = p.comparison_id;

CREATE TABLE reward_model_comparisons (
    reward_model_id INTEGER NOT NULL REFERENCES reward_models(id),
    comparison_id INTEGER NOT NULL REFERENCES comparisons(id),
    split TEXT NOT NULL CHECK (split IN ('train', 'held_out')),
    PRIMARY KEY (reward_model_id, comparison_id)
) STRICT;
"""
