-- Evidence of consent is sealed with the person's key, which the vault has: in the backups it is unreadable once the key is
-- destroyed. The former columns stay empty; the previous program version writes them still.
alter table consents add column evidence bytea;

-- People who consent to a purpose.
create index consent_states_given on consent_states (type, user_id) where given and not stale;

-- Who has opened a reversible pseudonym, and why: two operators.
create table pseudonym_reveals (
    id           uuid primary key,
    -- SHA-256 of the pseudonym.
    pseudonym    bytea not null constraint pseudonym_reveals_pseudonym check (octet_length(pseudonym) = 32),
    purpose      text not null,
    reason       text not null,
    requested_by uuid not null,
    requested_at timestamptz not null,
    approved_by  uuid,
    approved_at  timestamptz,
    -- The reason of the second operator.
    approval_reason text,
    constraint pseudonym_reveals_two check (approved_by <> requested_by),
    constraint pseudonym_reveals_approval check ((approved_by is null) = (approved_at is null))
);
create index pseudonym_reveals_of_pseudonym on pseudonym_reveals (pseudonym, purpose, requested_at);
create index pseudonym_reveals_by_time on pseudonym_reveals (requested_at);
create index pseudonym_reveals_of_requester on pseudonym_reveals (requested_by);
create index pseudonym_reveals_of_approver on pseudonym_reveals (approved_by) where approved_by is not null;

-- What was spent of the budgets of differential privacy, in thousandths of epsilon.
create table privacy_budgets (
    -- Whose data: `account:<id>` or `installation`.
    scope            text not null,
    purpose          text not null,
    -- `2026-Q4`.
    quarter          text not null,
    spent            integer not null constraint privacy_budgets_spent check (spent between 0 and max_spent),
    max_spent        integer not null constraint privacy_budgets_max check (max_spent between 0 and 4000),
    changed_at       timestamptz not null,
    primary key (scope, purpose, quarter)
);
create index privacy_budgets_by_time on privacy_budgets (changed_at);

-- The releases that were paid for. A repeated query gets the stored result: a second answer with other noise would reveal
-- more than was paid for.
create table budget_releases (
    scope      text not null,
    purpose    text not null,
    -- SHA-256 of the query with all its parameters.
    query      bytea not null constraint budget_releases_query check (octet_length(query) = 32),
    epsilon    integer not null constraint budget_releases_epsilon check (epsilon between 1 and 1000),
    -- Absent until the caller has drawn it.
    result     bytea,
    paid_at    timestamptz not null,
    primary key (scope, purpose, query)
);
create index budget_releases_by_time on budget_releases (paid_at);

do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke delete on pseudonym_reveals, privacy_budgets, budget_releases from %I', app);
end $$;
