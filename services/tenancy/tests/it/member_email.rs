//! Memberships follow a changed e-mail address.

use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, email_service_client::EmailServiceClient,
};
use baton_testkit::{PASSWORD, eventually};

use super::*;

async fn change_address(context: &TestContext, person: &Person, email: &str) {
    let mut addresses = EmailServiceClient::new(context.auth());
    let request = ChangeEmailRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
    addresses.change_email(person.call_without_account(request)).await.unwrap();
    let token = eventually(|| async {
        let mails = context.mailbox().mails(Some(email));
        let rest = mails
            .into_iter()
            .find_map(|mail| mail.text.split_once("/confirm-email?token=").map(|(_, rest)| rest.to_owned()));
        rest.and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
    })
    .await;
    addresses.confirm_email_change(ConfirmEmailChangeRequest { token }).await.unwrap();
}

/// Address, `email_key` and status of all memberships with one of these addresses, oldest first.
async fn addresses(context: &TestContext, account_id: Uuid, emails: &[&str]) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "select email, email_key, status from tenancy.memberships
         where account_id = $1 and email = any($2) order by invited_at, id",
    )
    .bind(account_id)
    .bind(emails)
    .fetch_all(&context.admin())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_changed_address_is_copied_to_all_memberships() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let ada = &team.user_a1;
    context.join(other.account_id, ada, baton_access::Role::User, None).await;
    // The new address has an open invitation in the same account.
    let new = "Ada.New@example.org";
    invite(&context, &team.owner, invitation(team.account_id, "ada.new@example.org", Role::Manager, None))
        .await
        .unwrap();

    change_address(&context, ada, new).await;
    let row = |status: &str, email: &str| (email.to_owned(), email.to_lowercase(), status.to_owned());
    for account_id in [team.account_id, other.account_id] {
        eventually(|| async {
            (addresses(&context, account_id, &[new, &ada.email]).await == [row("active", new)]).then_some(())
        })
        .await;
    }
    assert_eq!(
        addresses(&context, team.account_id, &["ada.new@example.org"]).await,
        [row("removed", "ada.new@example.org")]
    );
    // The new address is taken and the old one free. Backdates the invitation past the resend interval.
    let backdate =
        "update tenancy.memberships set invited_at = invited_at - interval '2 minutes' where status = 'removed'";
    sqlx::query(backdate).execute(&context.admin()).await.unwrap();
    let taken = invite(&context, &team.owner, invitation(team.account_id, new, Role::User, None)).await;
    assert_eq!(reason(&taken.unwrap_err()), Some(Reason::MemberExists));
    invite(&context, &team.owner, invitation(team.account_id, &ada.email, Role::User, None)).await.unwrap();
}
