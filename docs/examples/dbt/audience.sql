-- An audience, for a segment that equals it: who has spent 100 and more.
--
-- Change: the model in `ref`, and the question. Keep user_id, in one row for each, and row_count: the target removes
-- nobody before as many rows have come as it says.

{{ config(materialized='table') }}

select
    user_id,
    count(*) over () as row_count
from {{ ref('orders') }}
group by user_id
having sum(total) >= 100
