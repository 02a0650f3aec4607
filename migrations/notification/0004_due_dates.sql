-- People are told of due dates, of their reminders, and of a series that cannot go on. Which types there are says
-- the service alone: a check with the whole list would need every migration after it to know the ones before.
alter table notifications drop constraint notifications_type;
alter table notifications add constraint notifications_type check (type ~ '^[a-z]+(_[a-z]+)*$');
