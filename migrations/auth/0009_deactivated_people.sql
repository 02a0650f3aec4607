-- Finds the people whose deactivation cannot be undone any more: their data is erased.
create index users_to_erase on users (data_retention_date) where data_retention_date is not null;
