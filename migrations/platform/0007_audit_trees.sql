-- Merkle trees over the logs of this schema (crates/audit). Only the system role reads and writes them; nobody deletes from
-- them: hashes stay when the rows of their log are deleted.
create table audit_trees (
    -- The log: the account of an activity log, or a constant.
    log_id        uuid primary key,
    size          bigint not null constraint audit_trees_size check (size >= 0),
    -- The roots of the perfect subtrees, with which the next leaves are added.
    frontier      bytea not null,
    -- The signed root: a note (C2SP signed-note, tlog-checkpoint). Empty before the first.
    checkpoint    text not null,
    checkpoint_at timestamptz not null
);
-- Hashes of the tree's level 8 * level, 256 in a row.
create table audit_tiles (
    log_id uuid not null,
    level  smallint not null,
    index  bigint not null,
    hashes bytea not null constraint audit_tiles_hashes check (octet_length(hashes) % 32 = 0 and octet_length(hashes) <= 8192),
    primary key (log_id, level, index)
);

do $$
begin
    execute format('revoke all on audit_trees, audit_tiles from %I', 'baton_' || current_schema);
    execute format('revoke delete on audit_trees, audit_tiles from %I', 'baton_' || current_schema || '_system');
end $$;
