-- How many open tasks each member has made: the quota `open_tasks_per_user` is decided by this row, which
-- changes in the transaction that makes, completes or deletes a task.
create table usage (
    account_id uuid not null,
    user_id    uuid not null,
    open_tasks integer not null constraint usage_open_tasks check (open_tasks >= 0),
    primary key (account_id, user_id)
);
call protect_tenant_table('usage');

-- Those that are there. The owner of the schema is bound by row-level security as well, but for this.
alter table tasks no force row level security;
alter table usage no force row level security;
insert into usage (account_id, user_id, open_tasks)
select account_id, created_by, count(*) from tasks
where status <> 'completed' and deleted_at is null group by account_id, created_by;
alter table tasks force row level security;
alter table usage force row level security;

-- Counts a member's open tasks from the index alone.
create index tasks_open_of_creator on tasks (account_id, created_by) where status <> 'completed' and deleted_at is null;
