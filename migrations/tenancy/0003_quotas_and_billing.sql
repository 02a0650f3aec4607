-- What accounts may use, what they use, and what they pay.

-- Of one account: another limit than its tier's. Null is the tier's.
alter table accounts
    add column max_users                 integer constraint accounts_max_users check (max_users >= 0),
    add column max_open_tasks_per_user   integer constraint accounts_max_open_tasks_per_user check (max_open_tasks_per_user >= 0),
    add column max_storage_mebibytes     integer constraint accounts_max_storage_mebibytes check (max_storage_mebibytes >= 0),
    add column max_ai_tokens_per_month   integer constraint accounts_max_ai_tokens_per_month check (max_ai_tokens_per_month >= 0),
    add column max_api_requests_per_hour integer constraint accounts_max_api_requests_per_hour check (max_api_requests_per_hour >= 0);

-- What other services have counted, as they last said. Members are not here: they are counted where they are.
create table usage (
    account_id uuid not null constraint usage_account references accounts (id) on delete cascade,
    quota      text not null constraint usage_quota check (quota in ('open_tasks_per_user', 'storage_mebibytes', 'ai_tokens_per_month')),
    -- Whose use it is; nil for the whole account's.
    user_id    uuid not null,
    used       integer not null constraint usage_used check (used >= 0),
    changed_at timestamptz not null,
    primary key (account_id, quota, user_id)
);
-- Who uses most.
create index usage_most on usage (account_id, quota, used desc);
call protect_tenant_table('usage');

-- What the owners were told of: 80 and 100 percent, once until usage has fallen well below.
create table usage_warnings (
    account_id uuid not null constraint usage_warnings_account references accounts (id) on delete cascade,
    quota      text not null constraint usage_warnings_quota check (quota in ('users', 'open_tasks_per_user', 'storage_mebibytes', 'ai_tokens_per_month')),
    user_id    uuid not null,
    percent    smallint not null constraint usage_warnings_percent check (percent in (80, 100)),
    warned_at  timestamptz not null,
    constraint usage_warnings_once primary key (account_id, quota, user_id, percent)
);
call protect_tenant_table('usage_warnings');

-- Accounts' subscriptions, as Stripe tells them, by Stripe's id.
create table subscriptions (
    id                   text primary key,
    account_id           uuid not null constraint subscriptions_account references accounts (id) on delete cascade,
    customer_id          text not null,
    -- Null until Stripe has said.
    status               text constraint subscriptions_status check (status in (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'canceled', 'paused')),
    price_id             text,
    -- What the price buys.
    tier                 text not null constraint subscriptions_tier check (tier in ('free', 'pro', 'enterprise')),
    current_period_end   timestamptz,
    cancel_at_period_end boolean not null,
    trial_ends_at        timestamptz,
    -- When Stripe made the event that all this comes from: an older one changes it no more.
    status_at            timestamptz,
    -- The latest time at which payment was in order, the first failure after it, and the last.
    healthy_at           timestamptz,
    failing_since        timestamptz,
    failed_at            timestamptz,
    -- When it buys nothing any more unless a payment comes in; null when that does not threaten, or has come.
    lapses_at            timestamptz
);
create index subscriptions_of_account on subscriptions (account_id);
create index subscriptions_of_customer on subscriptions (customer_id);
-- Whose grace is over.
create index subscriptions_lapsing on subscriptions (lapses_at) where lapses_at is not null;
call protect_tenant_table('subscriptions');

-- Events of Stripe's that were taken in, by Stripe's id: each counts once. They belong to no tenant.
create table stripe_events (
    id          text primary key,
    type        text not null,
    created_at  timestamptz not null,
    received_at timestamptz not null
);
create index stripe_events_age on stripe_events (received_at);
do $$
begin
    execute format('revoke update, delete on stripe_events from %I', 'baton_' || current_schema);
end $$;
