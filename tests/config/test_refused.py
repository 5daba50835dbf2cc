"""What settings cannot mean is refused before Spark starts: each fault with its line, all at once."""

from pathlib import Path

import pytest

from profiling_spark.config import Settings, read_settings
from profiling_spark.errors import ConfigError

SOURCE = "{format: csv, path: x.csv, target: events, columns: {user_id: u, event_time: t, event_type: e}, "
REVIEWS = "{format: csv, path: r.csv, target: reviews, columns: {text: t}}"


def faults(folder: Path, text: str) -> list[str]:
    file = folder / "shop.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_settings([file], (), {})
    head, *lines = str(caught.value).replace(f"{folder}/", "").splitlines()
    assert head == "the settings are wrong:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segments: {k_min: 12}", "segments.k_min = 12: k_min 12 is above k_max 10"),
        ("segments: {k_max: 3}", "segments.k_max = 3: k_min 4 is above k_max 3"),
        ("segments: {features: [monetary, monetary]}", "segments.features.1 = 'monetary': monetary stands twice"),
        (
            "segments: {features: [view_30d]}",
            "segments.features.0 = 'view_30d': view_30d: expected a numeric column of user_features, found no such "
            "column; did you mean views_30d?",
        ),
        ("segments: {features: [city]}", "expected a numeric column of user_features, found string"),
        (
            "prepare: {columns: {view_30d: {}}}",
            "prepare.columns.view_30d: columns.view_30d: expected a numeric column of user_features, found no such "
            "column; did you mean views_30d?",
        ),
        (
            "prepare: {columns: {gender_code: {}}, encode: {gender_code: {method: one_hot}}}",
            "prepare.encode.gender_code: is prepared as a number by columns.gender_code, and encoded as a name here",
        ),
        ("recommend: {weights: {purchse: 1, view: 1}}", "recommend.weights.purchse = 1: no event type; allowed: login"),
        ("recommend: {weights: {purchse: 1, view: 1}}", "did you mean purchase?"),
        ("recommend: {weights: {view: 1, refund: 2}}", "recommend.weights.refund = 2: a refund takes a purchase back"),
        ("recommend: {weights: {view: .nan, cart: 1}}", "recommend.weights.view = .nan: expected a finite number"),
        ("recommend: {weights: {view: 0}}", "recommend.weights: no event has a weight above 0"),
        ("recommend: {min_items: 9, history_items: 5}", "min_items 9 is above history_items 5"),
        ("recommend: {graph_filter: {candidates: 5}}", "candidates 5 are fewer than the top_n 20 items of a list"),
        ("recommend: {policy: {allow_brands: [a], bar_brands: [a]}}", "allow_brands = [a]: a: barred by bar_brands"),
        ("recommend: {policy: {repeat_categories: [a], bar_categories: [a]}}", "a: barred by bar_categories"),
        (
            "ingest: {earliest_event_date: 2025-02-01, latest_event_date: 2025-01-01}",
            "ingest.latest_event_date = 2025-01-01: latest_event_date 2025-01-01 lies before earliest",
        ),
        ("ingest: {limits: {bad_prize: {max_rows: 1}}}", "ingest.limits.bad_prize: limits bad_prize: no such rule"),
        ("ingest: {limits: {bad_unit_prize: {max_rows: 1}}}", "did you mean bad_unit_price?"),
        ("ingest: {precedence: [shop]}", "ingest.precedence.0 = 'shop': ingest.precedence shop: no such source"),
        ("ingest: {precedence: [a, a]}", "ingest.precedence = [a, a]: a: each source once"),
        (
            "profile: {tags: {t: {name_en: T, name_zh: T, when: 'true', reason: 'x {frequencies}'}}}",
            "profile.tags.t.reason = 'x {frequencies}': {frequencies} is no column of the profile; did you mean freq",
        ),
        (
            f"sources: {{s: {SOURCE}event_types: {{x: purchas}}}}}}",
            "sources.s.event_types.x = 'purchas': no event type",
        ),
        (
            f"sources: {{s: {SOURCE}event_types: {{x: view}}, negative_figures: as_refund}}}}",
            "sources.s.negative_figures = 'as_refund': as_refund makes refunds of purchases",
        ),
        (
            f"sources: {{s: {SOURCE}event_types: {{x: view}}, covers: {{last_date: 1999-01-01}}}}}}",
            "sources.s.covers.last_date = 1999-01-01: lies before ingest.earliest_event_date 2000-01-01",
        ),
        (
            f"ingest: {{latest_event_date: 2020-01-01}}\nsources: {{s: {SOURCE}event_types: {{x: view}}, "
            "covers: {first_date: 2021-01-01}}}",
            "sources.s.covers.first_date = 2021-01-01: lies after ingest.latest_event_date 2020-01-01",
        ),
        (
            f"sources: {{s: {SOURCE}event_types: {{x: view}}, lines: {{places: {{a: [1, 2]}}}}}}}}",
            "sources.s.lines.places: places are for the format fixed, not for csv",
        ),
        (
            "sources: {s: {format: json, path: x, target: reviews, columns: {text: t}, csv: {delimiter: ;}}}",
            "sources.s.csv: these options are for the format csv, not for json",
        ),
        (f"sources: {{s: {SOURCE}event_types: {{x: view}}, csv: {{delimiter: '\"'}}}}}}", "is the quote or the escape"),
        (f"sources: {{a: {REVIEWS}, b: {REVIEWS}}}", "sources.b.path = 'r.csv': reads the same rows as source a"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
    assert any(line.startswith("shop.yaml:") and message in line for line in faults(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: view", "shop.yaml:3: sources.s.event_types.1: YAML takes the key 1 for the number 1: quote it, '1': view"),
        ("yes: login", "YAML takes the key yes for true: quote it, 'yes': login"),
        ("off: login", "YAML takes the key off for false: quote it, 'off': login"),
        ("12:30: view", "YAML takes the key 12:30 for the number 750: quote it, '12:30': view"),
        ("2025-01-01: view", "YAML takes the key 2025-01-01 for a date: quote it, '2025-01-01': view"),
        ("null: view", "YAML takes the key null for nothing: quote it, 'null': view"),
    ],
)
def test_a_key_that_yaml_takes_for_something_else_is_shown_as_it_should_be_typed(tmp_path, text, message):
    start = f"sources:\n  s: {SOURCE}\n    event_types: {{{text}}}}}\n"
    (found,) = faults(tmp_path, start)
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "language: no",
            "language = no: Input should be 'en' or 'zh'; YAML takes no for false: quote it",
        ),
        ("data_root: 2025-01-01", "YAML takes 2025-01-01 for a date: quote it, data_root: '2025-01-01'"),
        ("data_root: 12", "YAML takes 12 for the number 12: quote it, data_root: '12'"),
        ("recommend: {session_gap_minutes: 1:30}", "YAML takes 1:30 for a number of base 60: quote it"),
        ("recommend: {policy: {bar_brands: [007]}}", "YAML takes 007 for a number of base 8: quote it, '007'"),
        ("buckets: yes", "buckets = yes: expected a number; YAML takes yes, no, on and off for true and false"),
        ("recommend: {weights: {view: on}}", "recommend.weights: expected a number"),
        ("windows_days: [on]", "windows_days = [on]: expected a number"),
        ("data_root: 2025-02-31", "YAML takes 2025-02-31 for a date that does not exist; a text needs quotes"),
    ],
)
def test_a_value_that_yaml_takes_for_something_else(tmp_path, text, message):
    assert any(message in line for line in faults(tmp_path, text))


