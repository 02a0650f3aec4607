-- Version 2 of the leaf hashes: instead of address and user agent, a row's canonical bytes contain a salted hash of
-- them. So they can be erased, and the leaf hash stays valid. Existing rows are of version 1, and so are those that the
-- previous program version adds: it names none of these columns.
alter table activity_logs
    add column leaf_version smallint not null default 1,
    -- 32 random bytes per row. Null once the origin was erased: without it, the hash cannot be searched for an address.
    add column origin_salt  bytea,
    -- HMAC-SHA-256 of address and user agent under the salt (services/tenancy/src/activity.rs).
    add column origin_hash  bytea;

-- `case` and no comparison with null, because a check that is null passes. Not validated, because every older row has
-- the values above, and a scan of all partitions would block the log.
alter table activity_logs add constraint activity_logs_leaf_version check (
    case leaf_version
        when 1 then num_nonnulls(origin_salt, origin_hash) = 0
        when 2 then origin_hash is not null and octet_length(origin_hash) = 32
                    and case when origin_salt is null then num_nonnulls(address, user_agent) = 0
                             else octet_length(origin_salt) = 32 end
        else false
    end
) not valid;

-- The erasure of a person clears the origin of their rows. The system role may do that, and change nothing else.
grant update (address, user_agent, origin_salt) on activity_logs to baton_tenancy_system;
create policy origin_erasure on activity_logs as restrictive for update to baton_tenancy_system
    using (true) with check (num_nonnulls(address, user_agent, origin_salt) = 0);
