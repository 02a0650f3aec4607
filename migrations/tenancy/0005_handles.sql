-- Handles: what comments mention members by.

alter table memberships add column handle text
    constraint memberships_handle_form check (handle ~ '^[a-z0-9][a-z0-9._-]{0,28}[a-z0-9]$');
-- Decides who has a handle. It is free again when its member leaves, and finds members by it.
create unique index memberships_one_per_handle on memberships (account_id, handle) where status = 'active';

-- A handle made of an address that nobody in the account has: of `Jo.Doe+x@example.org` it is `jo.doe`, or `jo.doe2`
-- where there is one already.
create function free_handle(account uuid, email text) returns text language plpgsql stable as $$
declare
    base text := split_part(split_part(lower(email), '@', 1), '+', 1);
    number integer := 1;
    candidate text;
begin
    base := btrim(left(btrim(regexp_replace(base, '[^a-z0-9._-]+', '-', 'g'), '._-'), 30), '._-');
    if length(base) < 2 then
        base := 'member';
    end if;
    candidate := base;
    while exists (select from tenancy.memberships
                  where account_id = account and status = 'active' and handle = candidate) loop
        number := number + 1;
        candidate := rtrim(left(base, 30 - length(number::text)), '._-') || number;
    end loop;
    return candidate;
end $$;

-- Whoever becomes a member gets one, whichever version of the service lets them in.
create function give_handle() returns trigger language plpgsql as $$
begin
    new.handle := tenancy.free_handle(new.account_id, new.email);
    return new;
end $$;
create trigger memberships_handle before insert or update on memberships
    for each row when (new.status = 'active' and new.handle is null) execute function give_handle();

-- Those that are there, the oldest first. The owner of the schema is bound by row-level security as well, but for this.
alter table memberships no force row level security;
do $$
declare
    member uuid;
begin
    for member in select id from memberships where status = 'active' order by joined_at, id loop
        update memberships set handle = free_handle(account_id, email) where id = member;
    end loop;
end $$;
alter table memberships force row level security;
alter table memberships add constraint memberships_active_has_handle check (status <> 'active' or handle is not null);
