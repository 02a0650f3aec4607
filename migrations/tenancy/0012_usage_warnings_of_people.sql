-- Finds the warnings of a person: for the erasure of their data.
create index usage_warnings_of_user on usage_warnings (user_id, account_id, quota, percent);
