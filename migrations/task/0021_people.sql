-- Finds the rows of one person in all accounts: for the export and the erasure of their data. The primary key follows, so
-- that rows are read in batches without sorting. crates/baton/tests/it/personal_data.rs asks for these.
create index tasks_created_by on tasks (created_by, id);
create index tasks_assigned_to on tasks (assigned_to, id) where assigned_to is not null;
create index tasks_assigned_by on tasks (assigned_by, id) where assigned_by is not null;
create index task_events_by_actor on task_events (actor_id, id) where actor_id is not null;
create index task_assignments_assigned_to on task_assignments (assigned_to, id) where assigned_to is not null;
create index task_assignments_assigned_by on task_assignments (assigned_by, id) where assigned_by is not null;
create index comments_by_author on comments (author_id, id);
create index comment_mentions_of_user on comment_mentions (user_id, account_id, task_id, comment_id);
create index comment_reactions_of_user on comment_reactions (user_id, account_id, task_id, comment_id, emoji);
create index attachments_by_uploader on attachments (uploaded_by, id) where uploaded_by is not null;
create index departures_to_heir on departures (hand_over_to, account_id, user_id) where hand_over_to is not null;
create index reminders_by_user on reminders (user_id, id);
create index saved_views_by_user on saved_views (user_id, id);
create index time_corrections_by_actor on time_corrections (actor_id, id) where actor_id is not null;
create index time_corrections_by_worker on time_corrections (user_id, id) where user_id is not null;
create index time_entries_by_actor on time_entries (created_by, id) where created_by is not null;
create index time_entries_by_worker on time_entries (user_id, id) where user_id is not null;
