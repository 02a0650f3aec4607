-- Finds what was set aside longest ago, for its retention.
create index dead_letters_age on dead_letters (failed_at);
