"""SQL of the customer features that come from a customer's own events, written from docs/features.md alone.

Placeholders: `{w}` a window in days; `{as_of}` and `{zone}` literals; `{login}` and the like TRUE where a source
supplies that event type or column. `age` is the days from an event's date to as_of: 1 is the day before, so a window
is `age <= {w}`. A triple is the text before, for each window, and after.
"""

PAST = """
past AS (
    SELECT user_id, event_type, event_time, event_date, item_id, category, brand, session_id, channel, flags,
        amount::DECIMAL(18,4) AS amount,
        discount::DECIMAL(18,4) AS discount,
        unit_price::DECIMAL(18,6) AS unit_price,
        date_diff('day', event_date, {as_of}) AS age,
        extract(hour FROM timezone({zone}, event_time::TIMESTAMPTZ))::INTEGER AS hour,
        -- the prefixes keep an order named like an event's id apart from it
        coalesce('order ' || order_id, 'event ' || event_id) AS order_key,
        round(duration_seconds * 1000)::BIGINT AS milliseconds
    FROM {events}
    WHERE event_date < {as_of}
),
latest_user AS (
    SELECT * FROM {users}
    WHERE timezone({zone}, valid_from::TIMESTAMPTZ)::DATE < {as_of}
    QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY valid_from DESC) = 1
),
people AS (SELECT user_id FROM past UNION SELECT user_id FROM latest_user),
bots AS (
    SELECT DISTINCT user_id FROM (
        SELECT user_id FROM past WHERE event_type <> 'ad_view' AND age <= {bot_days}
        GROUP BY user_id, event_date HAVING count(*) > {bot_events_per_day}
    )
)"""

COUNT = "CASE WHEN {supplied} THEN count(*) FILTER (event_type = '{type}' AND age <= {w}) END AS {name}_{w}d"

BEHAVIOUR = (
    """
behaviour AS (
    SELECT user_id,
        -- an impression is the shop's act, not the customer's
        (min(age) FILTER (event_type <> 'ad_view'))::INTEGER AS days_since_last_event,
        (max(age) FILTER (event_type <> 'ad_view'))::INTEGER AS tenure_days,
        user_id IN (SELECT user_id FROM bots) AS is_bot,""",
    """
        {counts},
        CASE WHEN {purchase} THEN
            count(DISTINCT order_key) FILTER (event_type = 'purchase' AND age <= {w}) END AS purchases_{w}d,
        CASE WHEN {refund} THEN
            count(DISTINCT order_key) FILTER (event_type = 'refund' AND age <= {w}) END AS refunds_{w}d,
        count(DISTINCT event_date) FILTER (event_type <> 'ad_view' AND age <= {w}) AS active_days_{w}d,
        CASE WHEN {session_id} THEN count(DISTINCT session_id) FILTER (age <= {w}) END AS sessions_{w}d,
        CASE WHEN {duration_seconds} THEN
            coalesce(sum(milliseconds) FILTER (age <= {w}), 0)::DOUBLE / 1000 END AS session_seconds_{w}d,
        count(*) FILTER (age <= {w} AND (hour >= 22 OR hour < 6))
            / nullif(count(*) FILTER (age <= {w}), 0) AS night_share_{w}d,
        count(*) FILTER (age <= {w} AND isodow(event_date) >= 6)
            / nullif(count(*) FILTER (age <= {w}), 0) AS weekend_share_{w}d""",
    """
    FROM people LEFT JOIN past USING (user_id)
    GROUP BY user_id
)""",
)

RATIOS = (
    """
ratios AS (
    SELECT user_id,""",
    """
        CASE WHEN {login} OR {view} OR {purchase} THEN
            coalesce(logins_{w}d, 0) + coalesce(views_{w}d, 0) + coalesce(purchases_{w}d, 0) END AS activity_{w}d,
        purchases_{w}d / nullif(logins_{w}d, 0) AS purchase_frequency_{w}d,
        purchases_{w}d / nullif(sessions_{w}d, 0) AS purchases_per_session_{w}d,
        carts_{w}d / nullif(views_{w}d, 0) AS view_to_cart_{w}d,
        purchases_{w}d / nullif(carts_{w}d, 0) AS cart_to_purchase_{w}d,
        purchases_{w}d / nullif(views_{w}d, 0) AS view_to_purchase_{w}d""",
    """
    FROM behaviour
)""",
)

SUMS = (
    """
sums AS (
    SELECT user_id,""",
    """
        coalesce(sum(amount) FILTER (event_type = 'purchase' AND age <= {w}), 0) AS bought_{w}d,
        coalesce(sum(amount) FILTER (event_type = 'purchase' AND flags IS NOT NULL AND age <= {w}), 0) AS flagged_{w}d,
        coalesce(sum(amount) FILTER (event_type = 'refund' AND age <= {w}), 0) AS returned_{w}d,
        coalesce(sum(discount) FILTER (event_type = 'purchase' AND age <= {w}), 0) AS taken_off_{w}d""",
    """
    FROM people LEFT JOIN past USING (user_id)
    GROUP BY user_id
)""",
)

