-- Requests to correct data, to restrict its processing, and objections to it.

alter table requests
    drop constraint requests_kind,
    add constraint requests_kind check (kind in ('export', 'erasure', 'restriction', 'objection', 'rectification')),
    drop constraint requests_state,
    add constraint requests_state check (state in ('processing', 'ready', 'expired', 'failed', 'scheduled', 'held', 'erasing',
                                                   'verifying', 'completed', 'canceled', 'in_force', 'lifted')),
    drop constraint requests_end,
    add constraint requests_end check (
        (ended_at is null) = (state in ('processing', 'scheduled', 'held', 'erasing', 'verifying', 'in_force')));
-- One restriction is in force.
create unique index requests_one_restriction on requests (user_id) where kind = 'restriction' and state = 'in_force';

alter table consents
    drop constraint consents_method,
    add constraint consents_method
        check (method in ('registration', 'settings', 'popup', 'withdrawal', 'privacy_control', 'objection', 'email'));

-- Erasures that the law suspends.
create table legal_holds (
    user_id   uuid primary key,
    ground    text not null,
    placed_by uuid not null,
    placed_at timestamptz not null
);
create index legal_holds_by_time on legal_holds (placed_at desc, user_id);
create index legal_holds_by_operator on legal_holds (placed_by, user_id);