def test_a_fault_hides_no_other_and_nothing_is_said_of_what_rests_on_it(tmp_path):
    text = f"""buckets: 0
segments:
  max_age_days: 0
  k_min: 9
  k_max: 5
  features: [vews_30d]
recommend:
  weights: {{vew: 1, cart: 2}}
scores: {{churn: {{high_from: 0.2, trees: 0}}}}
ingest: {{precedence: [log]}}
sources:
  log: {SOURCE}event_types: {{x: purchas}}, formt: a}}
  other:
    format: cvs
    path: x
    target: reviews
    columns: {{}}
"""
    found = [line.partition(": ")[0::2] for line in faults(tmp_path, text)]
    assert [
        (place.removeprefix("shop.yaml:"), message.partition(" = ")[0].partition(":")[0]) for place, message in found
    ] == [
        ("1", "buckets"),
        ("3", "segments.max_age_days"),
        ("4", "segments.k_min"),
        ("6", "segments.features.0"),
        ("8", "recommend.weights.vew"),
        ("9", "scores.churn.trees"),
        ("9", "scores.churn.high_from"),
        ("12", "sources.log.formt"),
        ("12", "sources.log.event_types.x"),
        ("14", "sources.other.format"),
        ("17", "sources.other.columns"),
    ]


def test_settings_made_in_code_are_refused_too():
    with pytest.raises(ValueError, match="k_min: k_min 9 is above k_max 5"):
        Settings.model_validate({"segments": {"k_min": 9, "k_max": 5}})
    with pytest.raises(ValueError, match=r"segments\.features\.0: vews: expected a numeric column"):
        Settings.model_validate({"segments": {"features": ["vews"]}})


def test_a_merge_key_of_yaml(tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(
        "scores:\n  churn: &a {trees: 9}\nrecommend: {policy: {price_steering: {<<: {low: 0.1}, high: 0.9}}}\n"
    )
    steering = read_settings([file], (), {}).settings.recommend.policy.price_steering
    assert (steering.low, steering.high) == (0.1, 0.9)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("storage: 3", ["shop.yaml:1: storage = 3: expected keys and values"]),
        ("custom_features: 5", ["shop.yaml:1: custom_features = 5: expected a list"]),
        ("windows_days: [1, x]", ["shop.yaml:1: windows_days.1 = 'x': Input should be a valid integer, unable to"]),
        (
            "exchange_rates: {EUR: abc}",
            [
                "shop.yaml:1: exchange_rates.EUR = 'abc': Input should be a valid decimal",
                "shop.yaml:1: exchange_rates.EUR = 'abc': expected keys and values",
            ],
        ),
        ("profile: {tags: {Bad: 1}}", ["shop.yaml:1: profile.tags.Bad = 1: String should match", "expected keys"]),
    ],
)
def test_a_path_has_keys_and_places_only(tmp_path, text, messages):
    found = faults(tmp_path, text)
    assert len(found) == len(messages)
    assert all(message in line for message, line in zip(messages, found, strict=True))
