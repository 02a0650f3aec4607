-- Accounts that are branded, set up, suspended and given up; settings; invitations that are sent again.

alter table accounts
    add column version               integer not null default 1,
    add column brand_primary_color   text
        constraint accounts_primary_color check (brand_primary_color ~ '^#[0-9a-f]{6}$'),
    add column brand_accent_color    text
        constraint accounts_accent_color check (brand_accent_color ~ '^#[0-9a-f]{6}$'),
    add column brand_logo_url        text
        constraint accounts_logo_url check (brand_logo_url ~ '^https://' and char_length(brand_logo_url) <= 2048),
    add column trial_ends_at         timestamptz,
    add column subscription_ends_at  timestamptz,
    add column suspended_at          timestamptz,
    -- When a given-up account is deleted for good.
    add column deletes_at            timestamptz,
    add column rejection_enabled     boolean not null default true,
    add column require_second_factor boolean not null default false,
    -- Seven days, from Monday, each with its stretches in order: [from, to] in minutes of the day.
    add column working_hours         jsonb not null default
        '[[[540, 1020]], [[540, 1020]], [[540, 1020]], [[540, 1020]], [[540, 1020]], [], []]',
    add column timezone              text not null default 'UTC',
    add column default_visibility    text not null default 'private'
        constraint accounts_default_visibility check (default_visibility in ('private', 'team', 'account')),
    add column ai_enabled            boolean not null default true,
    add column analytics_enabled     boolean not null default false,
    add column one_running_timer     boolean not null default false;

-- The status says the same as the times.
alter table accounts
    add constraint accounts_suspended check (status <> 'suspended' or suspended_at is not null),
    add constraint accounts_canceled check ((status = 'canceled') = (deletes_at is not null));

-- Which are to be deleted by now.
create index accounts_to_delete on accounts (deletes_at) where deletes_at is not null;

-- Invitations that have run out are found by age, whatever the account.
create index memberships_invitations_age on memberships (invited_at) where status = 'invited';

-- When an address was last mailed an invitation that was taken back: one mail a minute holds for it as well.
create index memberships_mailed on memberships (account_id, email_key, invited_at)
    where status = 'removed' and joined_at is null;
