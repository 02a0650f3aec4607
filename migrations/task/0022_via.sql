-- The service that acted for the actor, and its cause: {"service": "automation", "cause": {"kind", "id", "depth"}}. Null
-- when people acted themselves.
alter table task_events add column via jsonb;
alter table comments add column via jsonb;
