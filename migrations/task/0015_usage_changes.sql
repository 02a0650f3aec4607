-- What tasks that are opened and closed do to the counters of open tasks: a line each, which is added to the counter a
-- moment later. How many a member has made is the counter and their lines together. So who opens or closes a task waits
-- for nobody else's commit, unless the account has a limit and somebody might pass it.
create table usage_changes (
    account_id uuid not null,
    user_id    uuid not null,
    id         bigint generated always as identity,
    change     integer not null constraint usage_changes_change check (change <> 0),
    primary key (account_id, user_id, id)
);
call protect_tenant_table('usage_changes');
-- A counter that is wrong may be below zero, until the tasks are counted anew: what was added to one must not get lost.
alter table usage drop constraint usage_open_tasks;

-- Locks the counters of these members, in their order, and answers what each has made by then. Every statement sees what
-- was committed before it began, so the lines are read after the wait for the lock.
create function hold_usage(account uuid, members uuid[]) returns table (member uuid, open_tasks integer)
language plpgsql as $$
begin
    insert into task.usage (account_id, user_id, open_tasks)
    select account, m, 0 from unnest(members) as m order by m on conflict do nothing;
    perform from task.usage u where u.account_id = account and u.user_id = any(members) order by u.user_id for update;
    return query
        select u.user_id, greatest(u.open_tasks + coalesce(
            (select sum(c.change) from task.usage_changes c where c.account_id = account and c.user_id = u.user_id), 0
        ), 0)::integer
        from task.usage u where u.account_id = account and u.user_id = any(members);
end $$;

-- Adds the lines of these members to their counters, and answers how many each has made then; null for those whose
-- counter somebody holds: who waits must not hold others meanwhile. A counter is held from before its lines are read, so
-- each is added once.
create function fold_usage(account uuid, members uuid[]) returns table (member uuid, open_tasks integer)
language plpgsql as $$
declare
    changed uuid[] := array(
        select distinct user_id from task.usage_changes where account_id = account and user_id = any(members)
    );
    free uuid[];
begin
    insert into task.usage (account_id, user_id, open_tasks)
    select account, m, 0 from unnest(changed) as m order by m on conflict do nothing;
    free := array(
        select user_id from task.usage where account_id = account and user_id = any(changed)
        order by user_id for update skip locked
    );
    return query
        with taken as (
            delete from task.usage_changes where account_id = account and user_id = any(free) returning user_id, change
        ), sums as (
            select user_id, sum(change)::integer as change from taken group by user_id
        )
        update task.usage u set open_tasks = u.open_tasks + sums.change
        from sums where u.account_id = account and u.user_id = sums.user_id
        returning u.user_id, greatest(u.open_tasks, 0);
    return query select m, null::integer from unnest(changed) as m where m <> all(free);
end $$;
