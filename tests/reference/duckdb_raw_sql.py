"""SQL that turns raw lines into silver rows: reading, typing, the rules that refuse a row, repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

Rows = tuple[str, int]  # a table of readable lines, and the number of all lines, unreadable ones among them


class Counts(NamedTuple):
    """What became of a source's lines; the last four add up to the first. `repeated`: duplicate or superseded."""

    read: int
    accepted: int
    repeated: int
    rejected: int
    ignored: int


MACROS = (
    # blank means not known
    "known(t) AS CASE WHEN trim(t::VARCHAR) <> '' THEN trim(t::VARCHAR) END",
    # of the two instants that an hour turned back has, the earlier
    """local_instant(t, zone) AS least(
        timezone(zone, t), timezone(zone, t - INTERVAL 1 HOUR) + INTERVAL 1 HOUR)""",
    # a time without a zone is local; the result is UTC
    r"""instant(t, zone) AS timezone('UTC', CASE
        WHEN NOT regexp_matches(t,
            '^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}([.]\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?)?$') THEN NULL
        WHEN regexp_matches(t, ':\d{2}.*(Z|UTC|[+-]\d{2}:?\d{2})$') THEN TRY_CAST(t AS TIMESTAMPTZ)
        ELSE local_instant(TRY_CAST(t AS TIMESTAMP), zone) END)""",
    # whole numbers only: a cast of 5.4 would round
    r"whole(t) AS CASE WHEN regexp_matches(t, '^[+-]?\d+$') THEN TRY_CAST(t AS BIGINT) END",
    "finite(t) AS CASE WHEN isfinite(TRY_CAST(t AS DOUBLE)) THEN TRY_CAST(t AS DOUBLE) END",
    """truth(t) AS CASE WHEN lower(t) IN ('true', 't', 'yes', 'y', '1', '是') THEN true
        WHEN lower(t) IN ('false', 'f', 'no', 'n', '0', '否') THEN false END""",
    """gendered(t) AS CASE WHEN lower(t) IN ('male', 'm', 'man', '男', '男性') THEN 'male'
        WHEN lower(t) IN ('female', 'f', 'woman', '女', '女性') THEN 'female' END""",
    # the quotient of a DECIMAL(_,6) and a DECIMAL(_,4) with six decimals, halves away from 0; DuckDB's own is a double
    """divided(a, b) AS CASE WHEN b <> 0 THEN (sign(a) * sign(b) * (
        (2 * abs(a * 1000000)::HUGEINT * 10000 + abs(b * 10000)::HUGEINT) // (2 * abs(b * 10000)::HUGEINT)
    ))::DECIMAL(38,0) * 0.000001::DECIMAL(7,6) END""",
)

_EVENT_TEXTS = (
    *("user_id", "item_id", "category", "brand", "session_id", "order_id", "channel", "device", "province", "city"),
    *("payment_method", "search_text"),
)
_EVENT_NUMBERS = {
    "quantity": "TRY_CAST({} AS DECIMAL(18,4))",
    "unit_price": "TRY_CAST({} AS DECIMAL(18,6))",
    "discount": "TRY_CAST({} AS DECIMAL(18,4))",
    "amount": "TRY_CAST({} AS DECIMAL(18,4))",
    "duration_seconds": "finite({})",
    "third_party_payment": "truth({})",
}
_EVENTS_TABLE = """CREATE TABLE events (
    event_id VARCHAR, event_time TIMESTAMP, event_date DATE, user_id VARCHAR, event_type VARCHAR, item_id VARCHAR,
    category VARCHAR, brand VARCHAR, session_id VARCHAR, order_id VARCHAR, quantity DECIMAL(18,4),
    unit_price DECIMAL(18,6), discount DECIMAL(18,4), amount DECIMAL(18,4), duration_seconds DOUBLE, channel VARCHAR,
    device VARCHAR, province VARCHAR, city VARCHAR, payment_method VARCHAR, third_party_payment BOOLEAN,
    search_text VARCHAR, source VARCHAR, flags VARCHAR)"""