VALUE = (
    """
value AS (
    SELECT user_id,""",
    """
        CASE WHEN {purchase} THEN bought_{w}d::DECIMAL(28,4) END AS purchase_amount_{w}d,
        CASE WHEN {purchase} THEN flagged_{w}d::DECIMAL(28,4) END AS flagged_amount_{w}d,
        CASE WHEN {purchase} THEN (bought_{w}d - returned_{w}d)::DECIMAL(28,4) END AS net_amount_{w}d,
        CASE WHEN {purchase} THEN bought_{w}d::DOUBLE / nullif(purchases_{w}d, 0) END AS consumption_power_{w}d,
        CASE WHEN {purchase} AND {discount} THEN
            taken_off_{w}d::DOUBLE / nullif((bought_{w}d + taken_off_{w}d)::DOUBLE, 0) END AS discount_share_{w}d,
        CASE WHEN {purchase} AND {refund} THEN
            returned_{w}d::DOUBLE / nullif(bought_{w}d::DOUBLE, 0) END AS refund_share_{w}d""",
    """
    FROM sums JOIN behaviour USING (user_id)
)""",
)

RFM = """
rfm AS (
    SELECT user_id,
        (min(age) FILTER (event_type = 'purchase'))::INTEGER AS recency_days,
        CASE WHEN {purchase} THEN count(DISTINCT order_key) FILTER (event_type = 'purchase') END AS frequency,
        CASE WHEN {purchase} THEN (
            coalesce(sum(amount) FILTER (event_type = 'purchase'), 0)
            - coalesce(sum(amount) FILTER (event_type = 'refund'), 0)
        )::DECIMAL(28,4) END AS monetary,
        CASE WHEN {purchase} THEN
            coalesce(sum(amount) FILTER (event_type = 'purchase' AND flags IS NOT NULL), 0)::DECIMAL(28,4)
            END AS flagged_amount,
        date_diff('day', min(event_date) FILTER (event_type = 'purchase'),
            max(event_date) FILTER (event_type = 'purchase'))
            / nullif(count(DISTINCT event_date) FILTER (event_type = 'purchase') - 1, 0) AS interpurchase_days
    FROM people LEFT JOIN past USING (user_id)
    GROUP BY user_id
),
buyers AS (SELECT * FROM rfm WHERE recency_days IS NOT NULL),
-- the cut points are those of people, and place bots, too
people_who_buy AS (FROM buyers ANTI JOIN bots USING (user_id)),
measured AS (
    SELECT 'recency_days' AS measure, recency_days::DECIMAL(28,4) AS value FROM people_who_buy
    UNION ALL SELECT 'frequency', frequency::DECIMAL(28,4) FROM people_who_buy
    UNION ALL SELECT 'monetary', monetary FROM people_who_buy
),
placed AS (
    SELECT measure, value, row_number() OVER (PARTITION BY measure ORDER BY value) AS place,
        count(*) OVER (PARTITION BY measure) AS customers
    FROM measured
),
-- the smallest value that 20, 40, 60, 80 % of the buyers do not pass: place ceil(customers * cut / 5)
cuts AS (
    SELECT measure, cut, value FROM placed JOIN (SELECT unnest([1, 2, 3, 4]) AS cut) AS four
    ON place = (customers * cut + 4) // 5
),
points AS (
    SELECT user_id,
        (5 - count(*) FILTER (measure = 'recency_days' AND value < recency_days))::INTEGER AS r_score,
        (1 + count(*) FILTER (measure = 'frequency' AND value < frequency))::INTEGER AS f_score,
        (1 + count(*) FILTER (measure = 'monetary' AND value < monetary))::INTEGER AS m_score
    FROM buyers CROSS JOIN cuts
    GROUP BY user_id
),
scores AS (SELECT *, r_score + f_score + m_score AS rfm_score, {rfm_group} AS rfm_group FROM points)"""

BREADTH = (
    """
breadth AS (
    SELECT user_id,""",
    """
        CASE WHEN {purchase} THEN
            count(DISTINCT category) FILTER (event_type = 'purchase' AND age <= {w}) END AS category_breadth_{w}d,
        CASE WHEN {purchase} THEN
            count(DISTINCT brand) FILTER (event_type = 'purchase' AND age <= {w}) END AS brand_breadth_{w}d,
        CASE WHEN {purchase} THEN
            count(DISTINCT item_id) FILTER (event_type = 'purchase' AND age <= {w}) END AS items_bought_{w}d""",
    """
    FROM people LEFT JOIN past USING (user_id)
    GROUP BY user_id
)""",
)
