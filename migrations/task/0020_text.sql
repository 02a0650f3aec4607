-- Names of views that look the same are the same: the service keeps the form by which it compares them (NFKC, case
-- folded). The version before leaves it null, and its own index still holds.
alter table saved_views add column name_key text;

-- The owner of the schema is bound by row-level security as well, but for this.
alter table saved_views no force row level security;
-- Of views that now have one name, the oldest has it; the others keep theirs until they are renamed.
update saved_views set name_key = keyed.key
from (
    select id, lower(normalize(name, NFKC)) as key,
           row_number() over (partition by account_id, owner_id, lower(normalize(name, NFKC)) order by created_at, id) as nth
    from saved_views
) keyed
where keyed.id = saved_views.id and keyed.nth = 1 and saved_views.name_key is null;
alter table saved_views force row level security;
create unique index saved_views_name_key on saved_views (account_id, owner_id, name_key);

-- Empty files are files.
alter table attachments drop constraint attachments_size;
alter table attachments add constraint attachments_size check (size_bytes >= 0);