_ITEMS_TABLE = """CREATE TABLE items (item_id VARCHAR, valid_from TIMESTAMP, title VARCHAR, category VARCHAR,
    subcategory VARCHAR, brand VARCHAR, list_price DECIMAL(18,6), stock BIGINT)"""


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Macros and empty tables; the connection's TimeZone becomes UTC."""
    con.execute("SET TimeZone = 'UTC'")
    for macro in MACROS:
        con.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")
    for table in ("events", "users", "items", "reviews"):
        con.execute(f"DROP TABLE IF EXISTS {table}")
    con.execute(_EVENTS_TABLE)
    con.execute(_ITEMS_TABLE)


def csv_rows(con: duckdb.DuckDBPyConnection, table: str, folder: Path, pattern: str, header: str) -> Rows:
    """The lines with the header's number of fields, as text; `_identity` is the text that equal rows share."""
    columns = header.split(",")
    files = _different_files(folder, pattern)
    each = ", ".join(f"coalesce({c}, chr(0))" for c in columns)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, concat_ws(chr(31), {each}) AS _identity
        FROM read_csv($files, columns = $columns, header = true, auto_detect = false, delim = ',', quote = '"',
            escape = '"', strict_mode = true, ignore_errors = true)""",
        {"files": files, "columns": {c: "VARCHAR" for c in columns}},
    )
    return table, _line_count(con, files, header=True)


def json_rows(con: duckdb.DuckDBPyConnection, table: str, folder: Path, pattern: str, keys: str) -> Rows:
    """The lines that are JSON objects, their fields as text; `_identity` is the line."""
    files = _different_files(folder, pattern)
    fields = ", ".join(f"json_extract_string(line, '$.{k}') AS {k}" for k in keys.split(","))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {table} AS SELECT {fields}, line AS _identity FROM {_lines(header=False)}
        WHERE CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' END""",
        {"files": files},
    )
    return table, _line_count(con, files, header=False)


def _lines(*, header: bool) -> str:
    """A reader of whole lines: a separator that never occurs, and no quotes."""
    options = f"delim = '{chr(1)}', quote = '', escape = '', auto_detect = false"
    return f"read_csv($files, columns = {{'line': 'VARCHAR'}}, header = {header}, {options})"


def _line_count(con: duckdb.DuckDBPyConnection, files: list[str], *, header: bool) -> int:
    query = f"SELECT count(*) FROM {_lines(header=header)} WHERE trim(line) <> ''"
    return int(con.execute(query, {"files": files}).fetchall()[0][0])


