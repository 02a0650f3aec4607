-- Files that belong to tasks. Their content is in an object store, below `accounts/<account>/attachments/<id>/`: what
-- the client sent as `upload`, what was checked and kept under `object_id`.
create table attachments (
    id           uuid primary key,
    account_id   uuid not null,
    -- Null once the task is gone for good; then this goes as well.
    task_id      uuid,
    uploaded_by  uuid not null,
    file_name    text not null,
    content_type text not null,
    size_bytes   integer not null constraint attachments_size check (size_bytes > 0),
    -- SHA-256 of the content.
    checksum     bytea not null constraint attachments_checksum check (octet_length(checksum) = 32),
    state        text not null,
    object_id    uuid,
    created_at   timestamptz not null,
    -- When the URL to send the content to expires.
    expires_at   timestamptz not null,
    completed_at timestamptz,
    constraint attachments_state check (state in ('pending', 'ready', 'deleting')),
    -- Whoever reads one finds content.
    constraint attachments_ready check (state <> 'ready' or (object_id is not null and completed_at is not null)),
    constraint attachments_task foreign key (account_id, task_id)
        references tasks (account_id, id) on delete set null (task_id)
);
create index attachments_of_task on attachments (account_id, task_id, id);
-- What the sweep looks for.
create index attachments_pending on attachments (expires_at) where state = 'pending';
create index attachments_deleting on attachments (id) where state = 'deleting';
create index attachments_without_task on attachments (id) where task_id is null and state <> 'deleting';
call protect_tenant_table('attachments');

-- How many bytes an account's files have: the quota `storage_mebibytes` is decided by this row, which changes in the
-- transaction that announces or deletes a file.
create table storage_usage (
    account_id uuid primary key,
    used_bytes bigint not null constraint storage_usage_bytes check (used_bytes >= 0)
);
call protect_tenant_table('storage_usage');

-- Calls delete by marking: the row goes after its content.
do $$
begin
    execute format('revoke delete on attachments from %I', 'baton_' || current_schema);
end $$;
