-- An invitation ends when its inviter may not make it any more: the open ones of a person are found by this.
create index memberships_open_invitations on memberships (account_id, invited_by) where status = 'invited';
