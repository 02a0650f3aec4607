-- People and their sessions. People belong to no account, so these tables have no tenant; every query
-- names the user or the token that it is about.

create table users (
    id                uuid primary key,
    email             text not null,
    -- The address in lower case: what makes it one person's.
    email_key         text not null constraint users_email_key unique,
    password_hash     text not null,
    first_name        text not null,
    last_name         text not null,
    email_verified_at timestamptz,
    -- Part of the activation link. Registering again with an unconfirmed address changes it, which ends
    -- the links mailed before.
    activation_nonce  uuid not null,
    created_at        timestamptz not null,
    updated_at        timestamptz not null
);

create table sessions (
    id           uuid primary key,
    user_id      uuid not null references users (id) on delete cascade,
    created_at   timestamptz not null,
    last_used_at timestamptz not null,
    expires_at   timestamptz not null,
    closed_at    timestamptz,
    close_reason text constraint sessions_close_reason check (close_reason in ('logout', 'reuse'))
);
create index sessions_of_user on sessions (user_id, created_at);
create index sessions_expiry on sessions (expires_at);

create table refresh_tokens (
    -- SHA-256 of the token; the token itself is only ever with the client.
    hash       bytea primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    created_at timestamptz not null,
    used_at    timestamptz
);
create index refresh_tokens_of_session on refresh_tokens (session_id);
