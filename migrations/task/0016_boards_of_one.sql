-- Boards of one person, in the order that people give them: whose tasks, in which place, from an index alone.
drop index tasks_of_holder;
create index tasks_of_holder on tasks (account_id, assigned_to, id) include (status, created_by, visibility, rank)
    where deleted_at is null;
-- What was made for nobody yet. Who gives work away has made many times as much as is theirs to do.
create index tasks_kept on tasks (account_id, created_by, id) include (status, assigned_to, visibility, rank)
    where deleted_at is null and assigned_to is null;
