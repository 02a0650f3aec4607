-- When a job is to run by the service's clock, what it is known by, and the lane in which jobs run one after the other.
alter table jobs
    add column due_at timestamptz not null default '-infinity',
    add column unique_key text,
    add column lane text;
create unique index jobs_unique_key on jobs (unique_key) where unique_key is not null;
-- The first of a lane is found by it, and only that one may run.
create index jobs_of_lane on jobs (lane, id) where lane is not null;
-- Jobs that are due later are not looked at.
create index jobs_claimable on jobs (due_at, run_at);
drop index jobs_due;
