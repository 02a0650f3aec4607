-- Accounts, which are the tenants, and who belongs to them.

create table accounts (
    id                    uuid primary key,
    name                  text not null constraint accounts_name_length check (char_length(name) between 1 and 100),
    slug                  text not null constraint accounts_slug_unique unique
                              constraint accounts_slug_form check (slug ~ '^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$'),
    subscription_tier     text not null default 'free'
                              constraint accounts_subscription_tier check (subscription_tier in ('free', 'pro', 'enterprise')),
    status                text not null default 'active'
                              constraint accounts_status check (status in ('active', 'suspended', 'canceled')),
    managers_may_reassign boolean not null default false,
    created_at            timestamptz not null,
    updated_at            timestamptz not null
);

-- One row for a person's time in an account, from the invitation to the removal. Someone who comes back
-- gets a new row.
create table memberships (
    id                 uuid primary key,
    account_id         uuid not null constraint memberships_account references accounts (id) on delete cascade,
    -- Null until the invitation is accepted.
    user_id            uuid,
    email              text not null,
    -- The address in lower case: what makes it one person's.
    email_key          text not null,
    role               text not null
                           constraint memberships_role check (role in ('user', 'manager', 'super_manager', 'owner')),
    status             text not null constraint memberships_status check (status in ('invited', 'active', 'removed')),
    -- User id of the member they report to.
    manager_id         uuid,
    can_reassign_tasks boolean not null default false,
    -- User id of the inviter; null for who created the account.
    invited_by         uuid,
    invited_at         timestamptz not null,
    joined_at          timestamptz,
    left_at            timestamptz,
    version            integer not null default 1,
    constraint memberships_owner_has_no_manager check (role <> 'owner' or manager_id is null),
    constraint memberships_active_is_someone check (status <> 'active' or (user_id is not null and joined_at is not null))
);
create unique index memberships_one_per_user on memberships (account_id, user_id) where status = 'active';
create unique index memberships_one_per_email on memberships (account_id, email_key) where status in ('invited', 'active');
-- The list of members.
create index memberships_of_account on memberships (account_id, invited_at, id);
-- A person's accounts, the default one first.
create index memberships_of_user on memberships (user_id, joined_at, id) where status = 'active';
-- Who reports to someone.
create index memberships_of_manager on memberships (account_id, manager_id) where status in ('invited', 'active');
-- Few rows: whether an owner remains.
create index memberships_owners on memberships (account_id) where status = 'active' and role = 'owner';

call protect_tenant_table('memberships');
-- A person may see where they belong, whichever account the call is about: that is how their default
-- account is found.
create policy own on memberships for select to baton_tenancy
    using (user_id = (select nullif(current_setting('baton.user_id', true), '')::uuid));

-- The account is its own tenant.
alter table accounts enable row level security;
alter table accounts force row level security;
create policy tenant on accounts to baton_tenancy
    using (id = (select nullif(current_setting('baton.account_id', true), '')::uuid));
create policy own on accounts for select to baton_tenancy
    using (id in (select m.account_id from memberships m
                  where m.status = 'active'
                    and m.user_id = (select nullif(current_setting('baton.user_id', true), '')::uuid)));
create policy system on accounts to baton_tenancy_system using (true);
