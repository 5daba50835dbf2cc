"""The serving pass over a bucket: every customer's list with engine and reason. A kernel: no Spark, no writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.engines.graph_filter import rows_at_a_time, scoring_all
from profiling_spark.recommend.engines.popular import POPULAR_IN_GROUP, GroupPopularity, Popularity
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.history.interactions import UNITS, HistoryParams, favourite_category, interactions
from profiling_spark.recommend.history.seen import no_more_than_fresh, offered_again
from profiling_spark.recommend.history.sessions import CATEGORY, LAST_SESSION, SEARCH, last_session
from profiling_spark.recommend.lists import reasons
from profiling_spark.recommend.lists.catalogue import Catalogue
from profiling_spark.recommend.lists.content import CONTENT, ContentSide, ContentSpace, shared_kinds
from profiling_spark.recommend.lists.eligible_items import LIST, EligibleItems, SeenItems
from profiling_spark.recommend.lists.policy import Policy
from profiling_spark.recommend.lists.ranking import Documents, Lists, ranked, visit_documents
from profiling_spark.recommend.matrix.item_side import Ints, block_rows
from profiling_spark.recommend.matrix.top_n import NONE

# `order`: place in the list before ranks are given, see `_new_order`
_CHOSEN = pl.Schema(
    {
        "user": pl.Int64,
        "order": pl.Float64,
        "item": pl.Int64,
        "score": pl.Float64,
        "engine": pl.String,
        "because": pl.String,
        "lift": pl.Int64,
    }
)


@dataclass(frozen=True)
class Goods:
    """What can be offered: the catalogue, what its items are like, and what is popular with groups of customers, by the
    column of sides["users"] that names the customer's group."""

    catalogue: Catalogue
    content: ContentSpace
    groups: Mapping[str, GroupPopularity]


@dataclass(frozen=True)
class Offer:
    """How lists are made. `session_gap`: the pause that ends a visit; None: the step of the last visit is left out,
    because popular items rank better than the engines."""

    top_n: int
    new_items_share: float
    session_gap: timedelta | None
    language: reasons.Language
    rules: RecommendPolicy


