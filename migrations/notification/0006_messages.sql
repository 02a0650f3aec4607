-- Messages of services that act for people, such as rules. Events carry no text, so these are stored with the notification.
-- Null for all other types, whose title says what there is to say.
alter table notifications add column text text
    constraint notifications_text check (char_length(text) between 1 and 500);
