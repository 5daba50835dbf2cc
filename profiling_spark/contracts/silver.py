"""Silver tables: accepted events, versions of users and items, reviews, and what was refused."""

from profiling_spark.contracts.table import AMOUNT, PRICE, Column, Table

EVENT_TYPES = (
    "login",
    "search",
    "view",
    "favorite",
    "cart",
    "purchase",
    "refund",
    "review",
    "ad_view",
    "ad_click",
    "service",
)

_UNKNOWN = "not known"
_LINEAGE = (
    Column("source", "string", "name of the source in the settings"),
    Column("file_id", "string", "fingerprint of the file's content"),
    Column("run_id", "string", "run that wrote the row"),
)
_VERSION = (
    Column("valid_from", "timestamp", "the source's own time of this version, UTC", "the source has none"),
    Column(
        "version_time", "timestamp", "from when this version holds: valid_from, else delivered_at; versions follow "
        "each other by it, then by delivered_at",
    ),
    Column(
        "delivered_at", "timestamp", "when the version came, UTC: from the file's path where the settings say how, "
        "else the start of the run that loaded it; a microsecond later for each further file of that time",
    ),
    Column("confirmed_at", "timestamp", "the last delivery that brought this version without a change"),
)  # fmt: skip
_ENDED = Column("ended", "boolean", "true: the source's full snapshot of that delivery lacks it", "not ended")
_RESCUED = Column("rescued", "string", "JSON of source columns that the settings do not know", "none", personal=True)

EVENTS = Table(
    name="events",
    layer="silver",
    row="accepted behaviour event",
    columns=(
        Column("user_bucket", "int", "pmod(xxhash64(user_id), buckets)"),
        Column(
            "event_id",
            "string",
            "hash of source, customer and the source's own id, else of source and the mapped columns",
        ),
        Column("event_time", "timestamp", "when it happened, UTC"),
        Column("event_date", "date", "its day in the business timezone"),
        Column("user_id", "string", "customer", personal=True),
        Column("event_type", "string", "one of: " + ", ".join(EVENT_TYPES)),
        Column("item_id", "string", "product", _UNKNOWN, personal=True),
        Column("category", "string", "the source's, else the catalogue's at ingest", _UNKNOWN, personal=True),
        Column("brand", "string", "the source's, else the catalogue's at ingest", _UNKNOWN, personal=True),
        Column("session_id", "string", "visit", _UNKNOWN, personal=True),
        Column("order_id", "string", "order or invoice", _UNKNOWN, personal=True),
        Column("quantity", AMOUNT, "pieces", _UNKNOWN, personal=True),
        Column("unit_price", PRICE, "price of one piece, reporting currency", _UNKNOWN, personal=True),
        Column("discount", AMOUNT, "taken off the whole line, reporting currency", _UNKNOWN, personal=True),
        Column(
            "amount", AMOUNT, "net of discount, reporting currency; a refund's is positive", _UNKNOWN, personal=True
        ),
        Column("duration_seconds", "double", "time spent, seconds", _UNKNOWN, personal=True),
        Column("channel", "string", "app, web, shop, ...", _UNKNOWN, personal=True),
        Column("device", "string", "device or browser", _UNKNOWN, personal=True),
        Column("province", "string", "province or state", _UNKNOWN, personal=True),
        Column("city", "string", "city", _UNKNOWN, personal=True),
        Column("payment_method", "string", "as the source names it", _UNKNOWN, personal=True),
        Column("third_party_payment", "boolean", "paid through a wallet such as Alipay", _UNKNOWN, personal=True),
        Column("search_text", "string", "what was searched for", _UNKNOWN, personal=True),
        Column("flags", "string", "names of outlier and warning rules that hold, comma separated", "none holds"),
        _RESCUED,
        *_LINEAGE,
    ),
    key=("event_id",),
    partition_by=("user_bucket",),
)

USERS = Table(
    name="users",
    layer="silver",
    row="version of a user's attributes, as one source tells it",
    columns=(
        Column("user_id", "string", "customer", personal=True),
        *_VERSION,
        Column("gender", "string", "male or female", _UNKNOWN, personal=True),
        Column("age", "int", "years", _UNKNOWN, personal=True),
        Column("age_band", "string", "the source's own band where it gives no age", _UNKNOWN, personal=True),
        Column("birth_date", "date", "day of birth", _UNKNOWN, personal=True),
        Column("occupation", "string", "as the source names it", _UNKNOWN, personal=True),
        Column("income", AMOUNT, "a year, reporting currency", _UNKNOWN, personal=True),
        Column("income_band", "string", "the source's own band", _UNKNOWN, personal=True),
        Column("interests", "string", "as the source names them", _UNKNOWN, personal=True),
        Column("country", "string", "country", _UNKNOWN, personal=True),
        Column("province", "string", "province or state", _UNKNOWN, personal=True),
        Column("city", "string", "city", _UNKNOWN, personal=True),
        Column("registered_at", "timestamp", "registration, UTC", _UNKNOWN, personal=True),
        Column("credit_score", "double", "the source's scale", _UNKNOWN, personal=True),
        Column("assets", AMOUNT, "reporting currency", _UNKNOWN, personal=True),
        Column("personalisation_opt_out", "boolean", "the customer wants no personal offers", _UNKNOWN, personal=True),
        _ENDED,
        _RESCUED,
        *_LINEAGE,
    ),
    key=("user_id", "source", "version_time", "delivered_at"),
)

