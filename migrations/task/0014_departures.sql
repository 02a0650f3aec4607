-- Who left, and who has had their work since: tasks that were over or in the trash by then come to them when they are
-- open again. Who comes back is forgotten here. A projection of tenancy's member events.

create table departures (
    account_id   uuid not null,
    user_id      uuid not null,
    hand_over_to uuid not null,
    primary key (account_id, user_id)
);
call protect_tenant_table('departures');
