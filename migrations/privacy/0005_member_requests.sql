-- Requests of the owners of an account about the data of a member in it (GDPR, article 28).

alter table requests
    -- The account, whose owner has made the request. Null for what people request themselves.
    add column account_id   uuid,
    add column requested_by uuid,
    drop constraint requests_kind,
    add constraint requests_kind check (kind in ('export', 'erasure', 'restriction', 'objection', 'rectification',
                                                 'member_export', 'member_erasure')),
    add constraint requests_account check (
        (account_id is not null) = (kind in ('member_export', 'member_erasure'))
        and (requested_by is not null) = (account_id is not null));
create index requests_of_account on requests (account_id, id desc) where account_id is not null;
create index requests_by_requester on requests (requested_by) where requested_by is not null;
-- One of a kind at a time.
create unique index requests_one_of_member on requests (account_id, user_id, kind)
    where account_id is not null and state in ('processing', 'scheduled', 'held', 'erasing', 'verifying');
create index requests_of_members_scheduled on requests (id)
    where kind = 'member_erasure' and state in ('scheduled', 'held');

alter table erasures
    drop constraint erasures_origin,
    add constraint erasures_origin check (origin in ('person', 'deactivation', 'ledger', 'account')),
    -- When to count next what an account has of a member. A column of its own, because the previous program version would
    -- take `count_at` for the erasure of a person from everywhere.
    add column member_count_at timestamptz;
create index erasures_of_members_to_count on erasures (member_count_at) where member_count_at is not null;

-- What an account has requested is seen in that account only. People's own requests belong to none; every query names the
-- person.
alter table requests enable row level security;
alter table requests force row level security;
do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('create policy tenant on requests to %I using (
                        account_id is null
                        or account_id = (select nullif(current_setting(''baton.account_id'', true), '''')::uuid))', app);
    execute format('create policy system on requests to %I using (true)', app || '_system');
end $$;
