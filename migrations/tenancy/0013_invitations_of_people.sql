-- Finds the invitations to an address: those to a person who is erased go with them.
create index memberships_invited on memberships (email_key) where user_id is null and email_key is not null;
