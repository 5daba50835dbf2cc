"""Where each setting comes from, and variables of the environment in values."""

from pathlib import Path

import pytest

from profiling_spark.config import load_settings, read_settings
from profiling_spark.config.given import Origin
from profiling_spark.config.show import descriptions, explained, schema
from profiling_spark.errors import ConfigError

SECRET = "s3cret_bucket_42"


def write(folder: Path, text: str, name: str = "shop.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def shown(folder: Path, text: str, *pairs: str, **environ: str) -> dict[str, tuple[str, str]]:
    loaded = read_settings([write(folder, text)], pairs, environ)
    return {key: (value, origin.replace(f"{folder}/", "")) for key, value, origin in explained(loaded)}


def fault(folder: Path, text: str, *pairs: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_settings([write(folder, text)], pairs, environ)
    assert caught.value.__cause__ is None  # its text would have the values of variables in it
    assert caught.value.__suppress_context__
    return str(caught.value).replace(f"{folder}/", "")


def test_every_setting_has_its_value_and_origin_in_the_order_of_the_models(tmp_path):
    found = shown(tmp_path, "# mine\nbuckets: 8\nstorage:\n  root: /lake\n", "recommend.top_n=5")
    assert list(found)[:3] == ["storage.root", "data_root", "business_timezone"]
    assert found["storage.root"] == ("/lake", "shop.yaml:4")
    assert found["buckets"] == ("8", "shop.yaml:2")
    assert found["recommend.top_n"] == ("5", "--set recommend.top_n=5")
    assert found["windows_days"] == ("[7, 30, 90]", "default")
    assert found["recommend.graph_filter.bands.1.ratio"] == ("0.76", "default")


def test_a_later_file_gives_the_origin_of_what_it_says_only(tmp_path):
    first = write(tmp_path, "segments:\n  k: 5\n  k_max: 9\n", "a.yaml")
    second = write(tmp_path, "segments:\n  k: 6\n", "b.yaml")
    loaded = read_settings([first, second], environ={})
    assert loaded.settings == load_settings([first, second])
    assert loaded.origins["segments.k"] == Origin(str(second), 2)
    assert loaded.origins["segments.k_max"] == Origin(str(first), 3)
    assert "segments.k_min" not in loaded.origins


def test_a_short_form_is_the_origin_of_what_it_stands_for(tmp_path):
    source = "  s: {format: json, path: x, target: reviews, columns: {text: t}, lines: items}"
    found = shown(tmp_path, f"sources:\n{source}\n")
    assert found["sources.s.lines.array"] == ("items", "shop.yaml:2")
    assert found["sources.s.lines.header"] == ("false", "default")


def test_variables_in_values_of_files_and_of_set(tmp_path):
    text = "storage: {root: 's3a://${BUCKET}/lake/${BUCKET}'}\ndata_root: /data/$${x}\nbuckets: ${N}\n"
    file = write(tmp_path, text)
    loaded = read_settings([file], ["currency=${CUR}", "seed=${N}"], {"BUCKET": SECRET, "N": "16", "CUR": "EUR"})
    settings = loaded.settings
    assert (settings.storage.root, settings.data_root) == (f"s3a://{SECRET}/lake/{SECRET}", "/data/${x}")
    assert (settings.buckets, settings.seed, settings.currency) == (16, 16, "EUR")
    found = {key: (value, origin) for key, value, origin in explained(loaded)}
    assert found["storage.root"] == ("s3a://${BUCKET}/lake/${BUCKET}", f"{file}:1, environment BUCKET")
    assert found["buckets"] == ("${N}", f"{file}:3, environment N")
    assert found["currency"] == ("${CUR}", "--set currency=${CUR}, environment CUR")
    assert found["data_root"] == ("/data/$${x}", f"{file}:2")
    assert SECRET not in repr(explained(loaded))


def test_a_variable_in_quotes_or_in_a_text_stays_text(tmp_path):
    text = "recommend:\n  policy:\n    bar_brands: ['${N}', 'b${N}', \"${T}\"]\n    in_stock: ${T}\n"
    policy = read_settings([write(tmp_path, text)], (), {"N": "12", "T": "no"}).settings.recommend.policy
    assert policy.bar_brands == ("12", "b12", "no")
    assert policy.in_stock is False


def test_a_value_of_several_parts_shows_how_it_was_written(tmp_path):
    found = shown(tmp_path, "windows_days:\n- 7\n- ${W}\n", W="45")
    assert found["windows_days"] == ("[7, ${W}]", "shop.yaml:1, environment W")


def test_a_variable_that_is_not_set_is_named_with_its_place(tmp_path):
    text = fault(tmp_path, "buckets: 0\nstorage:\n  root: s3://${BUCKET}/x\n", "data_root=${D}")
    assert "shop.yaml:3: storage.root: s3://${BUCKET}/x: the environment variable BUCKET is not set" in text
    assert "--set data_root=${D}: data_root: ${D}: the environment variable D is not set" in text
    assert "shop.yaml:1: buckets = 0" in text


@pytest.mark.parametrize("written", ["${A:-b}", "${}", "${A", "${1}"])
def test_what_looks_like_a_variable_and_is_none_is_refused(tmp_path, written):
    text = fault(tmp_path, f"data_root: '{written}'\n", A="a")
    assert f"shop.yaml:1: data_root: {written}: expected ${{NAME}}, found ${{" in text
    assert "a literal ${ is written $${" in text


@pytest.mark.parametrize(
    "text",
    [
        "currency: ${V}",
        "business_timezone: x${V}",
        "windows_days: [7, '${V}']",
        "sources: {log: '${V}'}",
        "buckets: ${V}",
        "sources: {log: {format: '${V}', path: p, target: events, columns: {}}}",
        "segments: {features: ['${V}']}",
        "ingest: {precedence: ['${V}']}",
        "profile: {tags: {t: {name_en: a, name_zh: b, when: c, reason: '{${V}}'}}}",
        "custom_features: [{name: n, measure: count, unit: u, description: d, event_types: ['${V}']}]",
        "sources: {log: {format: pattern, path: p, target: reviews, columns: {text: t}, lines: {pattern: '(${V}'}}}",
        "sources: {log: {format: csv, path: p, target: events, columns: {}, event_types: {x: '${V}'}}}",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "99999", "0x1869F"])
def test_no_fault_tells_the_value_of_a_variable(tmp_path, text, secret):
    found = fault(tmp_path, text, V=secret)
    assert "${V}" in found
    assert secret not in found
    assert "99999" not in found


def test_a_date_that_does_not_exist_is_not_told_either(tmp_path):
    found = fault(tmp_path, "data_root: ${V}\n", V="2025-02-31")
    assert "shop.yaml:1: data_root: YAML takes ${V} for a date that does not exist; a text needs quotes" in found
    assert "2025" not in found


def test_what_yaml_makes_of_a_variable_is_no_surprise_either(tmp_path):
    text = fault(tmp_path, "recommend:\n  policy:\n    bar_brands:\n    - ${B}\n    - ${C}\n", B="7", C="12:30")
    assert (
        "shop.yaml:4: recommend.policy.bar_brands.0 = ${B}: expected a text; a variable's value stays one in quotes"
        in text
    )
    assert (
        "shop.yaml:5: recommend.policy.bar_brands.1: YAML takes ${C} for a number of base 60: quote it, '${C}'" in text
    )


def test_the_schema_describes_every_setting_with_the_words_of_the_base_file():
    made = schema()
    texts = descriptions()
    assert made["properties"]["buckets"]["description"] == texts[("buckets",)]
    assert made["$defs"]["Segments"]["properties"]["k_min"]["description"] == texts[("segments",)]
    assert made["$defs"]["Churn"]["properties"]["suspicious_auc"]["description"].startswith("a feature that alone")
    assert made["$defs"]["Source"]["properties"]["unused"]["description"].startswith("columns that are known and not")
    models = [made, *made["$defs"].values()]
    assert all(field["description"] for model in models for field in model.get("properties", {}).values())
    assert {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"} in made["properties"]["buckets"]["anyOf"]
