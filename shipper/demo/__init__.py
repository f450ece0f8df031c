"""The whole path on one machine: a shop under gunicorn, the shipper, a store, queries, and an accounting that closes."""
