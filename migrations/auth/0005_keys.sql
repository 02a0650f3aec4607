-- Keys that sign tokens, and keys that people give to their scripts.

-- What a key is at a moment follows from the times alone: of those with `signs_from` in the past the newest
-- signs, one in the future is next, older ones are retired (src/signing_keys.rs). So rotating is one insert,
-- and instances need no word from each other to change over at the same moment.
create table signing_keys (
    -- Thumbprint of the public half (RFC 7638).
    kid        text primary key,
    public_key bytea not null,
    -- The private half as PKCS#8, sealed (crates/sealing).
    sealed     bytea not null,
    created_at timestamptz not null,
    signs_from timestamptz not null
);

create table api_keys (
    id               uuid primary key,
    user_id          uuid not null references users (id) on delete cascade,
    name             text not null,
    -- How the key begins; the key itself is only ever with its person.
    prefix           text not null,
    -- SHA-256 of the key.
    hash             bytea not null constraint api_keys_hash unique,
    scopes           text[] not null,
    -- The only account that it works in. Keys are their person's, not the account's: they have no tenant.
    bound_account_id uuid,
    -- How the person had proved who they are when they made it (RFC 8176).
    amr              text[] not null,
    created_at       timestamptz not null,
    expires_at       timestamptz,
    last_used_at     timestamptz
);
create index api_keys_of_user on api_keys (user_id, created_at desc);
