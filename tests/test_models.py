"""Stored models: names, seals, what serves when."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server

from profiling_spark import models
from profiling_spark.context import Context
from profiling_spark.contracts.operations import LIVE_MODELS
from profiling_spark.errors import ModelError, StorageError
from profiling_spark.models import Stored, Wanted
from profiling_spark.storage import Tables
from profiling_spark.storage.stores import store_for

AS_OF = date(2026, 7, 1)
PARAMS = {"depth": 8, "features": ["a", "b"]}


def stored(tables: Tables, version: str = "churn-2026-07-01-00000000", **params: object) -> Stored:
    declaration = {"params": params or PARAMS, "train_as_of": "2026-06-01", "note": "留言"}
    return models.finish(tables, "churn", version, declaration)


def wanted(max_age_days: int = 30, **params: object) -> Wanted:
    return Wanted("score_users", "churn", params or PARAMS, max_age_days)


def test_a_version_is_named_by_its_ingredients() -> None:
    first = models.version_name("churn", AS_OF, {"a": 1, "b": (1, 2)})

    assert first == models.version_name("churn", AS_OF, {"b": [1, 2], "a": 1})
    assert first.startswith("churn-2026-07-01-")
    assert first != models.version_name("churn", AS_OF, {"a": 2, "b": (1, 2)})


def test_what_was_finished_is_found(tables: Tables) -> None:
    saved = stored(tables)

    assert models.find(tables, "churn", saved.version) == saved
    assert models.find(tables, "churn", "churn-2026-07-01-ffffffff") is None


def test_a_half_written_folder_is_not_found(tables: Tables) -> None:
    saved = stored(tables)
    for file in (Path(tables.root) / saved.path / "seal").iterdir():
        file.unlink()
    (Path(tables.root) / saved.path / "seal").rmdir()

    assert models.find(tables, "churn", saved.version) is None


@pytest.mark.parametrize("damage", ["changed", "deleted", "added"])
def test_a_damaged_folder_is_a_model_error(tables: Tables, damage: str) -> None:
    saved = stored(tables)
    folder = Path(tables.root) / saved.path / "declaration"
    part = next(folder.glob("part-*"))
    if damage == "changed":
        part.write_text(part.read_text().replace("8", "9"))
    elif damage == "deleted":
        part.unlink()
    else:
        (folder / "part-00001.txt").write_text("{}")

    with pytest.raises(ModelError, match="expected sha256"):
        models.find(tables, "churn", saved.version)


# what the release before this one sealed such a folder with
SEALED = "166a24ce9618ddbd9ab87171fd6987950269d58777bc33232404e758173128ef"


def check_a_model(tables: Tables) -> None:
    """A folder as MLlib and this code write it, sealed, damaged and withdrawn."""
    version = "churn-2026-07-01-00000000"
    store = store_for(tables.path(models.relative_path("churn", version)), tables.session)
    assert models.find(tables, "churn", version) is None
    store.put("mllib/data/part-0.parquet", b"nodes")
    store.put("mllib/data/_SUCCESS", b"")
    store.put("mllib/data/.part-0.parquet.crc", b"crc")
    store.put("declaration/part-00000-of-spark.txt", b"of a fit that died")
    saved = stored(tables)
    assert saved.sha256 == SEALED
    assert models.find(tables, "churn", version) == saved
    assert store.list("declaration") == ["declaration/part-00000.txt"]
    store.put("withdrawn/part-00000.txt", b"rollback\n")  # as Spark ended its lines
    assert models.find(tables, "churn", version) is None
    assert stored(tables) == saved
    assert models.find(tables, "churn", version) == saved
    store.put("mllib/data/part-0.parquet", b"nodez")
    with pytest.raises(ModelError, match=f"expected sha256 {SEALED}"):
        models.find(tables, "churn", version)


def test_a_model_is_sealed_and_verified_alike_on_every_storage(root: str) -> None:
    check_a_model(Tables(None, root, run_id="test"))


@pytest.mark.slow
def test_a_model_where_only_spark_reaches(spark: SparkSession, viewfs: str) -> None:
    check_a_model(Tables(spark, viewfs, run_id="test"))


def test_a_storage_that_is_away_is_no_damaged_model(s3: S3Server) -> None:
    away = Tables(None, f"s3a://{BUCKET}/away", run_id="test")
    saved = stored(away)
    s3.fail()
    with pytest.raises(StorageError, match="could not be reached"):
        models.find(away, "churn", saved.version)
    s3.heal()
    s3.refuse(path="/seal/")
    with pytest.raises(ModelError, match=r"found damaged ones \(.*no permission"):
        models.find(away, "churn", saved.version)


def test_the_sum_does_not_depend_on_where_the_lake_lies(tables: Tables, tmp_path: Path) -> None:
    saved = stored(tables)
    (tmp_path / "moved here").mkdir()
    Path(tables.root).rename(tmp_path / "moved here" / "lake")

    moved = Tables(tables.spark, str(tmp_path / "moved here" / "lake"), run_id="test")

    assert models.find(moved, "churn", saved.version) == saved


def test_a_live_model_serves_until_it_is_too_old(tables: Tables, make_context: Callable[..., Context]) -> None:
    models.promote(tables, stored(tables), since=AS_OF)

    def serves(day: date, need: Wanted) -> bool:
        return models.serving(make_context(as_of=day), need) is not None

    assert serves(AS_OF, wanted())
    assert serves(date(2026, 7, 30), wanted())
    assert not serves(date(2026, 7, 31), wanted())  # 30 days old
    assert not serves(date(2026, 6, 30), wanted())  # it would come from the future
    assert not serves(AS_OF, wanted(depth=9))  # fitted with other settings


def test_a_model_that_won_is_kept_as_long_as_it_and_its_victory_are_young(
    tables: Tables, make_context: Callable[..., Context]
) -> None:
    """Fitted with other settings than those in force, it won against one fitted with them on 5 July."""
    model, in_force, won = stored(tables), wanted(depth=9), date(2026, 7, 5)
    models.promote(tables, model, since=AS_OF)

    def keeps(day: date, need: Wanted = in_force, *, refit: bool = False) -> bool:
        return models.kept(make_context(as_of=day, refit=refit), need) is not None

    assert not keeps(won)
    figure = models.Figure("live", "test", "ndcg_at_20", 0.5, 9)
    models.write_figures(make_context(as_of=won), in_force, model, [figure], serves="live")
    assert keeps(won)
    assert not keeps(won, refit=True)
    assert not keeps(won, wanted(depth=10))
    assert not keeps(date(2026, 7, 4))  # it has not won yet
    assert keeps(date(2026, 7, 30))
    assert not keeps(date(2026, 7, 31))  # the model is 30 days old
    models.promote(tables, model, since=date(2026, 7, 20))
    assert keeps(date(2026, 8, 3))
    assert not keeps(date(2026, 8, 4))  # its victory is


def test_promoting_replaces_the_tasks_row_only(tables: Tables) -> None:
    models.promote(tables, stored(tables), since=AS_OF)
    other = models.finish(tables, "segments", "segments-x", {"train_as_of": "2026-07-01"})
    models.promote(tables, other, since=AS_OF)
    later = stored(tables, "churn-2026-08-01-11111111")
    models.promote(tables, later, since=date(2026, 8, 1))

    rows = {r["task"]: (r["model_version"], r["path"]) for r in tables.read(LIVE_MODELS).collect()}
    assert rows == {"churn": (later.version, later.path), "segments": ("segments-x", "models/segments/segments-x")}


def test_an_older_fit_does_not_take_over(tables: Tables, make_context: Callable[..., Context]) -> None:
    models.promote(tables, stored(tables), since=AS_OF)

    run = make_context(as_of=date(2026, 6, 1))
    models.promote_unless_older(run, stored(tables, "churn-2026-06-01-22222222"))

    assert models.live(run.tables, "churn")["model_version"] == "churn-2026-07-01-00000000"
