"""A query that the local cluster does not finish during a test."""

ENDLESS = (
    "range x from 1 to 1000000 step 1 | extend k = 1"
    " | join kind=inner (range y from 1 to 1000000 step 1 | extend k = 1) on k | summarize count() by z = (x * y) % 7"
)
