-- The second factor of a person: TOTP (RFC 6238), and recovery codes for when the app is lost.

create table second_factors (
    user_id        uuid primary key references users (id) on delete cascade on update cascade,
    -- What signing in asks for. Sealed (`baton_sealing`), as is `pending_secret`; null until one is confirmed.
    secret         bytea,
    enabled_at     timestamptz,
    -- A new secret that waits for its first code. Signing in does not know it.
    pending_secret bytea,
    pending_until  timestamptz,
    -- Time step of the newest code that was taken: it and older ones have had their turn.
    last_step      bigint not null default 0,
    -- Wrong codes in a row, over all sign-ins and sessions, and until when no other is looked at.
    wrong_codes    integer not null default 0,
    blocked_until  timestamptz,
    constraint second_factors_enabled check ((secret is null) = (enabled_at is null)),
    constraint second_factors_pending check ((pending_secret is null) = (pending_until is null))
);

create table recovery_codes (
    user_id uuid not null references second_factors (user_id) on delete cascade on update cascade,
    -- SHA-256: a code has 120 random bits. One that was used is deleted.
    hash    bytea not null,
    primary key (user_id, hash)
);

-- Sign-ins whose first factor was given.
create table mfa_challenges (
    -- SHA-256 of the token; the token itself is only ever with the client.
    hash       bytea primary key,
    user_id    uuid not null references users (id) on delete cascade on update cascade,
    -- How the first factor was given (RFC 8176).
    amr        text[] not null,
    -- `users.password_changed_at` as it was read with the first factor: another password ends what waits.
    password_changed_at timestamptz,
    expires_at timestamptz not null
);
create index mfa_challenges_of_user on mfa_challenges (user_id, expires_at);
create index mfa_challenges_expiry on mfa_challenges (expires_at);
