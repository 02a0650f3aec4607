//! What the stories about passwords, addresses and profiles have in common.

use std::net::IpAddr;

use baton_proto::baton::auth::v1::{
    CheckSessionRequest, GetMeRequest, LoginRequest, LoginResponse, RequestPasswordResetRequest, User,
    email_service_client::EmailServiceClient, password_service_client::PasswordServiceClient,
    user_service_client::UserServiceClient,
};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use tonic::{Request, Status, transport::Channel};

use crate::client;

/// Another password that is good enough.
pub(crate) const OTHER: &str = "orchid lantern tidal";

pub(crate) fn users(world: &TestContext) -> UserServiceClient<Channel> {
    UserServiceClient::new(world.auth())
}

pub(crate) fn passwords(world: &TestContext) -> PasswordServiceClient<Channel> {
    PasswordServiceClient::new(world.auth())
}

pub(crate) fn addresses(world: &TestContext) -> EmailServiceClient<Channel> {
    EmailServiceClient::new(world.auth())
}

/// The person, as they see themselves.
pub(crate) async fn me(world: &TestContext, person: &Person) -> User {
    let me = users(world).get_me(person.call_without_account(GetMeRequest {})).await.unwrap();
    me.into_inner().user.unwrap()
}

/// The reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> baton_errors::Reason {
    reason(&answer.unwrap_err()).unwrap()
}

/// A call from this address, as a gateway forwards it.
pub(crate) fn from<T>(address: IpAddr, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.to_string().parse().unwrap());
    request
}

/// Another session of a person with the first password.
pub(crate) async fn sign_in_again(world: &TestContext, person: &Person) -> Person {
    let request = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let LoginResponse { access_token, refresh_token, .. } = client(world).login(request).await.unwrap().into_inner();
    Person { token: access_token.unwrap(), refresh_token: refresh_token.unwrap(), ..person.clone() }
}

/// Waits until the session is closed for the access layer, as it has to be within a second.
pub(crate) async fn is_signed_out(world: &TestContext, person: &Person) {
    eventually(|| async {
        client(world).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
}

/// The token of the newest link to `page` that was mailed to an address, once there are `count` of them.
pub(crate) async fn link(world: &TestContext, email: &str, page: &str, count: usize) -> String {
    eventually(|| async {
        let tokens: Vec<String> = world
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

/// Waits for a mail with this subject.
pub(crate) async fn is_told(world: &TestContext, email: &str, subject: &str) {
    eventually(|| async { world.mailbox().mails(Some(email)).into_iter().find(|mail| mail.subject == subject) }).await;
}

/// Whether a mail with this subject was sent.
pub(crate) fn was_told(world: &TestContext, email: &str, subject: &str) -> bool {
    world.mailbox().mails(Some(email)).iter().any(|mail| mail.subject == subject)
}

/// Waits until every mail that was to be sent is sent.
pub(crate) async fn all_is_sent(world: &TestContext) {
    eventually(|| async {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from auth.jobs").fetch_one(&world.admin()).await.unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

pub(crate) fn reset(email: &str) -> RequestPasswordResetRequest {
    RequestPasswordResetRequest { email: email.to_owned() }
}
