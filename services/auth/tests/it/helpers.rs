//! Helpers for tests of passwords, addresses and profiles.

use std::net::IpAddr;

use baton_proto::baton::auth::v1::{
    CheckSessionRequest, GetMeRequest, LoginRequest, LoginResponse, RequestPasswordResetRequest, User,
    email_service_client::EmailServiceClient, password_service_client::PasswordServiceClient,
    user_service_client::UserServiceClient,
};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use tonic::{Request, Status, transport::Channel};

use crate::client;

/// Another strong password.
pub(crate) const OTHER: &str = "orchid lantern tidal";

pub(crate) fn users(context: &TestContext) -> UserServiceClient<Channel> {
    UserServiceClient::new(context.auth())
}

pub(crate) fn passwords(context: &TestContext) -> PasswordServiceClient<Channel> {
    PasswordServiceClient::new(context.auth())
}

pub(crate) fn addresses(context: &TestContext) -> EmailServiceClient<Channel> {
    EmailServiceClient::new(context.auth())
}

/// The user's own profile.
pub(crate) async fn me(context: &TestContext, person: &Person) -> User {
    let me = users(context).get_me(person.call_without_account(GetMeRequest {})).await.unwrap();
    me.into_inner().user.unwrap()
}

/// The reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(response: Result<T, Status>) -> baton_errors::Reason {
    reason(&response.unwrap_err()).unwrap()
}

/// A call from this address, as a gateway forwards it.
pub(crate) fn from<T>(address: IpAddr, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.to_string().parse().unwrap());
    request
}

/// Another session of a user with the first password.
pub(crate) async fn open_another_session(context: &TestContext, person: &Person) -> Person {
    let request = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let LoginResponse { access_token, refresh_token, .. } = client(context).login(request).await.unwrap().into_inner();
    Person { token: access_token.unwrap(), refresh_token: refresh_token.unwrap(), ..person.clone() }
}

/// Waits until the access layer refuses the session, which must happen within a second.
pub(crate) async fn assert_signed_out(context: &TestContext, person: &Person) {
    eventually(|| async {
        client(context).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
}

/// The token of the newest link to `page` that was mailed to an address, once there are `count` of them.
pub(crate) async fn link(context: &TestContext, email: &str, page: &str, count: usize) -> String {
    eventually(|| async {
        let tokens: Vec<String> = context
            .mailbox()
            .mails(Some(email))
            .iter()
            .filter_map(|mail| mail.text.split_once(&format!("{page}?token=")))
            .filter_map(|(_, rest)| rest.split_whitespace().next().map(str::to_owned))
            .collect();
        tokens.first().filter(|_| tokens.len() == count).cloned()
    })
    .await
}

/// Waits for an email with this subject.
pub(crate) async fn wait_for_email(context: &TestContext, email: &str, subject: &str) {
    eventually(|| async { context.mailbox().mails(Some(email)).into_iter().find(|mail| mail.subject == subject) })
        .await;
}

/// Whether an email with this subject was sent.
pub(crate) fn was_emailed(context: &TestContext, email: &str, subject: &str) -> bool {
    context.mailbox().mails(Some(email)).iter().any(|mail| mail.subject == subject)
}

/// Waits until every enqueued email is sent.
pub(crate) async fn wait_for_all_emails(context: &TestContext) {
    eventually(|| async {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from auth.jobs").fetch_one(&context.admin()).await.unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

pub(crate) fn reset(email: &str) -> RequestPasswordResetRequest {
    RequestPasswordResetRequest { email: email.to_owned() }
}
