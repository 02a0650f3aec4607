-- Handles that mention groups, or nobody: no member is given one. They are those of `baton_text::handle`; a test compares.
create function is_reserved_handle(handle text) returns boolean language sql immutable as $$
    select handle = any (array[
        'admins', 'all', 'anybody', 'anyone', 'assignee', 'assignees', 'baton', 'bot', 'channel', 'everybody', 'everyone',
        'group', 'here', 'managers', 'me', 'members', 'nobody', 'none', 'null', 'owners', 'reporter', 'self', 'system', 'team',
        'unassigned', 'undefined', 'users', 'watchers'])
$$;

-- As before, but for the reserved ones: of `all@example.org` it is `all2`.
create or replace function free_handle(account uuid, email text) returns text language plpgsql stable as $$
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
    while tenancy.is_reserved_handle(candidate)
          or exists (select from tenancy.memberships
                     where account_id = account and status = 'active' and handle = candidate) loop
        number := number + 1;
        candidate := rtrim(left(base, 30 - length(number::text)), '._-') || number;
    end loop;
    return candidate;
end $$;
