-- What waits for what. With the account in both keys, no task ever waits for another tenant's.
create table task_dependencies (
    account_id uuid not null,
    -- The task that waits.
    task_id    uuid not null,
    -- What it waits for.
    blocked_by uuid not null,
    created_at timestamptz not null,
    primary key (account_id, task_id, blocked_by),
    constraint task_dependencies_task foreign key (account_id, task_id) references tasks (account_id, id)
        on delete cascade,
    constraint task_dependencies_blocker foreign key (account_id, blocked_by) references tasks (account_id, id)
        on delete cascade,
    constraint task_dependencies_is_another check (task_id <> blocked_by)
);
create index task_dependencies_of_blocker on task_dependencies (account_id, blocked_by);
call protect_tenant_table('task_dependencies');

-- What the account wants noted in `custom_fields` of its tasks, and in which form.
create table custom_fields (
    id         uuid primary key,
    account_id uuid not null,
    key        text not null,
    name       text not null,
    type       text not null constraint custom_fields_type check (type in (
        'text', 'number', 'date', 'checkbox', 'select', 'multi_select', 'person', 'url'
    )),
    -- What can be selected, in the order to show: [{"id": "high", "name": "High"}].
    options    jsonb not null,
    required   boolean not null,
    version    integer not null constraint custom_fields_version check (version >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint custom_fields_key unique (account_id, key)
);
call protect_tenant_table('custom_fields');
