"""The pipeline gives the same tables wherever sources and storage lie, and wherever it runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from lakes import Lake, differences
from product import PROJECT, run_commands
from servers import S3Server, Store, viewfs_conf

from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.demo.generate import generate

pytestmark = pytest.mark.slow
# so small a shop that every stage just finds enough to do its work
CUSTOMERS, DAYS = 120, 45
SETTINGS = """
windows_days: [7, 30]
buckets: 2
spark: {shuffle_partitions: 2}
segments: {k_max: 4, sample_rows: 100}
scores:
  churn: {horizon_days: 14, active_days: 14, min_rows: 20, min_class_rows: 2, trees: 5, max_depth: 3}
recommend: {iterations: 2, rank: 8, audience: {items: 5}}
"""
WINDOWS = (7, 30)


class Shops:
    """One shop's raw logs in three places, with a lake beside each."""

    def __init__(self, folder: Path, s3: S3Server) -> None:
        self.folder, self.s3 = folder, s3
        self.truth = generate(folder / "local" / "data", customers=CUSTOMERS, days=DAYS)
        shutil.copytree(folder / "local" / "data", folder / "viewfs" / "data")
        (folder / "small.yaml").write_text(SETTINGS, encoding="utf-8")
        self.stores = {
            "local": Store(str(folder / "local"), {}),
            "viewfs": viewfs_conf(folder / "viewfs"),
            "s3a": self.on_s3("shop"),
        }

    def on_s3(self, name: str) -> Store:
        """The raw logs in a folder of the bucket."""
        self.s3.upload(self.folder / "local" / "data", f"{name}/data")
        return self.s3.store(name)

    def command(self, store: Store, master: str = "local[2]") -> list[str]:
        """The whole pipeline, sources and storage in one place."""
        files = ("--config", str(PROJECT / "conf" / "demo.yaml"), "--config", str(self.folder / "small.yaml"))
        places = ("--set", f"data_root={store.root}/data", "--set", f"storage.root={store.root}/lake")
        as_of = ("--as-of", self.truth.as_of.isoformat())
        return ["run_pipeline", *files, *places, *as_of, "--master", master, "--log", str(self.folder / "run.log")]

    def lake(self, store: Store) -> Lake:
        """The tables of a store, for deltalake."""
        if store.root.startswith("s3a://"):
            return Lake(store.root, store.root.replace("s3a://", "s3://", 1), self.s3.options)
        return Lake(store.root, str(self.folder / ("viewfs" if store.root.startswith("viewfs") else "local")))

    def difference_from_local(self, store: Store) -> Mapping[str, str]:
        """What differs in a store's lake, by table."""
        return differences(self.lake(self.stores["local"]), self.lake(store), WINDOWS)


@pytest.fixture(scope="module")
def shops(s3_process: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Shops:
    """The raw logs."""
    return Shops(tmp_path_factory.mktemp("shops"), s3_process)


@pytest.fixture(scope="module")
def codes(shops: Shops) -> dict[str, int]:
    """The pipeline run in each place, on this machine; exit codes."""
    conf = {key: value for store in shops.stores.values() for key, value in store.conf.items()}
    commands = [shops.command(store) for store in shops.stores.values()]
    found, stderr = run_commands(commands, conf, shops.folder)
    print(stderr)  # noqa: T201 - pytest shows it where a test fails
    return dict(zip(shops.stores, found, strict=True))


def test_every_stage_has_work_in_so_small_a_shop(shops: Shops, codes: dict[str, int]) -> None:
    assert codes["local"] == 0
    tables = {table.name: shops.lake(shops.stores["local"]).rows(table) for table in all_tables(WINDOWS)}
    # too few customers for items that are bought together and for a ranking of features
    assert [name for name, rows in tables.items() if rows is None or rows.is_empty()] == ["bundles", "feature_rankings"]


@pytest.mark.parametrize("name", ["viewfs", "s3a"])
def test_tables_equal_those_of_a_local_folder(shops: Shops, codes: dict[str, int], name: str) -> None:
    assert codes[name] == 0
    assert shops.difference_from_local(shops.stores[name]) == {}


def test_a_cluster_gives_the_same_tables_whatever_zone_and_language_its_machines_have(
    shops: Shops, codes: dict[str, int], cluster: Store
) -> None:
    store = shops.on_s3("of the cluster")
    machines = {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -Duser.timezone=Asia/Shanghai -Duser.language=tr",
        "spark.executor.extraJavaOptions": "-Duser.timezone=America/New_York -Duser.language=tr -Duser.country=TR",
    }
    command, environ = shops.command(store, cluster.root), {**cluster.environ, "TZ": "America/New_York"}
    found, stderr = run_commands([command], {**store.conf, **cluster.conf, **machines}, shops.folder, **environ)
    assert (codes["local"], found) == (0, [0]), stderr
    assert shops.difference_from_local(store) == {}
