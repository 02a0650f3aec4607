-- People who have registered and not confirmed their address yet. Several may wait for one address: each link confirms
-- its own registration, with the password that was chosen with it, so that nobody's is replaced by a stranger's.
create table registrations (
    -- The id that the person will have.
    id            uuid primary key,
    email         text not null,
    -- The address in lower case.
    email_key     text not null,
    password_hash text not null,
    first_name    text not null,
    last_name     text not null,
    -- Part of the link.
    nonce         uuid not null,
    -- When the link began to work. It is newer than the registration when another was asked for after its end.
    linked_at     timestamptz not null,
    -- When the link was mailed; null while none was, since the address had had enough mails.
    mailed_at     timestamptz,
    created_at    timestamptz not null
);
create index registrations_of_email on registrations (email_key, created_at, id);
create index registrations_age on registrations (linked_at);

-- Those who wait go on waiting. The version before knows them as users without a confirmed address.
insert into registrations
    (id, email, email_key, password_hash, first_name, last_name, nonce, linked_at, mailed_at, created_at)
select id, email, email_key, password_hash, first_name, last_name, activation_nonce,
       coalesce(activation_at, created_at), coalesce(activation_at, created_at), created_at
from users where email_verified_at is null and password_hash is not null;
