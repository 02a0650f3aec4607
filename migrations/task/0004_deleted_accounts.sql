-- What an account that was deleted leaves behind is found by account, and a task's timeline within it: the index
-- that keeps versions apart serves both, and the reading of timelines as before.
alter table task_events drop constraint task_events_version;
alter table task_events add constraint task_events_version unique (account_id, task_id, version);
