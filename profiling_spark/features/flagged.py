"""How far a customer's amounts rest on flagged rows, and the words that say so: for tags, segments and the summary."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Literal

from pyspark.sql import Column
from pyspark.sql import functions as F

NOTABLE = 0.2  # of the amounts: below, a flag changes no judgement
FLAGGED = "flagged_amount"
# columns that follow from amounts of the whole history, and stems of those that follow from a window's
_WHOLE = frozenset(("monetary", "m_score", "rfm_score", "rfm_group"))
_WINDOWED = re.compile(r"(?:purchase_amount|net_amount|consumption_power|discount_share|refund_share)_(\d+d)")


def rests_on_amounts(names: Collection[str]) -> bool:
    """Whether any of these features follows from amounts."""
    return any(n in _WHOLE or _WINDOWED.fullmatch(n) for n in names)


def spent() -> Column:
    """What flagged amounts are compared with: the money that stayed, or the flagged amounts where these are more."""
    return F.greatest("monetary", FLAGGED)


def flagged_share(names: Collection[str], columns: Collection[str]) -> Column | None:
    """Of the amounts that the features `names` follow from, the largest share that rests on flagged rows, 0 to 1.

    Null without amounts; None where none of `names` follows from amounts, or `columns` of the table know no flags.
    """
    shares = []
    if FLAGGED in columns and _WHOLE & {*names}:
        shares.append(F.try_divide(FLAGGED, spent()))
    for window in sorted({m[1] for n in names if (m := _WINDOWED.fullmatch(n))}):
        if f"{FLAGGED}_{window}" in columns:
            shares.append(F.try_divide(f"{FLAGGED}_{window}", f"purchase_amount_{window}"))
    doubles = [s.cast("double") for s in shares]
    return reduce(lambda a, b: F.greatest(a, b), doubles) if doubles else None


def note(share: float, rules: Sequence[str], language: Literal["en", "zh"]) -> str:
    """The sentence on how much of the amounts rests on rows that `rules` flagged."""
    before, after = note_parts(rules, language)
    return f"{before}{100 * share:.0f}%{after}"


def note_parts(rules: Sequence[str], language: Literal["en", "zh"]) -> tuple[str, str]:
    """The note before and after the percentage; begins as a continuation. Without known rules it names none."""
    if language == "zh":
        return "；金额的 ", f" 来自被标记的行（{'、'.join(rules)}）" if rules else " 来自被标记的行"
    return "; ", " of the amount rests on flagged rows" + (f" ({' or '.join(rules)})" if rules else "")


def note_column(share: Column, rules: Sequence[str], language: Literal["en", "zh"]) -> Column:
    """`note` of each row whose share is notable, else the empty text."""
    before, after = note_parts(rules, language)
    text = F.concat(F.lit(before), F.format_string("%.0f%%", 100 * share), F.lit(after))
    return F.when(share >= NOTABLE, text).otherwise(F.lit(""))
