"""An expression of the settings looks at one row and gives the same value whenever it is computed.

Otherwise rows would be lost or counted several times in silence: what is read in parts, read again or replayed would
have other values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.errors import ConfigError

_SEVERAL_ROWS = "makes several rows of one"
_OTHER_ROWS = "looks at other rows"
_CHANGES = "gives another value each time it is computed"
_CLOCK = "depends on when, where or by whom the run is started"
_ELSEWHERE = "depends on where the file lies, while a file is known by its content"

# what serves instead, in a source's mapping
_SERVES = {
    _SEVERAL_ROWS: "for a row for each element of an array set {source}.lines to the path of the array",
    _OTHER_ROWS: "for values that stand on the first row of a group only set {source}.fill_down; for rows that are "
    "equal and all count, {source}.repeats: count",
    _CHANGES: "for rows that are equal and all count set {source}.repeats: count; leave event_id out where the source "
    "has no id of its own",
    _CLOCK: "take the time, the user and the place from a column of the source, or write a constant",
    _ELSEWHERE: "take the value from a column of the source, or make a source of each place with a constant",
}

# Spark takes these for deterministic, since they are constant within one query
_CLOCKS = {
    *("current_date", "curdate", "current_timestamp", "now", "localtimestamp", "current_time"),
    *("current_user", "user", "session_user", "current_database", "current_schema", "current_catalog", "version"),
}
# those that need no brackets; a column of that name is meant first
_BARE = _CLOCKS - {"curdate", "now", "current_database", "current_schema", "current_catalog", "version"}
_PLACES = {"input_file_name", "input_file_block_start", "input_file_block_length"}
# a new initialisation vector each time
_CHANGING = {"aes_encrypt"}
_WINDOWS = {"window", "session_window", "window_time"}

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/                              # a comment
    |\b[rR](?:'(?P<raw1>[^']*)'|"(?P<raw2>[^"]*)")      # a text in which a backslash is itself
    |'(?P<text1>(?:[^'\\]|\\.|'')*)'|"(?P<text2>(?:[^"\\]|\\.|"")*)"
    |`(?P<quoted>(?:[^`]|``)*)`(?P<call>\s*\()?""",
    re.VERBOSE | re.DOTALL,
)
_SPECIAL_DAY = re.compile(r"\s*(?:now|today|yesterday|tomorrow)(?:\s+\S+)?\s*", re.IGNORECASE)
_DAY = "'!'"
_READS_SPECIAL_DAY = re.compile(
    rf"\b(?:date|timestamp\w*)\s*{_DAY}|\b(?:try_)?cast\s*\(\s*{_DAY}|{_DAY}\s*::"
    rf"|\b(?:try_)?(?:to_)?(?:date|timestamp\w*)\s*\(\s*{_DAY}",
    re.IGNORECASE,
)
_SUBQUERY = re.compile(r"\(\s*(?:select|with|from|table|values)\s+[\w'(*]", re.IGNORECASE)
_NO_ARGUMENT = re.compile(r"\bunix_timestamp\s*\(\s*\)", re.IGNORECASE)


def check_one_row(frame: DataFrame, expressions: Mapping[str, str], *, source: str = "") -> None:
    """Raises ConfigError that lists what `one_row_faults` finds."""
    faults = one_row_faults(frame, expressions, source=source)
    if faults:
        raise ConfigError("\n".join(f"{setting} = {expressions[setting]!r}: {f}" for setting, f in faults.items()))


def one_row_faults(frame: DataFrame, expressions: Mapping[str, str], *, source: str = "") -> dict[str, str]:
    """By setting, why an expression over the frame's columns is no matter of one row. Nothing is read.

    `expressions`: text by the setting that holds it. `source`: setting of the source whose mapping they are, for what
    serves instead. An expression that is wrong for another reason is left to where it is used.
    """
    columns = {c.lower() for c in frame.columns}
    # a column's name as it is, such as "Number of units (max)", is no expression
    computed = {setting: text for setting, text in expressions.items() if text not in frame.columns}
    found = {setting: _by_text(text, columns) for setting, text in computed.items()}
    others = {setting: text for setting, text in computed.items() if not found[setting]}
    if others and _by_analysis(frame, list(others.values())) is not None:
        found |= {setting: _by_analysis(frame, [text]) for setting, text in others.items()}
    return {setting: _fault_text(fault, source) for setting, fault in found.items() if fault}


