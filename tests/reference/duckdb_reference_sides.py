"""SQL of the customer features that need other tables or other customers; see duckdb_reference_sql for placeholders."""

# a product's price is the catalogue's, else the median of its events' (one that occurs); its place is that of equal
# prices' first, and the only one of a category stands in the middle
PERCENTILE = """
percentile AS (
    WITH catalogue AS (
        SELECT item_id, category, list_price::DECIMAL(18,6) AS price FROM {items}
        WHERE timezone({zone}, valid_from::TIMESTAMPTZ)::DATE < {as_of}
        QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY valid_from DESC) = 1
    ),
    usual_price AS (
        SELECT item_id, quantile_disc(unit_price, 0.5) AS unit_price FROM past
        WHERE item_id IS NOT NULL AND unit_price IS NOT NULL GROUP BY item_id
    ),
    last_category AS (
        SELECT item_id, category FROM past WHERE item_id IS NOT NULL AND category IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY event_time DESC, category) = 1
    ),
    item AS (
        SELECT item_id, coalesce(c.category, k.category) AS category, coalesce(c.price, p.unit_price) AS price
        FROM catalogue AS c FULL JOIN usual_price AS p USING (item_id) FULL JOIN last_category AS k USING (item_id)
    )
    SELECT item_id, CASE WHEN count(*) OVER (PARTITION BY category) = 1 THEN 0.5
        ELSE percent_rank() OVER (PARTITION BY category ORDER BY price) END AS price_percentile
    FROM item WHERE category IS NOT NULL AND price IS NOT NULL
)"""

PRICE_PREFERENCE = """
price_preference AS (
    SELECT user_id, avg(price_percentile) AS price_preference
    FROM past JOIN percentile USING (item_id)
    WHERE event_type = 'purchase'
    GROUP BY user_id
)"""

FAVORITE = """
favorite_{name} AS (
    SELECT user_id, {name} AS favorite_{name} FROM past
    WHERE age <= 90 AND {name} IS NOT NULL AND {among}
    GROUP BY user_id, {name}
    QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY count(*) DESC, {name}) = 1
)"""

POPULAR = """
popular_{w}d AS (
    SELECT item_id FROM past ANTI JOIN bots USING (user_id)
    WHERE event_type = 'view' AND age <= {w} AND item_id IS NOT NULL
    GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT 10
),
viewers_{w}d AS (
    SELECT DISTINCT user_id FROM past SEMI JOIN popular_{w}d USING (item_id) WHERE event_type = 'view' AND age <= {w}
)"""

VIEWING = (
    "\nviewing AS (SELECT user_id,",
    "\n    CASE WHEN {view} THEN user_id IN (SELECT user_id FROM viewers_{w}d) END AS popular_item_viewer_{w}d",
    "\nFROM people)",
)

REVIEWING = (
    """
dated_reviews AS (
    SELECT user_id, rating::DOUBLE AS rating,
        date_diff('day', timezone({zone}, review_time::TIMESTAMPTZ)::DATE, {as_of}) AS age
    FROM {reviews}
),
reviewing AS (
    SELECT user_id,""",
    """
        CASE WHEN {reviews_given} THEN count(age) FILTER (age BETWEEN 1 AND {w}) END AS reviews_{w}d,
        avg(rating) FILTER (age BETWEEN 1 AND {w}) AS mean_rating_{w}d""",
    """
    FROM people LEFT JOIN dated_reviews USING (user_id)
    GROUP BY user_id
)""",
)

DEMOGRAPHICS = """
aged AS (
    SELECT user_id, valid_from, gender, age_band, occupation, income, province, city,
        date_diff('day', timezone({zone}, registered_at::TIMESTAMPTZ)::DATE, {as_of}) AS registered,
        coalesce(age, CASE WHEN birth_date <= {as_of} THEN
            year({as_of}) - year(birth_date)
            -- this year's birthday is still to come
            - (month({as_of}) * 100 + day({as_of}) < month(birth_date) * 100 + day(birth_date))::INTEGER
        END)::INTEGER AS age
    FROM latest_user
),
demographics AS (
    SELECT user_id, age, occupation, income::DECIMAL(18,4) AS income, province, city,
        (CASE gender WHEN 'male' THEN 0 WHEN 'female' THEN 1 END)::INTEGER AS gender_code,
        CASE WHEN age IS NULL THEN age_band WHEN age < 18 THEN 'under 18' WHEN age <= 25 THEN '18-25'
            WHEN age <= 35 THEN '26-35' WHEN age <= 45 THEN '36-45' WHEN age <= 55 THEN '46-55'
            WHEN age <= 65 THEN '56-65' ELSE 'over 65' END AS age_band,
        -- a registration on as_of or later is not known before as_of
        (CASE WHEN registered >= 1 THEN registered END)::INTEGER AS registered_days
    FROM aged
)"""

NO_USERS = """(SELECT NULL::VARCHAR AS user_id, NULL::TIMESTAMP AS valid_from, NULL::VARCHAR AS gender,
    NULL::INTEGER AS age, NULL::VARCHAR AS age_band, NULL::DATE AS birth_date, NULL::VARCHAR AS occupation,
    NULL::DECIMAL(18,4) AS income, NULL::VARCHAR AS province, NULL::VARCHAR AS city,
    NULL::TIMESTAMP AS registered_at WHERE false)"""
NO_ITEMS = """(SELECT NULL::VARCHAR AS item_id, NULL::TIMESTAMP AS valid_from, NULL::VARCHAR AS category,
    NULL::DECIMAL(18,6) AS list_price WHERE false)"""
NO_REVIEWS = "(SELECT NULL::VARCHAR AS user_id, NULL::DOUBLE AS rating, NULL::TIMESTAMP AS review_time WHERE false)"
