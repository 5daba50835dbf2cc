"""The features in pandas: one frame of all events, customers and texts as whole numbers, a groupby a question.

Money is whole ten-thousandths, so that sums are exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feature_shop import AS_OF, BOT_EVENTS, TIMEZONE, WINDOWS, Shop

from profiling_spark.features.rfm import GROUP_RULES

_TEXTS = ("user_id", "event_type", "item_id", "category", "brand", "session_id", "order_id", "channel")
_OTHERS = ("event_time", "event_date", "unit_price", "discount", "amount", "duration_seconds")
_COUNTED = {
    **{"login": "logins", "view": "views", "search": "searches", "favorite": "favorites", "cart": "carts"},
    **{"ad_view": "ad_views", "ad_click": "ad_clicks", "service": "services", "review": "review_events"},
}
_BREADTH = {"category_breadth": "category", "brand_breadth": "brand", "items_bought": "item_id"}
_BANDS = {"18-25": 18, "26-35": 26, "36-45": 36, "46-55": 46, "56-65": 56, "over 65": 66}
_TODAY = pd.Timestamp(AS_OF)
Columns = dict[str, "pd.Series[Any]"]


def build(shop: Shop, out: Path) -> None:
    """Every feature of every customer at AS_OF as one Parquet file in `out`."""
    events, names = _events(shop)
    versions, items, reviews = (pq.ParquetDataset(shop.files(t)).read() for t in ("users", "items", "reviews"))
    people = _latest_people(versions)
    customers = names["user_id"].union(people.index).sort_values()
    events["user"] = customers.get_indexer(names["user_id"])[events["user_id"]]
    everyone = pd.RangeIndex(len(customers))
    bought, returned = (events[events["event_type"] == names["event_type"].get_loc(t)] for t in ("purchase", "refund"))
    acts = events[events["event_type"] != names["event_type"].get_loc("ad_view")]
    rows = acts.groupby("user")["age"]
    columns: Columns = {"days_since_last_event": rows.min(), "tenure_days": rows.max()}
    busiest = acts.groupby(["user", "day"]).size().groupby("user").max()
    columns["is_bot"] = busiest.reindex(everyone, fill_value=0) > BOT_EVENTS
    for w in WINDOWS:
        columns |= _window(w, events, bought, returned, names, everyone)
    columns |= _whole_history(bought, returned, everyone)
    columns["flagged_amount"] = pd.Series(0, everyone)
    columns["price_preference"] = _price_preference(bought, _percentiles(events, items, names))
    columns |= _favourites(events, names)
    columns |= _reviews(reviews, customers, everyone)
    columns |= _attributes(people.reindex(customers).reset_index(drop=True))
    wide = pd.DataFrame(columns, index=everyone)
    out.mkdir()
    pq.write_table(_typed(wide, customers), out / "0.parquet")


def _events(shop: Shop) -> tuple[pd.DataFrame, dict[str, pd.Index]]:
    """Events before AS_OF, texts as codes (-1 unknown), and the texts behind the codes."""
    layout = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=set(_TEXTS)))
    table = ds.dataset(shop.files("events"), format=layout).to_table(
        columns=[*_TEXTS, *_OTHERS], filter=ds.field("event_date") < AS_OF
    )
    frame, names = pd.DataFrame(index=pd.RangeIndex(table.num_rows)), {}
    for c in _TEXTS:
        texts = table.column(c).unify_dictionaries().to_pandas().cat.remove_unused_categories()
        frame[c], names[c] = texts.cat.codes, texts.cat.categories
    day = table.column("event_date").to_pandas(date_as_object=False)
    frame["day"], frame["age"] = day, (_TODAY - day).dt.days
    frame["time"] = table.column("event_time").to_pandas()
    frame["hour"] = frame["time"].dt.tz_convert(TIMEZONE).dt.hour
    frame["milliseconds"] = (table.column("duration_seconds").to_pandas() * 1000).round().fillna(0).astype("int64")
    for c in ("amount", "discount"):
        frame[c] = _whole(table.column(c), 10_000).fillna(0).astype("int64")
    frame["unit_price"] = _whole(table.column("unit_price"), 1_000_000)
    return frame, names


def _whole(column: Any, steps: int) -> pd.Series[Any]:
    """Decimals as whole steps; unknown ones are NaN (exact below 2**53)."""
    whole: pd.Series[Any] = pc.cast(pc.multiply(column, pa.scalar(steps, pa.decimal128(8, 0))), pa.int64()).to_pandas()
    return whole


def _window(
    days: int,
    events: pd.DataFrame,
    bought: pd.DataFrame,
    returned: pd.DataFrame,
    names: dict[str, pd.Index],
    everyone: pd.RangeIndex,
) -> Columns:
    """The features of one window, by name."""
    recent, bought, returned = (f[f["age"] <= days] for f in (events, bought, returned))

    def zero(counts: pd.Series[Any]) -> pd.Series[Any]:
        return counts.reindex(everyone, fill_value=0)

    types = recent.groupby(["user", "event_type"]).size().unstack(fill_value=0)
    types = types.rename(columns=dict(enumerate(names["event_type"])))
    types = types.reindex(index=everyone, columns=list(_COUNTED), fill_value=0)
    found: Columns = {stem: types[kind] for kind, stem in _COUNTED.items()}
    found["purchases"], found["refunds"] = zero(_orders(bought)), zero(_orders(returned))
    found["activity"] = found["logins"] + found["views"] + found["purchases"]
    acts = recent[recent["event_type"] != names["event_type"].get_loc("ad_view")]
    found["active_days"] = zero(acts.drop_duplicates(["user", "day"]).groupby("user").size())
    found["sessions"] = zero(_distinct(recent, "session_id"))
    found["session_seconds"] = zero(recent.groupby("user")["milliseconds"].sum()) / 1000
    rows = zero(recent.groupby("user").size())
    night = recent[(recent["hour"] >= 22) | (recent["hour"] < 6)].groupby("user").size()
    found["night_share"] = _ratio(zero(night), rows)
    found["weekend_share"] = _ratio(zero(recent[recent["day"].dt.dayofweek >= 5].groupby("user").size()), rows)
    for name, (top, below) in {
        "purchase_frequency": ("purchases", "logins"),
        "purchases_per_session": ("purchases", "sessions"),
        "view_to_cart": ("carts", "views"),
        "cart_to_purchase": ("purchases", "carts"),
        "view_to_purchase": ("purchases", "views"),
    }.items():
        found[name] = _ratio(found[top], found[below])
    amount, refunded = (zero(f.groupby("user")["amount"].sum()) for f in (bought, returned))
    discount = zero(bought.groupby("user")["discount"].sum())
    found["purchase_amount"], found["net_amount"] = amount, amount - refunded
    found["flagged_amount"] = pd.Series(0, everyone)  # the shop flags no row
    found["consumption_power"] = _ratio(amount / 10_000, found["purchases"])
    found["discount_share"], found["refund_share"] = _ratio(discount, amount + discount), _ratio(refunded, amount)
    found |= {stem: zero(_distinct(bought, c)) for stem, c in _BREADTH.items()}
    viewed = recent[(recent["event_type"] == names["event_type"].get_loc("view")) & (recent["item_id"] >= 0)]
    popular = viewed.groupby("item_id").size().rename(names["item_id"].__getitem__).reset_index(name="views")
    most = popular.sort_values(["views", "item_id"], ascending=[False, True])["item_id"].head(10)
    viewers = viewed[viewed["item_id"].isin(names["item_id"].get_indexer(pd.Index(most)))]["user"].unique()
    found["popular_item_viewer"] = pd.Series(everyone.isin(viewers), everyone)
    return {f"{stem}_{days}d": column for stem, column in found.items()}


def _ratio(top: pd.Series[Any], below: pd.Series[Any]) -> pd.Series[Any]:
    return top / below.where(below != 0)


def _distinct(events: pd.DataFrame, column: str) -> pd.Series[Any]:
    known = events[events[column] >= 0]
    return known.drop_duplicates(["user", column]).groupby("user").size()


def _orders(events: pd.DataFrame) -> pd.Series[Any]:
    """Distinct orders of a customer; an event without order_id is an order of its own."""
    loose = events[events["order_id"] < 0].groupby("user").size()
    return _distinct(events, "order_id").add(loose, fill_value=0).astype("int64")


def _whole_history(bought: pd.DataFrame, returned: pd.DataFrame, everyone: pd.RangeIndex) -> Columns:
    """interpurchase_days, the RFM measures, scores and group."""
    days = bought.drop_duplicates(["user", "day"]).groupby("user")["age"].agg(["min", "max", "size"])
    recency = bought.groupby("user")["age"].min()
    frequency = _orders(bought).reindex(everyone, fill_value=0)
    spent, back = (f.groupby("user")["amount"].sum().reindex(everyone, fill_value=0) for f in (bought, returned))
    measures = {"r": recency, "f": frequency[recency.index], "m": (spent - back)[recency.index]}
    scores: Columns = {}
    for name, values in measures.items():
        ranked = np.sort(values.to_numpy())
        cuts = ranked[[-(-len(ranked) * k // 5) - 1 for k in (1, 2, 3, 4)]]
        below = np.searchsorted(cuts, values.to_numpy(), side="left")
        scores[f"{name}_score"] = pd.Series(5 - below if name == "r" else 1 + below, values.index)
    group = pd.Series(None, recency.index, dtype=object)
    for rule in GROUP_RULES:
        boxes = zip(scores.values(), (rule.r, rule.f, rule.m), strict=True)
        group[np.logical_and.reduce([s.between(*box) for s, box in boxes])] = rule.group
    return {
        "interpurchase_days": _ratio(days["max"] - days["min"], days["size"] - 1),
        "recency_days": recency,
        "frequency": frequency,
        "monetary": spent - back,
        **scores,
        "rfm_score": scores["r_score"] + scores["f_score"] + scores["m_score"],
        "rfm_group": group,
    }


def _percentiles(events: pd.DataFrame, items: pa.Table, names: dict[str, pd.Index]) -> pd.Series[Any]:
    """Price percentile within category by the item's code; items without an event take part under the code -1."""
    sold = events[events["item_id"] >= 0]
    paid = sold[sold["unit_price"].notna()].sort_values("unit_price")
    of_item = paid.groupby("item_id")["unit_price"]
    middle = paid[of_item.cumcount() == (of_item.transform("size") - 1) // 2]
    usual = middle.set_index("item_id")["unit_price"].rename(names["item_id"].__getitem__)
    named = sold[sold["category"] >= 0].sort_values("time").groupby("item_id")["category"].last()
    named = named.rename(names["item_id"].__getitem__).map(names["category"].__getitem__)
    listed = items.select(["item_id", "category", "valid_from"]).to_pandas()
    listed["price"] = _whole(items.column("list_price"), 1_000_000)
    listed = listed[_local_day(listed["valid_from"]) < _TODAY].sort_values("valid_from").groupby("item_id").tail(1)
    listed = listed.set_index("item_id")
    known = listed.index.union(named.index).union(usual.index)
    item = listed[["category", "price"]].reindex(known)
    item = item.fillna({"category": named, "price": usual})
    priced = item.dropna().groupby("category")["price"]
    share = (priced.rank("min") - 1) / (priced.transform("size") - 1)
    share = share.where(priced.transform("size") > 1, 0.5)
    return pd.Series(share.to_numpy(), names["item_id"].get_indexer(share.index))


def _price_preference(bought: pd.DataFrame, percentile: pd.Series[Any]) -> pd.Series[Any]:
    known = percentile[percentile.index >= 0]
    return bought["item_id"].map(known).groupby(bought["user"]).mean()


def _favourites(events: pd.DataFrame, names: dict[str, pd.Index]) -> Columns:
    """The most frequent value of 90 days, ties by the smaller."""
    recent = events[events["age"] <= 90]
    types = names["event_type"].get_indexer(pd.Index(["view", "favorite", "cart", "purchase"]))
    shown = recent[recent["event_type"].isin(types)]
    found: Columns = {}
    for column, frame in {"category": shown, "brand": shown, "channel": recent, "hour": recent}.items():
        counts = frame[frame[column] >= 0].groupby(["user", column]).size().reset_index(name="n")
        if column in names:
            counts[column] = names[column].to_numpy()[counts[column]]
        best = counts.sort_values(["user", "n", column], ascending=[True, False, True]).drop_duplicates("user")
        found[f"favorite_{column}"] = best.set_index("user")[column]
    return found


def _reviews(table: pa.Table, customers: pd.Index, everyone: pd.RangeIndex) -> Columns:
    frame = table.select(["user_id", "rating", "review_time"]).to_pandas().dropna(subset=["user_id"])
    frame["user"] = customers.get_indexer(frame["user_id"])
    frame["age"] = (_TODAY - _local_day(frame["review_time"])).dt.days
    frame = frame[(frame["user"] >= 0) & (frame["age"] > 0)]
    found: Columns = {}
    for w in WINDOWS:
        recent = frame[frame["age"] <= w].groupby("user")
        found[f"reviews_{w}d"] = recent.size().reindex(everyone, fill_value=0)
        found[f"mean_rating_{w}d"] = recent["rating"].mean()
    return found


def _latest_people(versions: pa.Table) -> pd.DataFrame:
    """The last version of each customer's attributes before AS_OF, by user_id."""
    plain = ["user_id", "valid_from", "gender", "age", "age_band", "occupation", "province", "city", "registered_at"]
    frame = versions.select(plain).to_pandas()
    frame["income"] = _whole(versions.column("income"), 10_000)
    frame["birth_date"] = versions.column("birth_date").to_pandas(date_as_object=False)
    frame = frame[_local_day(frame["valid_from"]) < _TODAY].sort_values("valid_from")
    latest: pd.DataFrame = frame.drop_duplicates("user_id", keep="last").set_index("user_id")
    return latest


def _attributes(people: pd.DataFrame) -> Columns:
    born = people["birth_date"]
    later = born.dt.month * 100 + born.dt.day > AS_OF.month * 100 + AS_OF.day
    years = (AS_OF.year - born.dt.year - later).where(born <= _TODAY)
    age = people["age"].fillna(years)
    places = np.searchsorted(list(_BANDS.values()), age.to_numpy(), side="right")
    band = pd.Series(np.array(["under 18", *_BANDS])[places], people.index).where(age.notna(), people["age_band"])
    registered = (_TODAY - _local_day(people["registered_at"])).dt.days
    return {
        "gender_code": people["gender"].map({"male": 0, "female": 1}),
        "age": age,
        "age_band": band,
        **{c: people[c] for c in ("occupation", "income", "province", "city")},
        "registered_days": registered.where(registered > 0),
    }


def _local_day(times: pd.Series[Any]) -> pd.Series[Any]:
    days: pd.Series[Any] = times.dt.tz_convert(TIMEZONE).dt.tz_localize(None).dt.normalize()
    return days


def _typed(wide: pd.DataFrame, customers: pd.Index) -> pa.Table:
    """Whole numbers that know no null stay so, money becomes decimals, NaN null."""
    money = ("purchase_amount_", "flagged_amount", "net_amount_", "monetary", "income")
    whole = ("_score", "gender_code", "age", "_days", "last_event", "favorite_hour")
    arrays = {"user_id": pa.array(customers, pa.string())}
    for name in wide:
        column = pa.array(wide[name], from_pandas=True)
        if str(name).startswith(money):
            steps = column.cast(pa.int64()).cast(pa.decimal128(19, 0))
            column = pc.multiply(steps, pa.scalar("0.0001").cast(pa.decimal128(4, 4))).cast(pa.decimal128(28, 4))
        elif str(name).endswith(whole) and name != "interpurchase_days":  # a mean
            column = column.cast(pa.int32())
        arrays[str(name)] = column
    return pa.table(arrays)