ITEMS = Table(
    name="items",
    layer="silver",
    row="version of a product, as one source tells it",
    columns=(
        Column("item_id", "string", "product"),
        *_VERSION,
        Column("title", "string", "what the shop calls it", _UNKNOWN),
        Column("category", "string", "category", _UNKNOWN),
        Column("subcategory", "string", "finer category", _UNKNOWN),
        Column("brand", "string", "brand", _UNKNOWN),
        Column("list_price", PRICE, "price of one piece, reporting currency", _UNKNOWN),
        Column("stock", "bigint", "pieces in stock", _UNKNOWN),
        _ENDED,
        _RESCUED,
        *_LINEAGE,
    ),
    key=("item_id", "source", "version_time", "delivered_at"),
)

ATTRIBUTES = (USERS, ITEMS)
"""Tables of versions: a delivery adds to what is known of a key, and the later one wins."""

REVIEWS = Table(
    name="reviews",
    layer="silver",
    row="review",
    columns=(
        Column(
            "review_id",
            "string",
            "hash of source, customer and the source's own id, else of source and the mapped columns",
        ),
        Column("user_id", "string", "customer", _UNKNOWN, personal=True),
        Column("item_id", "string", "product", _UNKNOWN),
        Column("rating", "double", "stars, 1 to 5", _UNKNOWN),
        Column("text", "string", "what was written", personal=True),
        Column("review_time", "timestamp", "when it was written, UTC", _UNKNOWN),
        _RESCUED,
        *_LINEAGE,
    ),
    key=("review_id",),
)

REJECTED_ROWS = Table(
    name="rejected_rows",
    layer="silver",
    row="distinct refused row of a file",
    columns=(
        Column("file_id", "string", "fingerprint of the file's content"),
        Column("target_table", "string", "table it was meant for"),
        Column("row_hash", "string", "hash of the raw row"),
        Column("raw", "string", "the original line where it cannot be parsed, else JSON of its values", personal=True),
        Column("reasons", "string", "every reason, comma separated, in alphabetical order"),
        Column("occurrences", "bigint", "how often the row stands in the file"),
        Column("first_line", "bigint", "line number of the first occurrence", "not known"),
        Column("source", "string", "name of the source in the settings"),
        Column("run_id", "string", "run that wrote the row"),
        Column("replayed_by", "string", "run of --replay that took the row in after all", "still refused"),
    ),
    key=("source", "file_id", "target_table", "row_hash"),
)

INGESTED_FILES = Table(
    name="ingested_files",
    layer="silver",
    row="file and the table it feeds",
    columns=(
        Column("source", "string", "name of the source in the settings"),
        Column(
            "file_id", "string", "fingerprint of the file's content; of content that came before, also of the delivery"
        ),
        Column("target_table", "string", "table it feeds"),
        Column("path", "string", "where it was found"),
        Column("bytes", "bigint", "size"),
        Column("status", "string", "taking (claimed by a run), done, or refused"),
        Column("reason", "string", "why it was refused", "not refused"),
        Column("rows_read", "bigint", "rows in the file", "not read yet"),
        Column("rows_accepted", "bigint", "rows in the target table", "not read yet"),
        Column("rows_rejected", "bigint", "rows counted in rejected_rows.occurrences", "not read yet"),
        Column("rows_duplicate", "bigint", "repeats of an accepted row", "not read yet"),
        Column("rows_ignored", "bigint", "event words that the settings declare irrelevant", "not read yet"),
        Column("rows_superseded", "bigint", "rows that lost to another row of the same key", "not read yet"),
        Column("rows_ended", "bigint", "ends that a snapshot set: rows of users or items that no file brought", "none"),
        Column("content_id", "string", "fingerprint of the content alone", "the same as file_id"),
        Column("modified_at", "timestamp", "when the file was last modified, UTC", "not known"),
        Column("delivered_at", "timestamp", "of its rows in users or items", "no attribute source, or not known"),
        Column(
            "etag",
            "string",
            "mark of the content by its storage when it was read: a file of this path, size and etag is not read again",
            "changed just before, or taken by an earlier release",
        ),
        Column(
            "versions",
            "string",
            "while taking: JSON, version of each table as it was before the run, for undoing it if it dies",
            "not taking, or claimed by an earlier release",
        ),
        Column("run_id", "string", "run that took the file"),
    ),
    key=("source", "file_id", "target_table"),
)
