-- What people say about themselves, when they signed in, and the links that are mailed to them.

alter table users
    -- Null for those who sign in through an identity provider only.
    alter column password_hash drop not null,
    -- A session that is about to open for an older password does not.
    add column password_changed_at timestamptz,
    -- When the newest activation link was asked for; null when that was at registering.
    add column activation_at timestamptz,
    add column mobile text not null default '',
    add column avatar_url text not null default '',
    add column company text not null default '',
    add column job_role text not null default '',
    add column timezone text not null default 'UTC',
    add column language text not null default 'en',
    add column preferences jsonb not null default '{}',
    add column consent_version integer not null default 0,
    add column sign_in_count integer not null default 0,
    add column current_sign_in_at timestamptz,
    add column current_sign_in_address text,
    add column last_sign_in_at timestamptz,
    add column last_sign_in_address text,
    add column deactivated_at timestamptz,
    -- Until when a deactivation can be taken back.
    add column data_retention_date timestamptz,
    add column version integer not null default 1;
-- For the sweep of those who never confirmed their address.
create index users_unconfirmed on users ((coalesce(activation_at, created_at))) where email_verified_at is null;

-- The newest link of each purpose that was mailed to a person. Asking again replaces it, using it removes it.
-- The link is an HMAC over user and nonce, so nothing here lets anyone in.
create table links (
    -- Registering again with an unconfirmed address changes the id.
    user_id    uuid not null references users (id) on delete cascade on update cascade,
    purpose    text not null constraint links_purpose
                   check (purpose in ('password_reset', 'email_change', 'email_changed', 'reactivation')),
    nonce      uuid not null,
    -- For `email_change` the new address, which the link is mailed to; for `email_changed` the oldest one
    -- before that has not been told of it yet.
    email      text,
    expires_at timestamptz not null,
    primary key (user_id, purpose)
);
create index links_expiry on links (expires_at);
