-- A million tasks of 200 members in the benchmark's account, as after two years of work.
-- The benchmark replaces :account and the four users who can sign in; the other 196 only create tasks and have tasks
-- assigned.
create temporary table people as
select n, case n when 1 then :owner when 2 then :super_manager when 3 then :manager when 4 then :user
          else ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid end as id
from generate_series(1, 200) n;
create unique index on people (n);

-- Twenty of them report to the manager.
insert into tenancy.memberships (id, account_id, user_id, email, email_key, role, status, manager_id, invited_at, joined_at)
select id, :account, id, 'member' || n || '@example.org', 'member' || n || '@example.org', 'user', 'active',
       case when n <= 24 then :manager end, now(), now()
from people where n > 4;

-- The work of row triggers is done in bulk below.
alter table task.tasks disable trigger user;
insert into task.tasks (id, account_id, title, description, status, priority, visibility, due_at, tags, custom_fields,
                        created_by, assigned_to, assigned_by, accepted_at, estimated_seconds, actual_seconds,
                        running_since, pause_reason, version, created_at, updated_at, started_at, completed_at, rank)
select ('019' || lpad(to_hex(number * 65536), 9, '0') || '70008000000000000000')::uuid, :account,
       initcap(verb[1 + number % 10]) || ' the ' || noun[1 + (number / 10) % 20] || ' ' || number,
       'Please ' || verb[1 + (number / 3) % 10] || ' the ' || noun[1 + (number / 7) % 20] || ' before the ' || noun[1 + (number / 11) % 20] ||
       ' meets the ' || noun[1 + (number / 13) % 20] || repeat('. Ask whoever did it the last time how it is done', 3),
       status, 1 + number % 4, (array['private', 'private', 'private', 'private', 'private', 'private', 'team', 'team', 'team', 'account'])[1 + number % 10],
       case when number % 10 < 7 then made + (number % 60) * interval '1 day' end,
       array['batch' || number % 100, 'group' || number % 7], '{}',
       creator.id, holder.id, case when holder.id <> creator.id then creator.id end, case when holder.id is not null then made end,
       3600, 0, case status when 'in_progress' then made end, case status when 'paused' then 'Waiting' end,
       1, made, made + (number % 30) * interval '1 day', null, case status when 'completed' then made end,
       lpad(number::text, 8, '0')
from (
    select number, to_timestamp((x'019000000000'::bigint + number * 65536) / 1000.0) as made,
           (array['pending', 'pending', 'pending', 'in_progress', 'paused', 'completed', 'completed', 'completed', 'completed', 'completed'])[1 + number / 7 % 10] as status,
           array['write', 'review', 'repair', 'order', 'clean', 'plan', 'deploy', 'measure', 'call', 'archive'] as verb,
           array['report', 'invoice', 'server', 'printer', 'budget', 'customer', 'meeting', 'contract', 'design', 'backup',
                 'travel', 'network', 'release', 'password', 'office', 'training', 'warehouse', 'licence', 'vendor', 'survey'] as noun
    from generate_series(1, 1000000::bigint) number
) made
join people creator on creator.n = 1 + (number * 7919) % 200
left join people holder on number % 5 > 0 and holder.n = 1 + (number * 104729) % 200;
alter table task.tasks enable trigger user;

insert into task.task_tags (account_id, tag, task_id) select account_id, tag, id from task.tasks, unnest(tags) tag;

-- Larger pending lists of the search indexes during the load, the default afterwards.
set maintenance_work_mem = '1GB';
alter index task.task_search_document set (gin_pending_list_limit = 2097151);
alter index task.task_search_words set (gin_pending_list_limit = 2097151);
insert into task.task_search (account_id, month, task_id, audience, document, words)
select account_id, task.search_month(created_at), id,
       task.search_audience(created_by, assigned_to, false) || case visibility
           when 'account' then array[0::bigint]
           when 'team' then task.search_audience(created_by, assigned_to, true)
           else '{}' end,
       task.search_document('pg_catalog.english', title, tags, description), task.search_line(title, tags)
from task.tasks;
select gin_clean_pending_list('task.task_search_document'), gin_clean_pending_list('task.task_search_words');
alter index task.task_search_document set (gin_pending_list_limit = 512);
alter index task.task_search_words set (gin_pending_list_limit = 512);
