-- Finds the rows of one person in all accounts: for the export and the erasure of their data.
create index memberships_by_user on memberships (user_id, id) where user_id is not null;
create index memberships_by_manager on memberships (manager_id, id) where manager_id is not null;
create index memberships_by_inviter on memberships (invited_by, id) where invited_by is not null;
create index usage_by_user on usage (user_id, account_id, quota);
