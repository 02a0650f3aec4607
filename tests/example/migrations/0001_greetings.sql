-- Greetings of members who joined. Written by the consumer of tenancy's events.

create table greetings (
    -- UUIDv7: newest first is by id.
    id         uuid primary key,
    account_id uuid not null,
    user_id    uuid not null,
    created_at timestamptz not null,
    -- Who leaves and joins again is not greeted twice.
    constraint greetings_account_id_user_id_key unique (account_id, user_id)
);
create index greetings_of_account on greetings (account_id, id desc);
create index greetings_by_age on greetings (created_at);
call protect_tenant_table('greetings');
