//! People change their address, and their memberships follow.

use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, email_service_client::EmailServiceClient,
};
use baton_testkit::{PASSWORD, eventually};

use super::*;

async fn change_address(world: &TestContext, person: &Person, email: &str) {
    let mut addresses = EmailServiceClient::new(world.auth());
    let request = ChangeEmailRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
    addresses.change_email(person.call_without_account(request)).await.unwrap();
    let token = eventually(|| async {
        let mails = world.mailbox().mails(Some(email));
        let rest = mails
            .into_iter()
            .find_map(|mail| mail.text.split_once("/confirm-email?token=").map(|(_, rest)| rest.to_owned()));
        rest.and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
    })
    .await;
    addresses.confirm_email_change(ConfirmEmailChangeRequest { token }).await.unwrap();
}

/// Address, what it is known under, and status of all memberships with one of these addresses, oldest first.
async fn addresses(world: &TestContext, account_id: Uuid, emails: &[&str]) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "select email, email_key, status from tenancy.memberships
         where account_id = $1 and email = any($2) order by invited_at, id",
    )
    .bind(account_id)
    .bind(emails)
    .fetch_all(&world.admin())
    .await
    .unwrap()
}

#[tokio::test]
async fn memberships_follow_to_the_new_address() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let ada = &team.user_a1;
    world.join(other.account_id, ada, baton_access::Role::User, None).await;
    // The new address was invited already: by whom it may concern it is a member who has it now.
    let new = "Ada.New@example.org";
    invite(&world, &team.owner, invitation(team.account_id, "ada.new@example.org", Role::Manager, None)).await.unwrap();

    change_address(&world, ada, new).await;
    let row = |status: &str, email: &str| (email.to_owned(), email.to_lowercase(), status.to_owned());
    for account_id in [team.account_id, other.account_id] {
        eventually(|| async {
            (addresses(&world, account_id, &[new, &ada.email]).await == [row("active", new)]).then_some(())
        })
        .await;
    }
    assert_eq!(
        addresses(&world, team.account_id, &["ada.new@example.org"]).await,
        [row("removed", "ada.new@example.org")]
    );
    // The address is taken now, and the old one is free. Within a minute of its mail it would be too soon to say.
    let age = "update tenancy.memberships set invited_at = invited_at - interval '2 minutes' where status = 'removed'";
    sqlx::query(age).execute(&world.admin()).await.unwrap();
    let taken = invite(&world, &team.owner, invitation(team.account_id, new, Role::User, None)).await;
    assert_eq!(reason(&taken.unwrap_err()), Some(Reason::MemberExists));
    invite(&world, &team.owner, invitation(team.account_id, &ada.email, Role::User, None)).await.unwrap();
}
