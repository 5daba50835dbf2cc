"""graph_filter by settings that the fit finds itself."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from recommend_shop import as_histories
from test_als_tuning import ids, settings_of, shop, split_of

from profiling_spark.config.settings import GraphFilter
from profiling_spark.recommend.engines.als_here import Learned
from profiling_spark.recommend.engines.als_tuning import tuning_facts, tuning_lines
from profiling_spark.recommend.engines.graph_fit import bands_for, neighbours_for
from profiling_spark.recommend.engines.graph_here import GraphHere
from profiling_spark.recommend.engines.graph_tuning import graph_values, tuned_graph, with_graph_values
from profiling_spark.recommend.matrix.item_side import padded_blocks

POOR = {"item_exponent": 0.9, "neighbours": 1, "neighbours_share": 1.0, "vectors_share": 0.001, "least_vectors": 1}


def test_trials_find_better_settings_in_their_budget(spark):
    pairs = shop(spark, customers=80)
    settings = settings_of(graph_filter={**POOR, "trials": 14})
    noted = []
    found = tuned_graph(split_of(pairs), settings, note=noted.append)
    assert tuple(noted) == found.trials
    assert 1 < len(found.trials) <= 14
    assert found.trials[0].values == graph_values(settings.recommend.graph_filter, 64)
    assert found.best.value == max(trial.value for trial in found.trials)
    assert found.best.value > 1.2 * found.trials[0].value
    assert found.best.values["neighbours"] > 1
    facts = tuning_facts({"graph_filter": found})
    assert facts["graph_filter"] == found.best.values
    assert len(facts["graph_filter_trials"]) == len(found.trials)
    (line,) = tuning_lines({"graph_filter": found})
    assert line.startswith("graph_filter by item_exponent ")
    # no trial where none is wanted, where too few can tell, and in a shop that is too large
    assert tuned_graph(split_of(pairs), settings_of(graph_filter={"trials": 0})) is None
    assert tuned_graph(split_of(pairs, asked=ids(pairs).head(20)), settings) is None
    assert tuned_graph(replace(split_of(pairs), train_pairs=500_001), settings) is None


@pytest.mark.parametrize("items", [3, 40, 800, 10_000])
def test_what_is_searched_begins_with_the_settings(items):
    asked = GraphFilter()
    values = graph_values(asked, items)
    same = with_graph_values(asked, values)
    assert bands_for(same, items) == bands_for(asked, items) or items == 3
    assert neighbours_for(same, items) == neighbours_for(asked, items)
    assert (same.user_exponent, same.item_exponent, same.trials) == (0.3, 0.4, 0)


def test_found_values_hold_in_any_catalogue_and_can_be_written_down():
    found = {"item_exponent": 0.5, "user_exponent": 0.2, "neighbours": 36, "vectors": 128, "ratio": 2.0}
    settings = with_graph_values(GraphFilter(), found)
    assert neighbours_for(settings, 5000) == 36
    assert [(b.count, b.exponent, b.ratio) for b in bands_for(settings, 5000)] == [(32, 0.5, 2.14), (96, 0.2, 1.52)]
    assert GraphFilter.model_validate(settings.model_dump(mode="json")) == settings
    with pytest.raises(ValidationError):
        GraphFilter(trials=-1)


def test_a_shop_where_nobody_teaches_has_an_engine_that_says_nothing():
    nothing = Learned(*(np.empty(0, dtype=np.int64) for _ in range(2)), np.empty(0), 30)
    side = GraphHere(nothing, GraphFilter(), vectors=3, seed=1).side(GraphFilter())
    (_, histories), *_ = padded_blocks(*as_histories([[(0, 2.0), (3, 1.0)]]), rows=8)
    assert np.isneginf(side.score(histories).block()).all()
