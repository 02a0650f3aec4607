-- What people say about tasks, whom they name, what others make of it, and who is told.

create table comments (
    id         uuid primary key,
    account_id uuid not null,
    task_id    uuid not null,
    -- The comment that begins its thread; null for one that begins a thread itself.
    parent_id  uuid,
    author_id  uuid not null,
    -- Markdown, as it was typed. A deleted comment stays, empty, while it has replies.
    body       text not null constraint comments_length check (char_length(body) <= 20000),
    version    integer not null default 1 constraint comments_version check (version >= 1),
    created_at timestamptz not null,
    edited_at  timestamptz,
    deleted_at timestamptz,
    -- The list of a task's comments: ids sort by time. And what the task in foreign keys refers to.
    constraint comments_of_task unique (account_id, task_id, id),
    constraint comments_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    -- With the task in it, no reply is ever on another task.
    constraint comments_parent foreign key (account_id, task_id, parent_id)
        references comments (account_id, task_id, id) on delete cascade,
    constraint comments_parent_is_another check (parent_id <> id),
    constraint comments_body check ((deleted_at is null) = (body <> ''))
);
-- The replies of a thread.
create index comments_of_thread on comments (account_id, task_id, parent_id, id) where parent_id is not null;

create table comment_mentions (
    account_id uuid not null,
    task_id    uuid not null,
    comment_id uuid not null,
    user_id    uuid not null,
    -- As it was when they were named.
    handle     text not null,
    sees_task  boolean not null,
    -- Which of the comment's mentions it is.
    place      smallint not null,
    primary key (account_id, task_id, comment_id, user_id),
    constraint comment_mentions_comment foreign key (account_id, task_id, comment_id)
        references comments (account_id, task_id, id) on delete cascade
);

create table comment_reactions (
    account_id uuid not null,
    task_id    uuid not null,
    comment_id uuid not null,
    user_id    uuid not null,
    emoji      text not null constraint comment_reactions_emoji check (octet_length(emoji) <= 40),
    created_at timestamptz not null,
    -- One person gives one emoji once.
    primary key (account_id, task_id, comment_id, user_id, emoji),
    constraint comment_reactions_comment foreign key (account_id, task_id, comment_id)
        references comments (account_id, task_id, id) on delete cascade
);

-- Who watches a task besides its creator and its holder, and who does not wish to.
create table task_watchers (
    account_id uuid not null,
    task_id    uuid not null,
    user_id    uuid not null,
    standing   text not null constraint task_watchers_standing check (
        standing in ('chose', 'commented', 'mentioned', 'added', 'declined', 'removed')
    ),
    watching   boolean not null generated always as (standing not in ('declined', 'removed')) stored,
    since      timestamptz not null,
    primary key (account_id, task_id, user_id),
    constraint task_watchers_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade
);
-- When a member leaves.
create index task_watchers_of_user on task_watchers (account_id, user_id);

call protect_tenant_table('comments');
call protect_tenant_table('comment_mentions');
call protect_tenant_table('comment_reactions');
call protect_tenant_table('task_watchers');
