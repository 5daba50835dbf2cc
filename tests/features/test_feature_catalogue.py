"""The catalogue is complete, and the contract and the page say what it says."""

from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_columns, user_features_table
from profiling_spark.feature_catalogue.entries import ENTRIES
from profiling_spark.feature_catalogue.user_features import user_feature_list
from profiling_spark.features.bucket import EVENT_COLUMNS
from profiling_spark.features.demographics import USER_COLUMNS
from profiling_spark.features.page import render_markdown


def test_the_contract_is_the_catalogue_with_windows_filled_in() -> None:
    columns = {c.name: c for c in user_features_columns((7, 30))}
    assert list(columns)[:4] == ["as_of", "user_id", "logins_7d", "logins_30d"]
    assert columns["purchase_amount_30d"].type == "decimal(28,4)"
    assert "last 30 days" in columns["purchase_amount_30d"].meaning
    assert columns["purchase_amount_30d"].null == "no purchase events or no amounts of purchases supplied"
    assert not any("{" in c.meaning + c.null for c in columns.values())
    assert len(columns) == 2 + len(user_feature_list((7, 30)))


def test_names_are_unique_and_every_null_has_a_meaning() -> None:
    features = user_feature_list((7, 30, 90))
    assert len({f.name for f in features}) == len(features)
    assert [f.name for f in features if not f.null and f.entry.empty is None] == []


def test_every_feature_of_the_design_is_there() -> None:
    stems = {entry.name for entry in ENTRIES}
    design = """logins views searches favorites carts purchases refunds activity purchase_amount net_amount
        purchase_frequency purchases_per_session consumption_power category_breadth brand_breadth items_bought
        recency_days frequency monetary r_score f_score m_score rfm_score rfm_group active_days sessions session_seconds
        days_since_last_event tenure_days interpurchase_days night_share weekend_share view_to_cart cart_to_purchase
        view_to_purchase discount_share refund_share price_preference favorite_category favorite_brand favorite_channel
        favorite_hour popular_item_viewer gender_code age age_band occupation income province city
        reviews mean_rating"""
    assert set(design.split()) <= stems


def test_source_columns_are_columns_that_the_kernels_read() -> None:
    for entry in ENTRIES:
        for source in entry.sources.split(", "):
            if entry.family == "Demographics":
                assert source.removeprefix("users.") in USER_COLUMNS
            elif source.isidentifier() and source in ("amount", "discount", "category", "brand", "session_id"):
                assert source in EVENT_COLUMNS


def test_the_page_has_a_row_for_every_feature() -> None:
    page = render_markdown((7, 30))
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"`{e.name}_{{w}}d`" if e.windowed else f"`{e.name}`" for e in ENTRIES]
    assert all(line.count("|") == 8 for line in page.splitlines() if line.startswith("| `"))


def test_tables_have_types_that_spark_knows() -> None:
    for table in (user_features_table((7, 30, 90)), ITEM_FEATURES, RFM_CUTS):
        assert len(table.schema) == len(table.columns)
        assert set(table.key) | set(table.slice) | set(table.partition_by) <= set(table.names)
