"""Settings: every fault at once, with file, key, value and what is allowed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from profiling_spark.config import Settings, load_settings
from profiling_spark.config.base import Model
from profiling_spark.config.load import config_hash
from profiling_spark.config.show import descriptions
from profiling_spark.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_all_faults_are_reported_together_with_file_key_and_value(tmp_path):
    file = write(
        tmp_path,
        "shop.yaml",
        """
buckets: 0
bukets: 3
windows_days: [30, 7]
business_timezone: Mars
sources:
  log:
    format: cvs
    path: x.csv
    target: events
    columns: {user_id: u, event_time: t, event_type: e}
    event_types: {x: purchas}
""",
    )
    with pytest.raises(ConfigError) as caught:
        load_settings([file], ["scores.churn.high_from=2"])
    text = str(caught.value)
    assert f"{file}:2: buckets = 0: " in text
    assert f"{file}:3: bukets = 3: this key is not known here; allowed: buckets," in text
    assert f"{file}:4: windows_days = [30, 7]: " in text
    assert f"{file}:5: business_timezone = 'Mars': allowed: a name of the time zone database" in text
    assert f"{file}:8: sources.log.format = 'cvs': " in text
    assert "--set scores.churn.high_from=2: scores.churn.high_from = 2: " in text


def test_mapping_faults_name_what_is_allowed(tmp_path):
    file = write(
        tmp_path,
        "shop.yaml",
        """
sources:
  log:
    format: csv
    path: x.csv
    target: events
    columns: {user_id: u, event_time: t, event_type: e, colour: c}
    event_types: {x: purchase}
""",
    )
    with pytest.raises(ConfigError, match=r"columns \['colour'\] are not in events; allowed: event_id"):
        load_settings([file])


def test_two_sources_of_one_event_type_are_refused(tmp_path):
    source = """
    format: csv
    path: x.csv
    target: events
    columns: {user_id: u, event_time: t, event_type: e}
    event_types: {x: purchase}
"""
    file = write(tmp_path, "shop.yaml", f"sources:\n  a:{source}\n  b:{source}")
    with pytest.raises(ConfigError, match=r"event type purchase comes from two sources, a and b.*sources.a.covers: "):
        load_settings([file])
    until, since = (f"covers: {{{key}: 2025-06-30}}" for key in ("last_date", "first_date"))
    file = write(tmp_path, "shop.yaml", f"sources:\n  a:{source}    {until}\n  b:{source}    {since}\n")
    with pytest.raises(ConfigError, match="two sources, a and b, and what they cover overlaps"):
        load_settings([file])
    load_settings([file], ["sources.b.covers.first_date=2025-07-01"])


def test_only_rows_without_an_id_can_be_counted(tmp_path):
    source = """
    format: csv
    path: x.csv
    target: events
    columns: {user_id: u, event_time: t, event_type: e, event_id: i}
    event_types: {x: purchase}
    repeats: count
"""
    with pytest.raises(ConfigError, match="repeats: count is for events and reviews without an id of their own"):
        load_settings([write(tmp_path, "shop.yaml", f"sources:\n  a:{source}")])


def test_later_files_and_set_win_key_by_key(tmp_path):
    first = write(tmp_path, "a.yaml", "buckets: 2\nstorage: {root: /one}\nwindows_days: [5]")
    second = write(tmp_path, "b.yaml", "storage: {root: /two}")
    settings = load_settings([first, second], ["windows_days=[1, 2]", "recommend.weights.view=2.5"])
    assert (settings.buckets, settings.storage.root, settings.windows_days) == (2, "/two", (1, 2))
    assert config_hash(settings) != config_hash(load_settings([first, second]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "expected keys and values, found a list"),
        ("a: [1", "expected YAML"),
        ("buckets: 2\nbuckets: 3", "stands twice"),
    ],
)
def test_a_file_that_is_no_settings_file(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings([write(tmp_path, "bad.yaml", text)])


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: expected a readable YAML file"):
        load_settings([tmp_path / "nowhere.yaml"])


@pytest.mark.parametrize("name", ["demo", "online_retail", "rees46", "complete_journey"])
def test_the_configs_of_the_project_load(name):
    assert load_settings([CONF / f"{name}.yaml"]).sources


def test_recorded_parameters_load():
    recommend = load_settings([CONF / "gowalla_als.yaml"]).recommend
    assert (recommend.rank, recommend.iterations, recommend.regularisation, recommend.alpha) == (128, 5, 3.2, 64)


def test_base_yaml_states_every_default():
    stated = yaml.safe_load((CONF / "base.yaml").read_text(encoding="utf-8"))
    defaults = Settings().model_dump(mode="json", exclude={"sources"})
    assert stated == defaults


def test_only_flagged_rows_can_be_left_out_of_features():
    rules = [
        {"name": "one", "when": "true", "features": "leave_out"},
        {"name": "two", "when": "true"},
        {"name": "three", "when": "true", "level": "warn"},
    ]
    settings = Settings.model_validate({"ingest": {"rules": rules}})
    assert (settings.left_out, settings.flagging) == (("one",), ("two",))
    with pytest.raises(ValueError, match="leave_out is for rules of level flag"):
        Settings.model_validate({"ingest": {"rules": [rules[0] | {"level": "warn"}]}})


def filled_by_default(model: Model, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the settings whose default is names with values."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Model):
            yield from filled_by_default(value, (*path, name))
        elif isinstance(value, dict) and value:
            yield (*path, name)


def test_a_default_of_names_and_values_is_replaced_as_a_whole_and_every_such_setting_says_so(tmp_path):
    page = (CONF.parent / "docs" / "settings.md").read_text(encoding="utf-8")
    found = list(filled_by_default(Settings()))
    assert found == [("ingest", "keep"), ("recommend", "weights"), ("profile", "tags")]
    for path in found:
        assert f"`{'.'.join(path)}`" in page
        assert "given here replace" in descriptions()[path]
    settings = load_settings([write(tmp_path, "a.yaml", "recommend: {weights: {purchase: 2}}")])
    assert settings.recommend.weights == {"purchase": 2.0}
    # between what is given, names are merged as everywhere
    more = load_settings(
        [write(tmp_path, "a.yaml", "recommend: {weights: {purchase: 2}}")], ["recommend.weights.cart=1"]
    )
    assert more.recommend.weights == {"purchase": 2.0, "cart": 1.0}
