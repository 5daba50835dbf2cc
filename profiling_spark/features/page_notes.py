"""The parts of docs/features.md that list no features. Numbers and rules come from the kernels' own constants."""

from __future__ import annotations

from collections.abc import Iterable

from profiling_spark.feature_catalogue.event_columns import CLOCK, DISTINCTS, FILTERS, FLAGS, NUMBERS, SUMS, TEXTS
from profiling_spark.features.preference import LONE_PRICE_PERCENTILE
from profiling_spark.features.rfm import GROUP_RULES, MEASURES, SCORES
from profiling_spark.features.views import VIEWS

EXAMPLE = """\
custom_features:
  - name: night_app_orders
    measure: count
    event_types: [purchase]
    where: {channel: app, hour: {min: 22, max: 5}}
    windows_days: [7, 30]
    unit: orders
    description: Orders placed at night in the app
  - name: app_spend_share
    measure: share
    event_types: [purchase]
    column: amount
    where: {channel: [app, mini_program]}
    unit: share, 0 to 1
    description: Part of the spending that went through the app
  - name: days_since_big_order
    measure: recency
    event_types: [purchase]
    where: {amount: {min: 500}}
    unit: days, 1 is the day before as_of
    description: Time since the last line of 500 or more
  - name: night_order_rate
    measure: ratio
    numerator: night_app_orders
    denominator: purchases
    windows_days: [7, 30]
    unit: orders an order
    description: How many of the orders were night orders in the app
"""


def rfm_notes() -> list[str]:
    """How cut points are found, and the rule table of rfm_group."""
    steps = ", ".join(str(k) for k in range(1, SCORES))
    lines = [
        "",
        f"Cut k ({steps}) of a measure ({', '.join(f'`{m}`' for m in MEASURES)}) is the value at place"
        f" ceil(n * k / {SCORES}) among the n customers with a purchase before as_of, from the smallest value up, equal"
        " values each at a place of their own: a value that occurs. The cuts in force are in `rfm_cuts`. A cut point"
        " counts where it is strictly below the customer's value, so equal values get equal scores; with tied values"
        f" fewer than {SCORES} scores may occur.",
        "",
        "`rfm_group` is the one rule whose three ranges, ends included, hold the scores:",
        "",
        "| group | r_score | f_score | m_score |",
        "|---|---|---|---|",
    ]
    return lines + [f"| {r.group} | {_range(r.r)} | {_range(r.f)} | {_range(r.m)} |" for r in GROUP_RULES]


def price_notes() -> list[str]:
    """What the price percentile behind price_preference is."""
    return [
        "",
        "The price percentile of an item (`item_features.price_percentile`) is (rank - 1) / (n - 1): n items of its"
        " category have a known price as of the date, and rank is 1 more than the number of them with a strictly lower"
        " price. So items of equal price share a percentile, that of the first of them. An item alone with a price in"
        f" its category has {LONE_PRICE_PERCENTILE}; without a known price or category it has none. The price is the"
        " list price of the catalogue's last version before as_of; where there is none, the median of the unit prices"
        " in the item's events before as_of (the lower of two middle ones). The category, too, is the catalogue's;"
        " where it has none, that of the item's latest event with one (of events at the same time, the smaller name).",
    ]


def view_notes() -> list[str]:
    """The composite views."""
    lines = [
        "",
        "## Views",
        "",
        "A view is a fixed list of the columns above that looks at a customer from one side; `view_columns` in"
        " `profiling_spark/features/views.py` gives the columns for the windows of the settings.",
        "",
        "| view | of | aspect | features |",
        "|---|---|---|---|",
    ]
    return lines + [
        f"| {view} | {what} | {aspect} | {', '.join(f'`{s}`' for s in stems)} |"
        for view, (what, aspects) in VIEWS.items()
        for aspect, stems in aspects.items()
    ]


def custom_notes() -> list[str]:
    """How to add a feature in the settings."""
    return [
        "",
        "## Features of your own",
        "",
        "A feature is added in the settings, without code; it becomes a column of `user_features`, is computed in the"
        " same pass, and `python -m profiling_spark.features.page SETTINGS.yaml` prints this page with it.",
        "",
        "```yaml",
        *EXAMPLE.splitlines(),
        "```",
        "",
        "- `name`: the column is `name_{w}d` for each window, or `name` over the whole history. No built-in name.",
        "- `measure`: what is computed from the events of `event_types` that meet `where`:",
        "  - `count` (bigint): events; of purchases and refunds the orders with a matching line (an event without"
        " order_id is its own order), each in the window of its latest matching line;",
        f"  - `sum` (decimal(28,4), of durations double): of `column`, one of {_listed(SUMS)}; an unknown value adds"
        " nothing;",
        f"  - `distinct` (bigint): known values of `column`, one of {_listed(DISTINCTS)};",
        "  - `share` (double): the count, or with `column` the sum or the distinct values, divided by the same without"
        " `where`;",
        "  - `recency` (int): days from the last matching event's date to as_of, over the whole history;",
        "  - `ratio` (double): `numerator` / `denominator`, two features (built in or of your own, numbers, no ratio of"
        " your own), each of the same window or of the whole history.",
        f"- `where`: column and condition, all of which must hold. Columns: {_listed(FILTERS)}. A condition is a value,"
        " a list of values, or `{min: ..., max: ...}` with both ends in it. An unknown value meets none.",
        f"  - {_listed(TEXTS)} take texts, compared exactly; {_listed(FLAGS)} takes true or false; {_listed(NUMBERS)}"
        " take numbers.",
        f"  - `hour` ({_span('hour')}, business timezone) and `weekday` ({_span('weekday')}, 1 is Monday) take whole"
        " numbers; where min is above max they run over midnight or Sunday: `hour: {min: 22, max: 5}` is 22:00 to"
        " 05:59.",
        "- `windows_days`: some of the settings' windows (all of them unless given), or `all` for the whole history.",
        "- `unit`, `description`: for the documentation.",
        "",
        "Counts, sums and distinct counts are 0 where nothing matched, and null where no source supplies any of the"
        " event types together with the columns that the feature reads. Shares and ratios are null where the"
        " denominator is 0 or null. A recency is null without a matching event. What a source does supply is counted,"
        " where it supplies only some of the event types.",
        "",
        "A feature taken out of the settings stays a column of the table, null from then on. Rows of dates that are not"
        " built again hold null in a new one. One that shall mean something else needs a new name.",
    ]


def _range(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"`{c}`" for c in columns)


def _span(column: str) -> str:
    return f"{CLOCK[column][0]} to {CLOCK[column][1]}"
