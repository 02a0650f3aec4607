-- Calls of URLs that rules make. One message may be sent several times, until the receiver has accepted it.
create table webhook_deliveries (
    -- Id of the message: the same for every attempt.
    id            uuid primary key,
    account_id    uuid not null,
    rule_id       uuid not null constraint webhook_deliveries_rule references rules (id) on delete cascade,
    execution_id  uuid not null constraint webhook_deliveries_execution references executions (id) on delete cascade,
    -- With whose rights the rule acts.
    created_by    uuid not null,
    terms_version integer not null,
    -- Index of the action.
    action        integer not null,
    status        text not null default 'pending'
                      constraint webhook_deliveries_status check (status in ('pending', 'delivered', 'failed', 'canceled')),
    -- What is sent, and where; null when it has ended.
    url           text,
    sealed_secret text,
    payload       text,
    attempts      integer not null default 0,
    -- The receiver's last answer.
    status_code   integer,
    -- Why the last attempt failed.
    reason        text,
    -- Until when an attempt may be under way, by the clock of the database; null when none is.
    sending_until timestamptz,
    created_at    timestamptz not null,
    ended_at      timestamptz,
    constraint webhook_deliveries_end check ((ended_at is null) = (status = 'pending')),
    constraint webhook_deliveries_content check (
        (ended_at is null) = (url is not null) and (url is null) = (sealed_secret is null) and (url is null) = (payload is null))
);
create index webhook_deliveries_of_execution on webhook_deliveries (execution_id, action, created_at);
create index webhook_deliveries_pending on webhook_deliveries (account_id, rule_id) where ended_at is null;
create index webhook_deliveries_of_rule on webhook_deliveries (rule_id);
create index webhook_deliveries_of_person on webhook_deliveries (created_by, id);
create index webhook_deliveries_unfinished on webhook_deliveries (created_at) where ended_at is null;
create index webhook_deliveries_by_age on webhook_deliveries (created_at);
call protect_tenant_table('webhook_deliveries');

-- Sealed secrets of the actions that call URLs, by the index of the action.
alter table rules add column webhook_secrets jsonb not null default '{}';

alter table rules drop constraint rules_paused_reason;
alter table rules add constraint rules_paused_reason
    check (paused_reason in ('creator_left', 'refused', 'loop_suspected', 'webhook_gone'));

-- The serving role deletes nothing.
do $$
begin
    execute format('revoke delete on webhook_deliveries from %I', 'baton_' || current_schema);
end $$;
