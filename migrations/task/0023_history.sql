-- Events of an account in a time, for services that replay the past.
create index task_events_by_time on task_events (account_id, occurred_at, task_id, version);
