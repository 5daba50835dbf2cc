"""Tables about the runs themselves: models, their figures, their features, jobs."""

from profiling_spark.contracts.gold import AS_OF
from profiling_spark.contracts.table import Column, Table

EVERYONE = "all"  # model_runs.customers where a figure is of no group

MODEL_RUNS = Table(
    name="model_runs",
    layer="operations",
    row="figure of a model",
    columns=(
        AS_OF,
        Column("job", "string", "job that measured it"),
        Column("task", "string", "churn, segments, recommendations"),
        Column(
            "model",
            "string",
            "random_forest, majority, recency, kmeans, als, graph_filter, item_cf, own_history, blend, popular; live: "
            "the model that served until now, where its settings were others",
        ),
        Column(
            "split",
            "string",
            "holdout, sample, train; recommendations: validation (the customers on whom the engine is chosen) and test "
            "(the others), lists of new items; with _as_served lists that leave out what the policy masks, by which "
            "the engine is chosen; with _all_items lists that leave out nothing",
        ),
        Column("metric", "string", "auc, f1, recall_at_20, silhouette, ..."),
        Column(
            "customers",
            "string",
            f"{EVERYONE}; recommendations, split test: new (at most 3 items before the split), light and heavy (parted "
            "by the median of the others), male, female, age 26-35, ...",
        ),
        Column("value", "double", "the figure", "not defined on this data"),
        Column("params", "string", "JSON of the parameters"),
        Column("train_as_of", "date", "features of the training rows are as of this day"),
        Column("rows", "bigint", "rows it was measured on"),
        Column("promoted", "boolean", "this model serves"),
        Column("model_version", "string", "name of the stored model", "a baseline: nothing is stored"),
    ),
    key=("as_of", "job", "task", "model", "split", "metric", "customers"),
    slice=("as_of", "job", "task"),
)

FEATURE_RANKINGS = Table(
    name="feature_rankings",
    layer="operations",
    row="feature and method that ranked it",
    columns=(
        AS_OF,
        Column("task", "string", "churn"),
        Column("method", "string", "variance, correlation, chi_square, information_gain, lasso, recursive_elimination"),
        Column("feature", "string", "column of user_features"),
        Column("rank", "int", "1 is the best; ties by name"),
        Column(
            "score",
            "double",
            "0 if it tells nothing. variance: of values scaled to 0..1; correlation: absolute, with the label; "
            "chi_square: statistic of tenths by label; information_gain: nats; lasso: absolute log odds per standard "
            "deviation; recursive_elimination: features eliminated before it",
        ),
        Column("is_selected", "boolean", "the model's vector has it"),
        Column("train_as_of", "date", "features of the ranked rows are as of this day"),
        Column("rows", "bigint", "training rows of the sample that was ranked"),
    ),
    key=("as_of", "task", "method", "feature"),
    slice=("as_of", "task"),
)

QUALITY_METRICS = Table(
    name="quality_metrics",
    layer="operations",
    row="rule of a run, source and target table",
    columns=(
        Column("run_id", "string", "run"),
        Column("source", "string", "name of the source in the settings"),
        Column("target_table", "string", "table that the rows were meant for"),
        Column(
            "rule", "string", "rule; bad_COLUMN where a value does not fit its type; new_column where drift was met"
        ),
        Column("level", "string", "reject, flag or warn"),
        Column("message", "string", "what is wrong with such a row"),
        Column("rows", "bigint", "rows for which it held"),
        Column("rows_read", "bigint", "rows of the source in this run"),
        Column("share", "double", "rows / rows_read"),
    ),
    key=("run_id", "source", "target_table", "rule"),
    slice=("run_id",),
)

ALL_SOURCES = "*"  # source_settings.source where a setting is of no one source

SOURCE_SETTINGS = Table(
    name="source_settings",
    layer="operations",
    row="setting that stored rows rest on",
    columns=(
        Column("source", "string", f"name of the source in the settings; {ALL_SOURCES} is all of them"),
        Column(
            "setting",
            "string",
            "target; columns and event_types: what the source has supplied; own_id: whether its rows have an id of "
            "their own; id_columns: what other rows' ids are made of, line where that is the whole line; "
            "business_timezone",
        ),
        Column("value", "string", "the value, a list comma separated"),
        Column("run_id", "string", "run that stored this value"),
    ),
    key=("source", "setting"),
)

LIVE_MODELS = Table(
    name="live_models",
    layer="operations",
    row="task with a model in use",
    columns=(
        Column("task", "string", "what it answers"),
        Column("model_version", "string", "name of the stored model"),
        Column("path", "string", "where it is stored, relative to the storage root"),
        Column("sha256", "string", "of the stored files, in order of their names"),
        Column("since", "date", "as_of from which it serves"),
    ),
    key=("task",),
    slice=("task",),
)

JOB_RUNS = Table(
    name="job_runs",
    layer="operations",
    row="job of a run",
    columns=(
        Column("run_id", "string", "run"),
        Column("job", "string", "job"),
        Column("started_at", "timestamp", "UTC"),
        Column("finished_at", "timestamp", "UTC", "running, or lost"),
        Column("status", "string", "running, done, skipped, failed, lost"),
        Column("error", "string", "message, or the reason of a skip", "none"),
        Column("as_of", "date", "the run's date", "ingest before any event"),
        Column("config_hash", "string", "sha256 of the settings in force"),
        Column("version", "string", "of the package"),
        Column("seed", "bigint", "of all that is random"),
        Column("rows_in", "bigint", "rows read from sources", "not a reading job"),
        Column("rows_out", "bigint", "rows written", "not finished"),
        Column("rows_rejected", "bigint", "rows refused", "not a reading job"),
        Column("seconds", "double", "wall time", "not finished"),
        Column(
            "features_stale_from",
            "date",
            "first as_of, of those already built, whose features these rows change",
            "none, or not a reading job",
        ),
        Column("tables_read", "string", "JSON: table to Delta version", "not finished"),
        Column("tables_written", "string", "JSON: table to Delta version", "not finished"),
        Column(
            "features_built",
            "string",
            "dates whose features were built, comma separated",
            "none, not finished, or built by an earlier release",
        ),
    ),
    key=("run_id", "job"),
    slice=("run_id",),
)
