-- The activity log: what happened in every account, a row per event of any service. The roles of the service
-- add to it and read it; none of them can change or delete a row, and the owner of the schema deletes only
-- whole partitions that are old enough, by the function below.

-- The last place taken in each account's log. Its row is locked by whoever appends: so places have no gaps,
-- and one account's rows are numbered in the order in which they are committed. No foreign key: the log
-- outlives the account.
create table activity_heads (
    account_id uuid primary key,
    last_seq   bigint not null
);
call protect_tenant_table('activity_heads');
-- A head that could be deleted would let the log begin again.
revoke delete on activity_heads from baton_tenancy, baton_tenancy_system;

create table activity_logs (
    account_id     uuid not null,
    -- Place in the account's log, from 1.
    seq            bigint not null,
    -- When the place was taken, by the database's clock, which also makes and drops the partitions. Grows with `seq`: what is dropped is the beginning of a log, never a part from within.
    recorded_at    timestamptz not null,
    -- The event's. That an event is logged once is the inbox's work: a unique index would have to span
    -- partitions.
    id             uuid not null,
    occurred_at    timestamptz not null,
    -- Null when the platform acted.
    actor_id       uuid,
    action         text not null,
    resource_type  text not null,
    resource_id    uuid not null,
    changed_fields text[] not null,
    -- Ids, states and numbers of the event, by name; values are text.
    details        jsonb not null,
    address        text,
    user_agent     text,
    request_id     text,
    -- RFC 6962, section 2.1: SHA-256 of 0x00 and the row's canonical bytes (services/tenancy/src/activity.rs).
    leaf_hash      bytea not null constraint activity_logs_leaf_hash check (octet_length(leaf_hash) = 32),
    primary key (account_id, seq, recorded_at)
) partition by range (recorded_at);

-- Who did it; to what; what: each list by time, and within a stretch of time. Every list is of what was
-- recorded lately enough, so with that time in them they count without a look at the rows.
create index activity_logs_of_actor on activity_logs (account_id, actor_id, occurred_at, seq) include (recorded_at);
create index activity_logs_of_resource on activity_logs (account_id, resource_id, occurred_at, seq)
    include (recorded_at, resource_type);
create index activity_logs_of_type on activity_logs (account_id, resource_type, occurred_at, seq) include (recorded_at);
create index activity_logs_of_action on activity_logs (account_id, action, occurred_at, seq) include (recorded_at);
-- Also answers all figures by day, hour and action in the same way.
create index activity_logs_by_time on activity_logs (account_id, occurred_at, seq)
    include (recorded_at, action, actor_id);

call protect_tenant_table('activity_logs');
revoke update, delete on activity_logs from baton_tenancy, baton_tenancy_system;

-- Makes the partitions of this week and the four to come, and drops those whose last row is older than
-- `keep_days`. It runs as the owner of the schema, and it is all that the service can do to old rows: it takes
-- its time from the database and refuses to keep less than 30 days. Partitions are weeks, so rows go at most a
-- week after their time. They have names with an underscore, as what no query names; the service's roles have
-- no right to them but through `activity_logs`.
create function keep_activity(keep_days integer) returns integer
    language plpgsql security definer set search_path = tenancy, pg_temp set lock_timeout = '2s' as $$
declare
    week    timestamptz := date_trunc('week', now(), 'UTC');
    name    text;
    dropped integer := 0;
begin
    if keep_days < 30 then
        raise exception 'the activity log is kept for 30 days at least' using errcode = 'check_violation';
    end if;
    perform pg_advisory_xact_lock(hashtext('tenancy.keep_activity'));
    for starts in 0..4 loop
        name := '_activity_logs_' || to_char((week + starts * interval '7 days') at time zone 'UTC', 'YYYYMMDD');
        continue when to_regclass(name) is not null;
        execute format('create table %I partition of activity_logs for values from (%L) to (%L)',
                       name, week + starts * interval '7 days', week + (starts + 1) * interval '7 days');
        execute format('revoke all on %I from baton_tenancy, baton_tenancy_system', name);
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
    end loop;
    for name in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'activity_logs'::regclass and c.relname ~ '^_activity_logs_\d{8}$'
          and to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp at time zone 'UTC' + interval '7 days'
              <= now() - make_interval(days => keep_days)
    loop
        execute format('drop table %I', name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end $$;
revoke all on function keep_activity(integer) from public;
grant execute on function keep_activity(integer) to baton_tenancy_system;
select keep_activity(90);

-- Whether a person ever belonged.
create index memberships_of_person on memberships (account_id, user_id) where user_id is not null;
-- Who came and who left, by week.
create index memberships_joined on memberships (account_id, joined_at) where joined_at is not null;
create index memberships_left on memberships (account_id, left_at) where left_at is not null;
