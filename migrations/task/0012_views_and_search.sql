-- The manual order, saved views, and full-text search.

-- Every task has a place of its own in the manual order. New ones get it from their id, as `src/rank.rs` says; so do
-- those that are there, and those of the version before this one.
alter table tasks no force row level security;
update tasks set rank = 'V' || replace(id::text, '-', '') || 'V' where rank is null;
alter table tasks force row level security;
alter table tasks alter column rank set not null;
create unique index tasks_rank on tasks (account_id, rank);

create function keep_rank() returns trigger language plpgsql as $$
begin
    new.rank := 'V' || replace(new.id::text, '-', '') || 'V';
    return new;
end $$;
create trigger tasks_ranked before insert on tasks for each row when (new.rank is null) execute function keep_rank();

-- Views that people saved: which list or board, how it looks, and its filter.
create table saved_views (
    id         uuid primary key,
    account_id uuid not null,
    owner_id   uuid not null,
    name       text not null constraint saved_views_length check (char_length(name) between 1 and 100),
    source     text not null constraint saved_views_source check (source in ('my', 'user', 'team', 'account', 'list')),
    -- Whose board.
    user_id    uuid,
    look       text not null constraint saved_views_look check (look in ('kanban', 'calendar', 'timeline')),
    -- The filter's fields, as REST names them.
    filter     jsonb not null,
    visibility text not null constraint saved_views_visibility check (visibility in ('private', 'shared')),
    position   integer not null constraint saved_views_position check (position >= 0),
    version    integer not null constraint saved_views_version check (version >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint saved_views_user check ((source = 'user') = (user_id is not null))
);
create unique index saved_views_name on saved_views (account_id, owner_id, lower(name));
create index saved_views_of_owner on saved_views (account_id, owner_id, position, id);
create index saved_views_shared on saved_views (account_id, id) where visibility = 'shared';
call protect_tenant_table('saved_views');

-- Both are in every Postgres, and trusted: the schema's owner may create them. Of one schema at a time, so names are
-- found where the first one put them.
create extension if not exists btree_gin;
create extension if not exists pg_trgm;

-- Which language an account's tasks are searched in: the name of a text search configuration. English where nothing
-- is said.
create table search_settings (
    account_id uuid primary key,
    language   text not null,
    config     text not null
);
call protect_tenant_table('search_settings');

-- In PL/pgSQL, which keeps its plan: Postgres plans an SQL function with a subquery each time that it is called, and
-- this is part of every change.
create function search_config(account uuid) returns regconfig language plpgsql stable as $$
begin
    return coalesce((select config from task.search_settings where account_id = account), 'pg_catalog.english')::regconfig;
end $$;

-- What is looked through, a row per task, apart from the tasks so that these stay small. Kept by the database itself,
-- as an index would be: whatever changes tasks or comments changes it.
create table task_search (
    account_id uuid not null,
    -- Year and month of the task's creation, as year * 12 + month: the newest are looked through first.
    month      integer not null,
    task_id    uuid not null,
    -- Who sees it, as numbers: see `search_audience`.
    audience   bigint[] not null,
    document   tsvector not null,
    -- Title and tags, in lower case: for words that are spelled alike.
    words      text not null,
    primary key (account_id, month, task_id)
);
call protect_tenant_table('task_search');
-- Row-level security keeps Postgres from using an index for operators that are not leakproof: none of text search is.
-- So the search functions below run as the owner of this table, whom it does not bind, and take the account from where
-- the policies take it.
alter table task_search no force row level security;
-- A short list of what is pending: half a thousand changes are sorted in at once, which is three times as fast as each
-- by itself, and searches have little to walk through.
create index task_search_document on task_search using gin (account_id, month, document, audience)
    with (gin_pending_list_limit = 512);
do $$
declare
    trigrams text := (select format('%I.gin_trgm_ops', n.nspname) from pg_extension e
                      join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm');
begin
    execute format('create index task_search_words on task_search using gin (account_id, words %s) with (gin_pending_list_limit = 512)', trigrams);
end $$;

create function search_month(at timestamptz) returns integer language sql immutable as $$
    select extract(year from at at time zone 'UTC')::integer * 12 + extract(month from at at time zone 'UTC')::integer
$$;

-- Who sees a task, besides those who run the account: creator and holder with those above them, their teams when it is
-- visible to teams, everyone when to the account. Numbers are smaller than ids; two that are the same by chance are
-- told apart when the tasks themselves are read.
create function search_audience(people uuid[], team boolean) returns bigint[] language sql immutable as $$
    select array(select hashtextextended(person::text, team::integer) from unnest(people) person where person is not null)
$$;

-- The same for a task's creator and holder, as an expression that becomes part of the statement.
create function search_audience(creator uuid, holder uuid, team boolean) returns bigint[] language sql immutable as $$
    select array_remove(array[hashtextextended(creator::text, team::integer), hashtextextended(holder::text, team::integer)], null)
$$;

-- Only as `stable` as `array_to_string` is: said to be immutable, it would not become part of the statement.
create function search_document(config regconfig, title text, tags text[], description text) returns tsvector
language sql stable as $$
    select setweight(to_tsvector(config, title), 'A') || setweight(to_tsvector(config, array_to_string(tags, ' ')), 'B')
        || setweight(to_tsvector(config, description), 'C')
$$;

-- Comments of a task, the newest first, as far as there is room: a document has its limits.
create function search_comments(config regconfig, account uuid, task uuid) returns tsvector language sql stable as $$
    select coalesce(setweight(to_tsvector(config, left(string_agg(body, E'\n'), 100000)), 'D'), '')
    from (select body from task.comments where account_id = account and task_id = task and body <> ''
          order by id desc limit 200) newest
$$;

-- Reads a task anew.
create function keep_search() returns trigger language plpgsql as $$
declare
    config regconfig := task.search_config(new.account_id);
    seers bigint[] := task.search_audience(new.created_by, new.assigned_to, false) || case new.visibility
        when 'account' then array[0::bigint]
        when 'team' then task.search_audience(new.created_by, new.assigned_to, true)
        else '{}' end;
    document tsvector;
begin
    if tg_op = 'UPDATE' and new.title = old.title and new.description = old.description and new.tags = old.tags then
        update task.task_search set audience = seers
        where account_id = new.account_id and month = task.search_month(new.created_at) and task_id = new.id;
        return null;
    end if;
    document := task.search_document(config, new.title, new.tags, new.description);
    if tg_op = 'UPDATE' then
        document := document || task.search_comments(config, new.account_id, new.id);
    end if;
    insert into task.task_search as s (account_id, month, task_id, audience, document, words)
    values (new.account_id, task.search_month(new.created_at), new.id, seers, document,
            lower(new.title || ' ' || array_to_string(new.tags, ' ')))
    on conflict (account_id, month, task_id) do update
        set audience = excluded.audience, document = excluded.document, words = excluded.words;
    return null;
end $$;
create trigger tasks_searched after insert on tasks for each row execute function keep_search();
create trigger tasks_searched_anew after update of title, description, tags, visibility, assigned_to on tasks for each row
    when (old.title <> new.title or old.description <> new.description or old.tags <> new.tags
          or old.visibility <> new.visibility or old.assigned_to is distinct from new.assigned_to)
    execute function keep_search();

create function forget_search() returns trigger language plpgsql as $$
begin
    delete from task.task_search
    where account_id = old.account_id and month = task.search_month(old.created_at) and task_id = old.id;
    return null;
end $$;
create trigger tasks_not_searched after delete on tasks for each row execute function forget_search();

-- A new comment is appended; what was edited or deleted is read anew with all others.
create function keep_comment_search() returns trigger language plpgsql as $$
declare
    account uuid := coalesce(new.account_id, old.account_id);
    task uuid := coalesce(new.task_id, old.task_id);
    config regconfig := task.search_config(account);
begin
    -- What Postgres finds too long for a document is not looked through; the comment itself is kept.
    update task.task_search s set document = case
        when tg_op = 'INSERT' and length(s.document) < 5000
            then s.document || setweight(to_tsvector(config, new.body), 'D')
        else task.search_document(config, t.title, t.tags, t.description) || task.search_comments(config, account, task)
        end
    from task.tasks t
    where t.account_id = account and t.id = task
      and s.account_id = account and s.month = task.search_month(t.created_at) and s.task_id = task;
    return null;
exception when program_limit_exceeded then
    return null;
end $$;
create trigger comments_searched after insert or delete or update of body on comments for each row
    execute function keep_comment_search();

-- What somebody typed: words and phrases as web search engines read them, and the last word as the begin of one.
create function search_query(config regconfig, typed text, last text) returns tsquery language sql immutable as $$
    select case when last = '' then websearch_to_tsquery(config, typed)
                else websearch_to_tsquery(config, typed) && to_tsquery(config, '''' || last || ''':*') end
$$;

-- The words to mark in what was found: any of them, but for those that must not be there.
create function search_marks(query tsquery) returns tsquery language sql immutable as $$
    select replace(querytree(query), ' & ', ' | ')::tsquery
$$;

-- The newest tasks of the transaction's account that match and may be seen by somebody with these numbers (null: by who
-- sees all), at most so many; month by month, so that a word that many tasks have costs no more than a rare one.
create function search_tasks(typed text, last text, own uuid[], close uuid[], most integer)
returns table (id uuid, score real) language plpgsql stable security definer rows 1000
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
    account uuid := nullif(current_setting('baton.account_id', true), '')::uuid;
    query tsquery := task.search_query(task.search_config(account), typed, last);
    seers bigint[] := case when own is not null
        then task.search_audience(own, false) || task.search_audience(close, true) || 0::bigint end;
    slice integer := (select max(s.month) from task.task_search s where s.account_id = account);
    found integer;
begin
    while slice is not null and most > 0 loop
        if seers is null then
            return query select s.task_id, ts_rank_cd(s.document, query, 1) from task.task_search s
                where s.account_id = account and s.month = slice and s.document @@ query limit most;
        else
            return query select s.task_id, ts_rank_cd(s.document, query, 1) from task.task_search s
                where s.account_id = account and s.month = slice and s.document @@ query and s.audience && seers limit most;
        end if;
        get diagnostics found = row_count;
        most := most - found;
        slice := (select max(s.month) from task.task_search s where s.account_id = account and s.month < slice);
    end loop;
end $$;

-- The same for titles and tags with words that are spelled like these: only the most alike, as there is no order to find
-- them in.
-- By the index of words, whatever the planner hopes: when it takes a tenth of all rows to be alike, it reads them in the order
-- of their keys until there are enough, which compares twenty thousand texts.
do $$
declare
    home text := (select format('%I', n.nspname) from pg_extension e
                  join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm');
begin
    execute replace($function$
create function search_alike(typed text, own uuid[], close uuid[], most integer)
returns table (id uuid, score real) language plpgsql stable security definer rows 1000
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set enable_indexscan = off
set pg_trgm.word_similarity_threshold = 0.5 as $body$
declare
    account uuid := nullif(current_setting('baton.account_id', true), '')::uuid;
    seers bigint[] := case when own is not null
        then task.search_audience(own, false) || task.search_audience(close, true) || 0::bigint end;
    alike text;
begin
    foreach alike in array array['0.7', '0.6', '0.5'] loop
        perform set_config('pg_trgm.word_similarity_threshold', alike, true);
        return query select s.task_id, HOME.word_similarity(lower(typed), s.words) from task.task_search s
            where s.account_id = account and lower(typed) operator(HOME.<%) s.words
              and (seers is null or s.audience && seers) limit most;
        exit when found;
    end loop;
end $body$ $function$, 'HOME', home);
end $$;

-- These two read rows that no policy guards: nobody but the service calls them.
do $$
declare
    app text := 'baton_' || current_schema;
begin
    revoke execute on function search_tasks(text, text, uuid[], uuid[], integer) from public;
    revoke execute on function search_alike(text, uuid[], uuid[], integer) from public;
    execute format('grant execute on function search_tasks(text, text, uuid[], uuid[], integer) to %I', app);
    execute format('grant execute on function search_alike(text, uuid[], uuid[], integer) to %I', app);
end $$;

-- Those that are there.
alter table tasks no force row level security;
alter table comments no force row level security;
insert into task_search (account_id, month, task_id, audience, document, words)
select account_id, search_month(created_at), id,
       search_audience(created_by, assigned_to, false) || case visibility
           when 'account' then array[0::bigint]
           when 'team' then search_audience(created_by, assigned_to, true)
           else '{}' end,
       search_document('pg_catalog.english', title, tags, description) || search_comments('pg_catalog.english', account_id, id),
       lower(title || ' ' || array_to_string(tags, ' '))
from tasks;
alter table tasks force row level security;
alter table comments force row level security;

-- What a timeline shows: it ends after the range begins.
create index tasks_by_end on tasks (account_id, (coalesce(completed_at, canceled_at, due_at, 'infinity'))) where deleted_at is null;