def _different_files(folder: Path, pattern: str) -> list[str]:
    """A file delivered again under another name is read once."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob(pattern)):
        found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), str(path))
    return list(found.values())


def load_events(
    con: duckdb.DuckDBPyConnection,
    source: str,
    mapping: Mapping[str, str],
    rows: Rows,
    *,
    words: Mapping[str, str],
    timezone: str,
    latest: date,
) -> Counts:
    """Add a source's events to `events`; `items` must be loaded before."""
    table, read = rows
    judged = f"""CREATE OR REPLACE TEMP TABLE judged AS
    WITH given AS (SELECT {_given(mapping, ("event_id", "event_time", "word", *_EVENT_TEXTS, *_EVENT_NUMBERS))},
        _identity FROM {table}),
    typed AS (SELECT {", ".join(_EVENT_TEXTS)}, word,
        md5('{source}' || chr(31) || coalesce(event_id, chr(1) || _identity)) AS event_id,
        instant(event_time, '{timezone}') AS event_time,
        {", ".join(f"{form.format(c)} AS {c}" for c, form in _EVENT_NUMBERS.items())},
        {_bad(_EVENT_NUMBERS)} AS is_bad
        FROM given),
    dated AS (SELECT * REPLACE (coalesce(amount, {_NET}) AS amount),
        timezone('{timezone}', event_time::TIMESTAMPTZ)::DATE AS event_date,
        {_case("word", words)} AS event_type FROM typed)
    SELECT *, event_type IN ('purchase', 'refund') AS is_bought FROM dated"""
    con.execute(judged)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE fit AS
        SELECT * REPLACE (CASE WHEN is_bought OR unit_price > 0 THEN unit_price END AS unit_price) FROM judged
        WHERE event_type <> 'ignored' AND NOT ({_refused(latest)})"""
    )
    fit, ignored = (int(_one(con, f"SELECT count(*) FROM {t}")) for t in ("fit", _IGNORED))
    before = int(_one(con, "SELECT count(*) FROM events"))
    con.execute(
        f"""INSERT INTO events BY NAME SELECT e.* EXCLUDE (word, is_bad, is_bought) REPLACE (
            coalesce(e.category, i.category) AS category, coalesce(e.brand, i.brand) AS brand), '{source}' AS source
        FROM fit AS e LEFT JOIN ({_NEWEST_ITEMS}) AS i USING (item_id) WHERE e.{_one_per("event_id")}"""
    )
    accepted = int(_one(con, "SELECT count(*) FROM events")) - before
    return Counts(read, accepted, fit - accepted, read - fit - ignored, ignored)


_NEWEST_ITEMS = "FROM items QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY valid_from DESC) = 1"
_NET = "TRY_CAST(quantity * unit_price - coalesce(discount, 0) AS DECIMAL(18,4))"
_IGNORED = "(FROM judged WHERE event_type = 'ignored')"


def _refused(latest: date) -> str:
    """True where a row of a known event type breaks a rule; a null condition does not hold."""
    rules = (
        "is_bad",
        "user_id IS NULL",
        "event_time IS NULL",
        f"event_date NOT BETWEEN DATE '2000-01-01' AND DATE '{latest.isoformat()}'",
        "is_bought AND unit_price <= 0",
        "is_bought AND quantity <= 0",
        "is_bought AND amount < 0 AND unit_price > 0 AND quantity > 0",
    )
    return " OR ".join(f"coalesce({rule}, false)" for rule in rules)


def load_items(
    con: duckdb.DuckDBPyConnection, mapping: Mapping[str, str], rows: Rows, *, delivered: datetime | None = None
) -> Counts:
    """Add to `items` a version of each item of a delivery; its first, or one without time, holds from the beginning."""
    table, read = rows
    forms = {"list_price": "TRY_CAST({} AS DECIMAL(18,6))", "stock": "whole({})"}
    texts = ("item_id", "title", "category", "subcategory", "brand")
    columns = ", ".join((*texts, *(f"{form.format(c)} AS {c}" for c, form in forms.items())))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE fit AS
        WITH given AS (SELECT {_given(mapping, (*texts, *forms))} FROM {table}),
        typed AS (SELECT {columns}, {_bad(forms)} AS is_bad FROM given)
        SELECT * EXCLUDE (is_bad) FROM typed
        WHERE NOT is_bad AND item_id IS NOT NULL AND NOT coalesce(list_price < 0, false)"""
    )
    _add_versions(con, "items", "item_id", delivered)
    return _keyed_counts(con, "items", read)


def _add_versions(con: duckdb.DuckDBPyConnection, table: str, key: str, delivered: datetime | None) -> None:
    """An unchanged row is a version too here: the project stores none, with the same values at every date. The first of
    each key holds from the beginning, whichever delivery has it.
    """
    con.execute(
        f"CREATE TABLE IF NOT EXISTS {table} AS SELECT *, TIMESTAMP '1970-01-01' AS valid_from FROM fit LIMIT 0"
    )
    time = "1970-01-01" if delivered is None else delivered.isoformat(" ")
    is_known = f"{key} IN (SELECT {key} FROM {table})"
    con.execute(
        f"""INSERT INTO {table} BY NAME SELECT *,
        CASE WHEN {is_known} THEN TIMESTAMP '{time}' ELSE TIMESTAMP '1970-01-01' END AS valid_from
        FROM fit WHERE {_one_per(key)}"""
    )