@dataclass(frozen=True)
class Serve:
    """Kernel over (events, sides["users"]: user_id, is_opted_out, is_bot, price_preference, a column per group): a
    list for each of these users.

    First the engine, from the customer's own history; where it has nothing, what is like the items, searches and
    categories of the last visit. A list that is not full is filled up with popular items: of the customer's favourite
    category, of each of the customer's groups, of everyone. Some places are kept for new items that are like the
    history. Of what was seen the policy says what is offered again: by the engine and the last visit, at most so many
    in a list, with a reason of its own. Customers who opted out of personalisation get the overall popular list, the
    same for all, in which nothing of theirs is left out either; bots, whose history is no taste and often the whole
    catalogue, get the same.

    Rows of rank 0 are no recommendations: each counts in `score` what the rule named in `engine` took out.
    """

    goods: Goods
    side: StoredSide | None
    params: HistoryParams
    offer: Offer

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        users = sides["users"].sort("user_id").with_row_index("user").with_columns(pl.col("user").cast(pl.Int64))
        popularity, category_numbers = self.goods.catalogue.popularity(tuple(self.goods.groups.values()))
        if not len(users) or not self.goods.catalogue.is_offered.any():
            return LIST.to_frame()
        open_users = users.filter(~pl.col("is_opted_out") & ~pl.col("is_bot"))
        past = self._past(events, open_users)
        policy = self.goods.catalogue.policy(self.offer.rules)
        past = offered_again(past, self.offer.rules, may_repeat=policy.may_repeat, as_of=self.params.as_of)
        eligible = self._eligible(past, policy, popularity, len(users), open_users)
        new_places = int(self.offer.top_n * self.offer.new_items_share + 1e-9)
        lists = Lists(*(np.full((len(users), places), NONE) for places in (self.offer.top_n, new_places)))
        chosen = [_CHOSEN.to_frame(), self._new(past, eligible, lists), self._personal(past, eligible, lists)]
        chosen.append(self._last_session(events, open_users, eligible, lists))
        codes = self._codes(events, open_users, category_numbers, len(users))
        begun = (lists.own != NONE).sum(axis=1)
        full = pl.concat([*chosen, *self._popular(eligible, lists, codes, begun, np.arange(len(users)))])
        rows = no_more_than_fresh(_with_known(full, past), self.offer.rules.most_seen_share)
        if len(rows) < len(full):  # what kept others out, by a rule, may be gone now
            gone = full.join(rows, on=["user", "item"], how="anti").select("user", "item").to_numpy()
            lists.leave_out(gone[:, 0], gone[:, 1])
            short = np.unique(gone[:, 0])
            is_filled = pl.col("user").is_in(short) & pl.col("engine").is_in(list(eligible.popularity.steps))
            again = self._popular(eligible, lists, codes, begun, short, is_again=True)
            filled = pl.concat([_CHOSEN.to_frame(), *again])
            rows = pl.concat([rows.filter(~is_filled), _with_known(filled, past)])
        return pl.concat([self._named(rows, users), eligible.removed()])

    def _eligible(
        self, past: pl.DataFrame, policy: Policy, popularity: Popularity, count: int, users: pl.DataFrame
    ) -> EligibleItems:
        """What may be offered to whom."""
        bought = past.filter(pl.col("kind") == self.params.kind_of("purchase"))
        habits = policy.habits(bought["user"].to_numpy(), bought["item"].to_numpy(), count)
        seen = SeenItems(past["user"].to_numpy(), past["item"].to_numpy(), past["is_known"].to_numpy())
        most_known = int(self.offer.top_n * self.offer.rules.most_seen_share + 1e-9)
        is_offered = self.goods.catalogue.is_offered
        preferences = np.full(count, np.nan)
        preferences[users["user"].to_numpy()] = users["price_preference"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        ends = policy.steering.ends(preferences)
        return EligibleItems(
            popularity, policy, is_offered, seen, most_known, habits, ends, np.zeros(count, dtype=bool)
        )

    def _past(self, events: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """The customers' interactions with items of the catalogue, numbered, sorted by user."""
        items = pl.DataFrame({"item_id": self.goods.catalogue.item_ids}).with_row_index("item")
        pairs = interactions(events, self.params).join(users.select("user_id", "user"), on="user_id", how="inner")
        return (
            pairs.join(items, on="item_id", how="inner")
            .with_columns(pl.col("item").cast(pl.Int64))
            .sort("user", "item")
        )

    def _codes(self, events: pl.DataFrame, users: pl.DataFrame, numbers: Mapping[str, int], count: int) -> Ints:
        """(users, steps): number of each user's favourite category and groups, -1 where unknown or opted out."""
        liked = favourite_category(events, self.params).join(users.select("user_id", "user"), on="user_id", how="inner")
        memberships = [(liked["user"], liked["category"], numbers)]
        for column, group in self.goods.groups.items():
            memberships.append((users["user"], users[column], {name: n for n, name in enumerate(group.names)}))
        codes = np.full((count, len(memberships)), NONE)
        for step, (user, name, number) in enumerate(memberships):
            code = name.replace_strict(list(number), list(number.values()), default=NONE, return_dtype=pl.Int64)
            codes[user.to_numpy(), step] = code.fill_null(NONE).to_numpy()
        return codes

    def _history(self, past: pl.DataFrame, items: int) -> Documents:
        """The histories over the first `items` items."""
        known = past.filter(pl.col("is_history") & (pl.col("item") < items))
        rows = known.select("user", past="item", weight=pl.col("units") / UNITS, kind="kind")
        return Documents(rows, pl.Series(self.goods.catalogue.titles, dtype=pl.String))

    def _personal(self, past: pl.DataFrame, eligible: EligibleItems, lists: Lists) -> pl.DataFrame:
        """The engine's items."""
        if self.side is None:
            return _CHOSEN.to_frame()
        side = self.side.load()
        if self.offer.rules.is_narrow:
            side = scoring_all(side)
        numbers, documents = np.arange(side.items), self._history(past, side.items)
        found = ranked(eligible, side, documents, numbers, lists, new=False, rows=rows_at_a_time(side))
        text = reasons.because(self.offer.language, self.params.kinds)
        return found.select(
            "user", "item", "score", "lift", order=pl.col("place") + 1, engine=pl.lit(side.engine), because=text
        ).select(pl.col(c).cast(t) for c, t in _CHOSEN.items())

    def _new(self, past: pl.DataFrame, eligible: EligibleItems, lists: Lists) -> pl.DataFrame:
        """New items that are like the history, for the places kept for them."""
        numbers = np.flatnonzero(self.goods.catalogue.are_new)
        if not len(numbers) or not lists.new.shape[1]:
            return _CHOSEN.to_frame()
        items = self.goods.content.items
        side = ContentSide(items, items[numbers])
        documents = self._history(past, items.shape[0])
        found = ranked(eligible, side, documents, numbers, lists, new=True, rows=block_rows(3 * len(numbers)))
        order = _new_order(pl.col("place") + 1, self.offer.new_items_share)
        return self._alike(found, side, order, CONTENT)

    def _last_session(
        self, events: pl.DataFrame, users: pl.DataFrame, eligible: EligibleItems, lists: Lists
    ) -> pl.DataFrame:
        """What is like the last visit, for customers to whom the engine offers nothing."""
        if self.offer.session_gap is None:
            return _CHOSEN.to_frame()
        without = users.filter(pl.Series((lists.own[users["user"].to_numpy()] == NONE).all(axis=1)))
        user_events = events.join(without.select("user_id"), on="user_id", how="semi")
        visits = last_session(user_events, self.params, gap=self.offer.session_gap)
        visits = visits.join(without.select("user_id", "user"), on="user_id", how="inner")
        content = self.goods.content
        documents, matrix = visit_documents(visits, self.goods.catalogue, content, len(self.params.kinds))
        side = ContentSide(matrix, content.items)
        count = content.items.shape[0]
        found = ranked(eligible, side, documents, np.arange(count), lists, new=False, rows=block_rows(3 * count))
        return self._alike(found, side, pl.col("place") + 1, LAST_SESSION)

    def _alike(self, found: pl.DataFrame, side: ContentSide, order: pl.Expr, engine: str) -> pl.DataFrame:
        """Rows of a content step; the reason names what the item shares with a past one."""
        language, items = self.offer.language, self.goods.content.items.shape[0]
        kinds = shared_kinds(side, self.goods.content, found["past"].to_numpy(), found["column"].to_numpy())
        shared = pl.Series(reasons.shared(language, kinds, is_new=engine == CONTENT), dtype=pl.String)
        because = reasons.because(language, (*self.params.kinds, SEARCH, CATEGORY))
        # a search or a category is itself what is shared
        text = pl.when(pl.col("past") < items).then(pl.concat_str(because, shared)).otherwise(because)
        return found.select("user", "item", "score", "lift", order=order, engine=pl.lit(engine), because=text).select(
            pl.col(c).cast(t) for c, t in _CHOSEN.items()
        )

    def _popular(
        self, eligible: EligibleItems, lists: Lists, codes: Ints, begun: Ints, among: Ints, *, is_again: bool = False
    ) -> list[pl.DataFrame]:
        """What fills the lists of these users, behind the places that the steps before have `begun`; once more where
        `is_again`.
        """
        short = among[lists.room(among) > 0]
        rows = min(block_rows(len(self.goods.catalogue.item_ids)), 4096)
        found = []
        for at in range(0, len(short), rows):
            users = short[at : at + rows]
            fill = eligible.fill(
                users, lists.listed(users), codes[users], lists.room(users), self.offer.top_n, is_counted=is_again
            )
            row, place = np.nonzero(fill.items != NONE)
            steps = fill.steps[row, place]
            frame = pl.DataFrame(
                {
                    "user": users[row],
                    "order": begun[users[row]] + place + 1,
                    "item": fill.items[row, place],
                    "score": fill.weights[row, place],
                    "engine": pl.Series(eligible.popularity.steps, dtype=pl.String).gather(steps),
                    "subject": self._subjects(steps, fill.items[row, place], codes[users][row]),
                    "lift": fill.lifts[row, place],
                }
            )
            frame = frame.with_columns(because=reasons.popularity(self.offer.language))
            found.append(frame.select(pl.col(c).cast(t) for c, t in _CHOSEN.items()))
        return found

    def _subjects(self, steps: Ints, items: Ints, codes: Ints) -> pl.Series:
        """Where each item is popular: the category's name, or that of the customer's group."""
        subjects = np.full(len(steps), None, dtype=object)
        names = [np.array(self.goods.catalogue.categories, dtype=object)]
        for group in self.goods.groups.values():
            labels = group.names
            if group.engine == POPULAR_IN_GROUP:
                labels = tuple(reasons.people(self.offer.language, name) for name in labels)
            names.append(np.array(labels, dtype=object))
        for step, step_names in enumerate(names):
            is_here = steps == step
            subjects[is_here] = step_names[items[is_here] if step == 0 else codes[is_here, step]]
        return pl.Series(subjects.tolist(), dtype=pl.String)

    def _named(self, rows: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """Rows in their order become ranks; numbers, which follow the ids of users, become ids; what is known has a
        reason of its own.
        """
        catalogue, language = self.goods.catalogue, self.offer.language
        because = pl.when("again").then(reasons.again(language)).otherwise("because")
        ordered = rows.with_columns(reason=pl.concat_str(because, reasons.steered(language))).sort("user", "order")
        rank = ordered.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user"))
        titles = pl.Series(catalogue.titles, dtype=pl.String), pl.Series(catalogue.item_ids, dtype=pl.String)
        title, item_id = (texts.gather(rank["item"]) for texts in titles)
        named = rank.with_columns(users["user_id"].gather(rank["user"]), title=title, item_id=item_id)
        return named.select(*LIST)


def _with_known(chosen: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """Rows with what the customer did with the item, where it may be offered although it is known (`is_known`)."""
    known = past.filter("is_known").select("user", "item", "state", "state_date", "is_known", again="is_again")
    joined = chosen.join(known, on=["user", "item"], how="left")
    return joined.with_columns(pl.col("is_known", "again").fill_null(value=False))


def _new_order(number: pl.Expr, share: float) -> pl.Expr:
    """Order of a customer's new items among the others, which are numbered 1, 2, 3, ...: the n-th comes to place
    n / share, rounded up, so n / share - n others stand before it."""
    return ((number / share - 1e-9).ceil() - number) + 0.5
