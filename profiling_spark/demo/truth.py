"""What the demo shop planted: the counts a reader of the raw files must arrive at."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from profiling_spark.errors import ConfigError

VERSION = 3  # of the generator; a folder written by another one is written anew
FILE = Path("truth") / "truth.json"


class DemoError(ConfigError):
    """The request for a demo shop cannot be met; the message names what was expected and found."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceTruth(_Frozen):
    """Counts of one kind of source file. rows = accepted + rejected + duplicates + ignored."""

    files: int  # with differing content
    rows: int  # data rows in those files (no header lines)
    accepted: int
    rejected: dict[str, int]  # by reason; a row has one fault
    duplicates: (
        int  # exact repeats of accepted rows, in the same or a later file; contacts and items that did not change
    )
    ignored: int  # event words that mean nothing to a profile
    repeated_files: dict[str, str]  # file delivered again under another name -> the original; not in the counts above
    repeated_rows: int  # data rows in those copies

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows != self.accepted + sum(self.rejected.values()) + self.duplicates + self.ignored:
            raise ValueError(f"{self.rows} rows are not the sum of their parts")
        return self


class OrderFacts(_Frozen):
    """Accepted order lines. Amounts are CNY, net of discount: quantity * price - discount."""

    orders: int  # distinct order ids of type order
    purchase_lines: int
    purchase_amount: Decimal  # outliers included
    refund_lines: int
    refund_amount: Decimal
    outliers: int  # accepted lines of an absurd quantity (2000 to 9999); every other line has at most 200
    outlier_amount: Decimal
    late: int  # accepted lines that stand in the next day's file


class UserFacts(_Frozen):
    """Contacts as the second delivery has them, without the refused rows and repeats."""

    gender_forms: dict[str, int]  # rows by the form as written; '' is not known
    genders: dict[str, int]  # rows by what the form means: male, female, unknown
    nulls: dict[str, int]  # empty fields by column
    opted_out: int


class DemoTruth(_Frozen):
    """Parameters and planted facts of one demo shop. Days and dates are local to `timezone`."""

    version: int
    customers: int  # without guests
    guests: int  # of whom nobody can learn; in the users' counts and no others of people
    days: int
    seed: int
    end: date  # last day with data, inclusive
    as_of: date  # the day after
    timezone: str
    items: int
    sources: dict[str, SourceTruth]  # behaviour, orders, users, items, reviews
    actions: dict[str, int]  # accepted behaviour events by the shop's word
    orders: OrderFacts
    users: UserFacts
    kinds: dict[str, int]  # customers by planted kind
    active: int  # customers with an accepted event of any source but users
    at_risk_of_churn: int  # customers with an event in days [as_of - 60, as_of - 30)
    churned: int  # those of them without any event in [as_of - 30, as_of)
    risk_customers: int  # with a planted burst of orders

    @classmethod
    def load(cls, out: Path) -> "DemoTruth":
        """The truth of the demo shop in folder `out`."""
        path = out / FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as err:
            raise DemoError(f"{path}: expected the truth of a demo shop, found {err}") from err

    def save(self, out: Path) -> None:
        """Write truth/truth.json under `out`."""
        (out / FILE).parent.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
