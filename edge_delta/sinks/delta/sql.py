"""The one place where SQL for a table is made: DataFusion's, as delta-rs runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_delta.core.questions import Moment

if TYPE_CHECKING:
    from edge_delta.core.questions import Condition, Question, Total, Where

TABLE = "t"
"""What the table is called in a statement."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def statement(question: Question) -> str:
    """The question as a SELECT over `TABLE`."""
    keys = [column(name) for name in (question.columns or {}).values()]
    parts = [_as(column(source), name) for name, source in (question.columns or {}).items()]
    parts += [_as(_total(total), name) for name, total in question.totals.items()]
    sql = f"SELECT {'DISTINCT ' if question.distinct else ''}{', '.join(parts) or '*'} FROM {TABLE}"
    if question.where:
        sql += f" WHERE {condition(question.where)}"
    if question.totals and keys:
        sql += f" GROUP BY {', '.join(keys)}"
    if question.repeated:
        sql += " HAVING count(*) > 1"
    if question.order:
        sql += f" ORDER BY {', '.join(map(column, question.order))}"
    return sql


def condition(where: Where) -> str:
    """Conditions as SQL; true where there are none."""
    return " AND ".join(map(_condition, where)) or "true"


def column(name: str) -> str:
    """A column's name. Not quoted, DataFusion folds it to lower case, and takes ``select`` for a keyword."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Moment):
        return _timestamp(value.micros)
    return "'" + str(value).replace("'", "''") + "'"


def timestamp(time: datetime) -> str:
    """A time as a value of a column of times. As a text it could not lie before 1677: DataFusion reads nanoseconds."""
    return _timestamp((time.astimezone(UTC) - _EPOCH) // _MICROSECOND)


def _timestamp(since: int) -> str:
    return f"arrow_cast({since}, 'Timestamp(Microsecond, Some(\"UTC\"))')"


def _condition(one: Condition) -> str:
    name = column(one.column)
    if one.sign == "null":
        return f"{name} IS NULL"
    if one.sign == "null or >=":
        return f"({name} IS NULL OR {name} >= {literal(one.value)})"
    if one.sign == "in":
        assert isinstance(one.value, tuple)  # noqa: S101 - `Condition` says so
        return f"{name} IN ({', '.join(map(literal, one.value))})"
    return f"{name} {one.sign} {literal(one.value)}"


def _total(total: Total) -> str:
    return f"{total.function}({'*' if total.column is None else column(total.column)})"


def _as(expression: str, name: str) -> str:
    return expression if expression == column(name) else f"{expression} AS {column(name)}"
