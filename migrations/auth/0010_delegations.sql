-- Grants by which services act for users who are not there (RFC 8693, section 1.1).
create table delegations (
    id               uuid primary key,
    user_id          uuid not null references users (id) on delete cascade,
    -- The service that acts.
    service          text not null,
    -- The account in which it acts. Grants are their user's, not the account's: they have no tenant.
    bound_account_id uuid not null,
    scopes           text[] not null constraint delegations_scopes check (cardinality(scopes) > 0),
    -- In the user's words.
    purpose          text not null constraint delegations_purpose check (char_length(purpose) between 1 and 200),
    -- How the user had proved their identity when they made it (RFC 8176).
    amr              text[] not null,
    created_at       timestamptz not null,
    last_used_at     timestamptz
);
create index delegations_of_user on delegations (user_id, created_at desc, id desc);
