-- Orders, for events with columns of your own.
--
-- Change: the models in `ref`, and the columns, as you like; the settings say what becomes of each. Here
--
-- - user_id, total and placed_at say who, how much and when (`field_mapping`),
-- - order_id, currency and coupon are about the order: metadata of the event (`metadata_fields`),
-- - plan and seats are about the user: attributes of the user (`custom_fields`).
--
-- What the model does not select, Statsig does not see.

{{ config(materialized='view') }}

select
    orders.order_id,
    orders.user_id,
    orders.total,
    orders.placed_at,
    orders.currency,
    orders.coupon,
    users.plan,
    users.seats
from {{ ref('orders') }} as orders
inner join {{ ref('users') }} as users on orders.user_id = users.user_id
