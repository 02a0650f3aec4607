-- Owners are told when a quota runs out.
alter table notifications drop constraint notifications_type;
alter table notifications add constraint notifications_type check (type in
    ('task_assigned', 'task_reassigned', 'task_completed', 'invited', 'task_accepted', 'task_rejected', 'usage_warning'));
