-- What people are at other providers of identities, and the sign-ins by them that have begun.

create table identities (
    id           uuid primary key,
    user_id      uuid not null references users (id) on delete cascade,
    provider     text not null,
    -- Who says it, and who they are there: `iss` and `sub` of OpenID Connect. Never the address, which providers
    -- give to somebody else one day.
    issuer       text not null,
    subject      text not null,
    email        text not null,
    created_at   timestamptz not null,
    last_used_at timestamptz not null,
    constraint identities_subject unique (issuer, subject),
    constraint identities_provider unique (user_id, provider)
);

create table oauth_flows (
    -- SHA-256 of the state; the state itself is with the browser and the provider only.
    state_hash   bytea primary key,
    -- SHA-256 of the token that the browser keeps. PKCE verifier and nonce are made of that token, so
    -- nothing here helps a thief.
    browser_hash bytea not null,
    provider     text not null,
    redirect     text not null,
    -- Who links, and the session in which they proved who they are; null for a sign-in.
    user_id      uuid references users (id) on delete cascade,
    session_id   uuid,
    expires_at   timestamptz not null
);
create index oauth_flows_expiry on oauth_flows (expires_at);
create index oauth_flows_of_user on oauth_flows (user_id) where user_id is not null;
