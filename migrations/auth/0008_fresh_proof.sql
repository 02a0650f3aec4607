-- When the person last proved who they are in this session, beside the token; null when that was at signing in.
alter table sessions add column proved_at timestamptz;
