-- Times of a series that are skipped (EXDATE, RFC 5545, section 3.8.5.1), as a clock on the wall of its timezone shows
-- them. Each task of a series takes those ahead of it along, so they go when the series goes.
alter table tasks add column skipped_times timestamp[] not null default '{}';
-- One hundred ahead, and the task's own.
alter table tasks add constraint tasks_skipped_times check (cardinality(skipped_times) <= 101) not valid;
