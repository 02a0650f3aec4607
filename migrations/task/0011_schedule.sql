-- What is to happen at a time: tasks that fall due, reminders, and tasks that come again.

-- A member's own wish to be told of a task: at a time, or so long before the task is due.
create table reminders (
    id             uuid primary key,
    account_id     uuid not null,
    task_id        uuid not null,
    user_id        uuid not null,
    remind_at      timestamptz,
    before_seconds integer,
    created_at     timestamptz not null,
    constraint reminders_of_account unique (account_id, id),
    constraint reminders_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    constraint reminders_time check ((remind_at is null) <> (before_seconds is null))
);
create index reminders_of_member on reminders (account_id, task_id, user_id, id);
call protect_tenant_table('reminders');

-- What a worker is to look at when its time has come. A row is written in the transaction that makes it needed, and
-- looked at together with its task: one whose task is closed by then, or due at another time, is dropped. So nothing
-- but a new due time has to write one, and whoever closes or deletes tasks need not know of them.
create table timers (
    id          uuid primary key default gen_random_uuid(),
    account_id  uuid not null,
    task_id     uuid not null,
    kind        text not null
                constraint timers_kind check (kind in ('due_soon', 'overdue', 'reminder', 'next_instance')),
    reminder_id uuid,
    -- The due time that it goes by; null for one that does not.
    due_at      timestamptz,
    fires_at    timestamptz not null,
    -- When it is to be looked at: later than `fires_at` after a failure.
    try_at      timestamptz not null,
    -- How often a series had no place in its creator's quota.
    pauses      integer not null default 0,
    -- Stays when it has fired: what has happened once does not happen again.
    fired_at    timestamptz,
    constraint timers_once unique nulls not distinct (account_id, task_id, kind, reminder_id, due_at),
    constraint timers_of_reminder check ((kind = 'reminder') = (reminder_id is not null)),
    constraint timers_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    constraint timers_reminder foreign key (account_id, reminder_id) references reminders (account_id, id)
        on delete cascade
);
create index timers_waiting on timers (try_at) where fired_at is null;
create index timers_by_reminder on timers (account_id, reminder_id) where reminder_id is not null;
call protect_tenant_table('timers');

-- The instances of series, numbered: of all who want to make the next one, the number lets one.
create table occurrences (
    account_id uuid not null,
    task_id    uuid not null,
    series_id  uuid not null,
    nth        integer not null,
    -- Where the rule begins, and which of its times this is, as a clock on the wall of its timezone shows them. The
    -- task itself may be due at another time: people move one instance without moving the others.
    starts     timestamp not null,
    falls      timestamp not null,
    primary key (account_id, task_id),
    constraint occurrences_nth unique (account_id, series_id, nth),
    -- A number is taken before its task is made.
    constraint occurrences_task foreign key (account_id, task_id) references tasks (account_id, id)
        on delete cascade deferrable initially deferred
);
call protect_tenant_table('occurrences');

alter table tasks add constraint tasks_recurrence check (
    recurrence_rule is null or (recurrence_timezone is not null and series_id is not null and due_at is not null)
);

-- Tasks that are there already fall due as well; those that are overdue have been for a while.
alter table tasks no force row level security;
alter table timers no force row level security;
insert into timers (account_id, task_id, kind, due_at, fires_at, try_at)
select account_id, id, kind, due_at, due_at - before, due_at - before
from tasks cross join (values ('overdue', interval '0'), ('due_soon', interval '1 day')) as kinds (kind, before)
where status in ('pending', 'in_progress', 'paused') and deleted_at is null and due_at - before > now();
alter table tasks force row level security;
alter table timers force row level security;
