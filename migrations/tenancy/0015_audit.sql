-- How far the account's log is in its Merkle tree (crates/audit).
alter table activity_heads
    add column checkpointed_seq bigint not null default 0,
    -- The position of the tree's first leaf: later than 1 where earlier rows were dropped before the tree was begun. The service
    -- sets it when it begins the tree.
    add column tree_from bigint not null default 1;
create index activity_heads_to_checkpoint on activity_heads (account_id) where last_seq > checkpointed_seq;
