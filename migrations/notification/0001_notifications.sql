-- What members should know. Written by the consumer of task and tenancy events, read and tidied by whom
-- it is for. The sentence that people see is made from the type when it is answered: no text is stored.

create table notifications (
    -- UUIDv7: newest first is by id.
    id              uuid primary key,
    account_id      uuid not null,
    user_id         uuid not null,
    type            text not null constraint notifications_type check (type in
                        ('task_assigned', 'task_reassigned', 'task_completed', 'invited', 'task_accepted', 'task_rejected')),
    task_id         uuid,
    actor_id        uuid,
    source_event_id uuid not null,
    read_at         timestamptz,
    created_at      timestamptz not null,
    -- An event tells a person once, even when it comes again after the inbox has forgotten it.
    constraint notifications_source_event_id_user_id_key unique (source_event_id, user_id)
);
create index notifications_of_user on notifications (account_id, user_id, id desc);
create index notifications_unread on notifications (account_id, user_id, id desc) where read_at is null;
call protect_tenant_table('notifications');