def load_users(
    con: duckdb.DuckDBPyConnection,
    mapping: Mapping[str, str],
    rows: Rows,
    *,
    timezone: str,
    delivered: datetime | None = None,
) -> Counts:
    """Add to `users` one version of each customer of a delivery, as `load_items` does."""
    table, read = rows
    forms = {
        "age": "whole({})",
        "birth_date": r"CASE WHEN regexp_matches({}, '^\d{{4}}-\d{{2}}-\d{{2}}$') THEN TRY_CAST({} AS DATE) END",
        "income": "TRY_CAST({} AS DECIMAL(18,4))",
        "registered_at": f"instant({{}}, '{timezone}')",
        "personalisation_opt_out": "truth({})",
    }
    texts = ("user_id", "age_band", "occupation", "province", "city")
    columns = ", ".join((*texts, *(f"{form.format(c, c)} AS {c}" for c, form in forms.items())))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE fit AS
        WITH given AS (SELECT {_given(mapping, (*texts, "gender", *forms))} FROM {table}),
        typed AS (SELECT {columns}, gendered(gender) AS gender, {_bad(forms)} AS is_bad FROM given)
        SELECT * EXCLUDE (is_bad) REPLACE (age::INTEGER AS age) FROM typed
        WHERE NOT is_bad AND user_id IS NOT NULL AND coalesce(age BETWEEN 0 AND 120, true)"""
    )
    _add_versions(con, "users", "user_id", delivered)
    return _keyed_counts(con, "users", read)


def load_reviews(
    con: duckdb.DuckDBPyConnection, source: str, mapping: Mapping[str, str], rows: Rows, *, timezone: str
) -> Counts:
    """Make `reviews`; a review without text or with a rating outside 1 to 5 is refused."""
    table, read = rows
    forms = {"rating": "finite({})", "review_time": f"instant({{}}, '{timezone}')"}
    texts = ("user_id", "item_id", "text")
    columns = ", ".join((*texts, *(f"{form.format(c)} AS {c}" for c, form in forms.items())))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE fit AS
        WITH given AS (SELECT {_given(mapping, ("review_id", *texts, *forms))}, _identity FROM {table}),
        typed AS (SELECT {columns}, {_bad(forms)} AS is_bad,
            md5('{source}' || chr(31) || coalesce(review_id, chr(1) || _identity)) AS review_id FROM given)
        SELECT * EXCLUDE (is_bad) FROM typed
        WHERE NOT is_bad AND text IS NOT NULL AND coalesce(rating BETWEEN 1 AND 5, true)"""
    )
    con.execute(f"CREATE TABLE reviews AS SELECT * FROM fit WHERE {_one_per('review_id')}")
    return _keyed_counts(con, "reviews", read)


def _given(mapping: Mapping[str, str], columns: Sequence[str]) -> str:
    """Mapped values as trimmed text, null where blank or not mapped."""
    return ", ".join(f"known({mapping[c]}) AS {c}" if c in mapping else f"NULL::VARCHAR AS {c}" for c in columns)


def _bad(forms: Mapping[str, str]) -> str:
    """True where a value is there but does not fit its type."""
    return "(" + " OR ".join(f"({c} IS NOT NULL AND {form.format(c, c)} IS NULL)" for c, form in forms.items()) + ")"


def _one_per(key: str) -> str:
    """Of differing rows of one key the project keeps one by a hash; here the one with the greatest text."""
    return f"rowid IN (SELECT arg_max(rowid, fit::VARCHAR) FROM fit GROUP BY {key})"


def _case(column: str, words: Mapping[str, str]) -> str:
    return f"CASE {column} " + " ".join(f"WHEN '{w}' THEN '{t}'" for w, t in words.items()) + " END"


def _keyed_counts(con: duckdb.DuckDBPyConnection, table: str, read: int) -> Counts:
    fit, kept = (int(_one(con, f"SELECT count(*) FROM {t}")) for t in ("fit", table))
    return Counts(read, kept, fit - kept, read - fit, 0)


def _one(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(con.execute(query).fetchall()[0][0])
