"""What somebody may not be told yet, because they may still be asked about it.

Labelers never see who wrote what. Leads and engineers do, and label too: for them it stays hidden
wherever their own blind answer is still to come.
"""

from __future__ import annotations

from collections.abc import Iterable

from data.plain_json import to_json
from data.store import Store
from data.tasks import ENDED


def hidden_from(store: Store, viewer: int, responses: Iterable[int]) -> frozenset[int]:
    """Those of the responses that the viewer may still be asked about, and must judge blind.

    That is: in a task of an open round that is open (or their repeat), or in gold in use that is
    not their own, that they have neither answered nor skipped; and in what was handed to them and
    has not ended.
    """
    return frozenset(row[0] for row in store.database.rows(f"""
        SELECT DISTINCT tr.response_id FROM task_responses tr JOIN tasks t ON t.id = tr.task_id
        LEFT JOIN rounds r ON r.id = t.round_id LEFT JOIN known_answers k ON k.task_id = t.id
        LEFT JOIN assignments a ON a.task_id = t.id AND a.labeler_id = :viewer
        WHERE tr.response_id IN (SELECT value FROM json_each(:responses))
        AND (t.purpose = 'gold' OR t.round_id IS NOT NULL AND r.closed_at IS NULL)
        AND a.skipped_at IS NULL
        AND (t.only_for IS NULL OR t.only_for = :viewer)
        AND (a.task_id IS NOT NULL AND NOT {ENDED} OR CASE t.purpose WHEN 'gold' THEN k.retired = 0
            AND (k.practice OR k.created_by IS NOT :viewer) ELSE t.labels < t.wanted END)
        AND NOT EXISTS (SELECT 1 FROM current_comparisons c
            WHERE c.task_id = t.id AND c.labeler_id = :viewer)""",
        {"viewer": viewer, "responses": to_json(list(responses))}))
