-- The policies of the operator that people have accepted, with the hash of the text.
create table policy_acceptances (
    user_id     uuid not null,
    policy      text not null,
    version     integer not null,
    sha256      bytea not null constraint policy_acceptances_sha256 check (octet_length(sha256) = 32),
    accepted_at timestamptz not null,
    primary key (user_id, policy, version)
);

-- Evidence: the serving role changes and deletes nothing.
do $$
begin
    execute format('revoke update, delete on policy_acceptances from %I', 'baton_' || current_schema);
end $$;