def is_sound(frame: DataFrame, expressions: Mapping[str, str], conditions: Collection[str]) -> bool:
    """Whether all expressions over the frame's columns can be used, look at one row, and those of the settings
    `conditions` are true or false: in one analysis.
    """
    columns = {c.lower() for c in frame.columns}
    if any(text not in frame.columns and _by_text(text, columns) for text in expressions.values()):
        return False
    return _by_analysis(frame, list(expressions.values()), {expressions[c] for c in conditions}) is None


def _fault_text(fault: str, source: str) -> str:
    serves = f"; {_SERVES[fault].format(source=source)}" if source else ""
    return f"expected a value of one row, found that it {fault}{serves}"


def _by_analysis(frame: DataFrame, texts: Sequence[str], conditions: Collection[str] = ()) -> str | None:
    """What Spark's analysis finds in the expressions, '' where it is another fault, null where there is none.

    The condition of a join may be neither an aggregate, a window, a generator nor anything that is not deterministic,
    and each has a fault of its own; in a select some of them would pass. Of `conditions` it must be true or false.
    """
    other = frame.sparkSession.range(0).select(F.lit(None).cast("string").alias("_other"))
    try:
        names = set(frame.columns)
        columns = {text: F.col(f"`{text}`") if text in names else F.expr(text) for text in texts}
        condition = reduce(or_, (c if text in conditions else c.isNotNull() for text, c in columns.items()))
        _ = frame.join(other, condition).schema  # analysed, never run
    except AnalysisException as err:
        found = str(err.getCondition())
        if found.startswith("UNSUPPORTED_GENERATOR"):
            return _SEVERAL_ROWS
        if found == "INVALID_NON_DETERMINISTIC_EXPRESSIONS":
            return _CHANGES
        if found.startswith(("UNSUPPORTED_EXPR_FOR_OPERATOR", "UNSUPPORTED_GROUPING", "WINDOW_FUNCTION")):
            return _OTHER_ROWS
        return ""
    return None


def _by_text(text: str, columns: set[str]) -> str | None:
    """The fault by the functions called in the text."""
    bare = _TOKEN.sub(_without_literals, text)
    called = {name.lower() for name in re.findall(r"(\w+)\s*\(", bare)}
    if called & _PLACES:
        return _ELSEWHERE
    if called & _CLOCKS or _NO_ARGUMENT.search(bare) or _READS_SPECIAL_DAY.search(bare):
        return _CLOCK
    words = {word.lower() for word in re.findall(r"(?<![\w.])(\w+)\b(?!\s*[(.]|\s*->)", bare)}
    if words & _BARE - columns - _parameters(bare):
        return _CLOCK
    if called & _CHANGING:
        return _CHANGES
    return _OTHER_ROWS if called & _WINDOWS or _SUBQUERY.search(bare) else None


def _parameters(bare: str) -> set[str]:
    """Names that functions such as `transform(items, user -> ...)` give to their elements."""
    lists = re.findall(r"\(([\w\s,]+)\)\s*->|(\w+)\s*->", bare)
    return {name.strip().lower() for several, one in lists for name in (several or one).split(",")}


def _without_literals(token: re.Match[str]) -> str:
    if token["call"]:
        return f"{token['quoted']}("
    if token["quoted"] is not None:
        return " _ "
    texts = [t for name in ("raw1", "raw2", "text1", "text2") if (t := token[name]) is not None]
    if not texts:
        return " "
    return _DAY if _SPECIAL_DAY.fullmatch(texts[0]) else "''"
