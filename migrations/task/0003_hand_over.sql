-- When a member leaves, what they had handed over and nobody accepted yet is found by who handed it over.
create index tasks_offered_by on tasks (account_id, assigned_by) where assigned_by is not null and accepted_at is null;
