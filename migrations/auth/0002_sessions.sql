-- Where people are signed in, how refresh tokens follow each other, and what happened to their sign-in.

alter table sessions
    -- How the person proved who they are when the session was opened (RFC 8176): `pwd`, `otp`, ...
    add column amr text[] not null default '{pwd}',
    -- What signed in, as people know it: `Firefox on Linux`.
    add column device text not null default '',
    -- Where the session was last refreshed from.
    add column address text,
    -- Where it was opened from: an IPv4 address, or the /64 of an IPv6 address.
    add column network text,
    -- Refresh tokens that follow the same token are a generation. The newest one, when its first token was
    -- made, and how many it has.
    add column generation integer not null default 1,
    add column generation_at timestamptz not null default '-infinity',
    add column generation_tokens integer not null default 1,
    drop constraint sessions_close_reason,
    add constraint sessions_close_reason check (close_reason in
        ('logout', 'reuse', 'revoked', 'password', 'email', 'second_factor', 'deactivated', 'deleted'));
-- Open sessions of a person, and whether they came from somewhere before.
drop index sessions_of_user;
create index sessions_of_user on sessions (user_id, id);

alter table refresh_tokens add column generation integer not null default 1;
update refresh_tokens set generation = 0 where used_at is not null;
create index refresh_tokens_age on refresh_tokens (created_at);

create table auth_events (
    id         uuid primary key,
    -- Registering again with an unconfirmed address changes the id.
    user_id    uuid not null references users (id) on delete cascade on update cascade,
    kind       text not null,
    -- Without a reference: the event outlives the session.
    session_id uuid,
    address    text,
    user_agent text not null,
    created_at timestamptz not null
);
create index auth_events_of_user on auth_events (user_id, id);
create index auth_events_age on auth_events (created_at);
