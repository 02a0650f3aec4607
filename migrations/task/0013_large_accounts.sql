-- Lists of accounts with a million tasks.
--
-- Ids are made in the order of creation (UUIDv7), so every index that ends in the id gives that order as well, for
-- all tasks, those of a state, a priority, a holder or a creator. The first holds what filters and visibility ask
-- for: whatever is combined, no task is read that the page does not show.
create index tasks_by_id on tasks (account_id, id) include (status, priority, visibility, created_by, assigned_to, due_at)
    where deleted_at is null;
drop index tasks_by_created;
drop index tasks_of_status;
create index tasks_of_status on tasks (account_id, status, id) where deleted_at is null;
drop index tasks_of_holder;
create index tasks_of_holder on tasks (account_id, assigned_to, id) include (status, created_by, visibility) where deleted_at is null;
drop index tasks_of_creator;
create index tasks_of_creator on tasks (account_id, created_by, id) include (status, assigned_to, visibility) where deleted_at is null;
-- The other orders, with what every list asks for.
drop index tasks_by_updated;
create index tasks_by_updated on tasks (account_id, updated_at, id) include (status) where deleted_at is null;
drop index tasks_by_due;
create index tasks_by_due on tasks (account_id, due_at, id) include (status) where deleted_at is null;
drop index tasks_by_due_desc;
create index tasks_by_due_desc on tasks (account_id, due_at desc nulls last, id desc) include (status) where deleted_at is null;
drop index tasks_by_priority;
create index tasks_by_priority on tasks (account_id, priority, id) include (status) where deleted_at is null;
-- Tasks in the trash keep their place.
drop index tasks_rank;
create unique index tasks_rank on tasks (account_id, rank) include (id, status, deleted_at);

-- The tags of the tasks that are not in the trash. Row-level security keeps Postgres from using an index for `tags @>`,
-- which is not leakproof; of this table it can. Kept by the database itself, as an index would be: whatever changes
-- tasks, one by one or many at once, changes it.
create table task_tags (
    account_id uuid not null,
    -- By code points, whatever the database's language: so those with the same begin lie side by side.
    tag        text collate "C" not null,
    task_id    uuid not null,
    -- Lists show these only when asked to: those of one tag are read from here alone.
    archived   boolean not null default false,
    primary key (account_id, tag, task_id) include (archived),
    constraint task_tags_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade
);
create index task_tags_of_task on task_tags (account_id, task_id);
call protect_tenant_table('task_tags');

create function keep_tags() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        delete from task.task_tags where account_id = old.account_id and task_id = old.id;
    end if;
    if new.deleted_at is null then
        insert into task.task_tags (account_id, tag, task_id, archived)
        select new.account_id, tag, new.id, new.status = 'archived' from unnest(new.tags) tag;
    end if;
    return null;
end $$;
create trigger tasks_tagged after insert on tasks for each row when (new.tags <> '{}') execute function keep_tags();
create trigger tasks_tagged_anew after update of tags, deleted_at, status on tasks for each row
    when (old.tags is distinct from new.tags or old.deleted_at is distinct from new.deleted_at
          or (old.status = 'archived') <> (new.status = 'archived'))
    execute function keep_tags();

-- Those that are there.
alter table tasks no force row level security;
alter table task_tags no force row level security;
insert into task_tags (account_id, tag, task_id, archived)
select account_id, tag, id, status = 'archived' from tasks, unnest(tags) tag where deleted_at is null;
alter table tasks force row level security;
alter table task_tags force row level security;
