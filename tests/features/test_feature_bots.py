"""Who is a bot, and what its events do not touch."""

from datetime import timedelta

from histories import AS_OF, event, event_frame, params

from profiling_spark.features import user_features
from profiling_spark.features.bots import bots_at, heavy_days


def days(user: str, *counts: tuple[str, int, int]) -> list[dict]:
    """Events of a customer: so many of a type on a day that many days ago."""
    return [event(kind, ago, user_id=user) for kind, ago, n in counts for _ in range(n)]


ROWS = [
    *days("robot", ("view", 5, 3), ("login", 5, 1)),
    *days("busy", ("view", 5, 3)),
    *days("steady", *(("view", ago, 1) for ago in range(1, 30))),
    *days("shown", ("ad_view", 5, 9), ("view", 5, 3)),  # what the shop did
    *days("clicker", ("ad_click", 20, 4)),
    *days("retired", ("search", 21, 4)),
    *days("future", ("view", 0, 4)),
]


def test_who_does_more_on_one_day_than_a_person_can():
    for rows in (ROWS, ROWS[::-1]):
        found = user_features(event_frame(rows), params=params(bot_events_per_day=3, bot_days=20))
        assert found.filter("is_bot")["user_id"].to_list() == ["clicker", "robot"]
        assert found["is_bot"].null_count() == 0
        heavy = heavy_days(event_frame(rows), 3)
        assert sorted(bots_at(heavy, AS_OF, 20)["user_id"]) == ["clicker", "robot"]
        assert sorted(bots_at(heavy, AS_OF - timedelta(days=4), 20)["user_id"]) == ["clicker", "retired", "robot"]
    for most in (9, None):
        assert not user_features(event_frame(ROWS), params=params(bot_events_per_day=most))["is_bot"].any()
        assert heavy_days(event_frame(ROWS), most).is_empty()
