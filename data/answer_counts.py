"""How many answers each labeler has given, whether or not they count: read from kept counts."""

from __future__ import annotations

from data.database import Database

#: Whether a comparison `c` is a lead's decision, given with the labelers' answers in view, and so
#: none of these. The views `blind_*` and `placed_*` say it for themselves.
IS_DECISION = "EXISTS (SELECT 1 FROM decisions d WHERE d.comparison_id = c.id)"


def has_decided(row: str) -> str:
    """Whether the labeler of a row (of comparisons or assignments) has ever decided its task, also
    where that was taken back: they have the others' answers in view, and are asked it no more."""
    return (f"EXISTS (SELECT 1 FROM decisions d JOIN comparisons own ON own.id = d.comparison_id "
            f"WHERE d.task_id = {row}.task_id AND own.labeler_id = {row}.labeler_id)")


class AnswerCounts:
    """The counting half of `data.comparisons.Comparisons`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, labeler_id: int, round_id: int | None = None, *,
              decisions: bool = False) -> int:
        """How many standing answers a labeler has given (in a round).

        As in `current`, without `decisions` only those given blind.
        """
        return int(self._database.value(
            "SELECT coalesce(sum(answers - iif(:all, 0, decisions)), 0) FROM answer_counts "
            "WHERE labeler_id = :me AND (:round IS NULL OR round_id = :round)",
            {"me": labeler_id, "round": round_id, "all": decisions}))

    def by_labeler(self, round_id: int) -> dict[int, int]:
        """How many standing blind answers of a round each labeler has given, by labeler id."""
        return {row["labeler_id"]: row["n"] for row in self._database.rows(
            "SELECT labeler_id, answers - decisions AS n FROM answer_counts "
            "WHERE round_id = ? AND answers <> decisions ORDER BY labeler_id", [round_id])}

    def imported(self) -> int:
        """How many standing answers came from files: of those of no round all but known answers."""
        return int(self._database.value(f"""
            SELECT (SELECT coalesce(sum(answers - decisions), 0) FROM answer_counts
                WHERE round_id = 0)
            - (SELECT count(*) FROM tasks t JOIN current_comparisons c ON c.task_id = t.id
                WHERE t.purpose = 'gold' AND t.round_id IS NULL AND NOT {IS_DECISION})"""))

    def with_repeats(self, round_id: int) -> bool:
        """Whether answers to hidden repeats are among those of `by_labeler`."""
        return bool(self._database.value(
            "SELECT EXISTS (SELECT 1 FROM tasks t JOIN current_comparisons c ON c.task_id = t.id "
            "WHERE t.round_id = ? AND t.purpose = 'repeat')", [round_id]))

    def latest(self, round_id: int) -> int:
        """A number that grows with every answer to a round's tasks, revisions and decisions too,
        and whenever anybody's answers are set aside or count again."""
        return int(self._database.value(
            "SELECT coalesce(max(latest), 0) + (SELECT n FROM counting_changes) "
            "FROM answer_counts WHERE round_id = ?", [round_id]))

    def given_since(self, moment: str, labeler_id: int | None = None) -> dict[int, int]:
        """How many tasks each labeler (or one) has first answered since then, by labeler id.

        An answer that was changed counts once, at its first time; one that was taken back, or has
        become a decision, does not. `moment` is ISO 8601, UTC.
        """
        values = {"moment": moment, "me": labeler_id}
        found = {row["labeler_id"]: row["n"] for row in self._database.rows("""
            SELECT l.id AS labeler_id, count(*) AS n FROM labelers l
            CROSS JOIN comparisons c INDEXED BY first_answers
            ON c.labeler_id = l.id AND c.created_at >= :moment AND c.revision = 1
            WHERE :me IS NULL OR l.id = :me GROUP BY l.id""", values)}
        for row in self._database.rows(f"""
                WITH changed AS (
                    SELECT id FROM comparisons WHERE revision > 1 AND created_at >= :moment
                    UNION SELECT comparison_id FROM decisions WHERE created_at >= :moment)
                SELECT c.labeler_id, count(*) AS n FROM changed CROSS JOIN comparisons c
                ON c.id = changed.id CROSS JOIN comparisons earliest
                ON earliest.task_id = c.task_id AND earliest.labeler_id = c.labeler_id
                AND earliest.revision = 1 AND earliest.created_at >= :moment
                WHERE (:me IS NULL OR c.labeler_id = :me) AND NOT EXISTS (
                    SELECT 1 FROM comparisons later WHERE later.task_id = c.task_id
                    AND later.labeler_id = c.labeler_id AND later.revision > c.revision)
                AND (c.verdict = 'withdrawn' OR {IS_DECISION})
                GROUP BY c.labeler_id""", values):
            found[row["labeler_id"]] -= row["n"]
        return found

    def known_since(self, round_id: int, labeler_id: int | None = None) -> dict[int, int]:
        """How many hidden known answers each labeler (or one) has given of those handed out since a
        round was opened, by labeler id; what stands, without practice. They are of no round
        themselves; one that is changed later stays of the round of then, as any other answer."""
        return {row["labeler_id"]: row["n"] for row in self._database.rows("""
            SELECT l.id AS labeler_id, count(*) AS n FROM labelers l CROSS JOIN known_answers k
            CROSS JOIN current_comparisons c ON c.task_id = k.task_id AND c.labeler_id = l.id
            JOIN assignments a ON a.task_id = k.task_id AND a.labeler_id = l.id
            WHERE (:me IS NULL OR l.id = :me) AND NOT k.practice AND a.leased_at >=
                (SELECT created_at FROM rounds WHERE id = :round) GROUP BY l.id""",
            {"me": labeler_id, "round": round_id})}

    def hidden(self, labeler_id: int, round_id: int) -> tuple[int, int]:
        """How many hidden known answers a labeler has given of those handed out since a round was
        opened, and how many hidden repeats of the round; what stands, without practice."""
        repeats = self._database.value("""
            SELECT count(*) FROM tasks t CROSS JOIN current_comparisons c
            ON c.task_id = t.id AND c.labeler_id = :me
            WHERE t.only_for = :me AND t.round_id = :round AND t.purpose = 'repeat'""",
            {"me": labeler_id, "round": round_id})
        return self.known_since(round_id, labeler_id).get(labeler_id, 0), int(repeats)
