-- When people read the greetings: behaviour, which needs their consent.
create table visits (
    id         uuid primary key,
    account_id uuid not null,
    user_id    uuid not null,
    seen_at    timestamptz not null
);
create index visits_of_user on visits (user_id, id);
create index visits_by_age on visits (seen_at);
create index visits_of_account on visits (account_id);
call protect_tenant_table('visits');
