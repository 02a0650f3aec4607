-- Finds the notifications that a person caused: for the erasure of their data.
create index notifications_by_actor on notifications (actor_id, id) where actor_id is not null;
