//! Tests of the auth service, with real Postgres and Redis.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod api_keys;
mod deactivation;
mod delegations;
mod email_change;
mod forged_tokens;
mod helpers;
mod idempotency;
mod key_rotation;
mod mfa;
mod oauth;
mod passwords;
mod profile;
mod reauthentication;
mod refresh_tokens;
mod registration;
mod service_tokens;
mod sessions;
mod sign_in;
mod sign_in_load;
mod throttling;

use baton_proto::baton::auth::v1::{
    LoginRequest, LoginResponse, RegisterRequest, auth_service_client::AuthServiceClient,
};
use baton_testkit::{TestContext, eventually};
use tonic::{Status, transport::Channel};

const PASSWORD: &str = "tidal lantern orchid";

fn client(context: &TestContext) -> AuthServiceClient<Channel> {
    AuthServiceClient::new(context.auth())
}

fn registration(email: &str) -> RegisterRequest {
    RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    }
}

async fn login(context: &TestContext, email: &str, password: &str) -> Result<LoginResponse, Status> {
    let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
    client(context).login(request).await.map(tonic::Response::into_inner)
}

/// The token of the newest link to an address, once it has `count` emails.
async fn mailed_token(context: &TestContext, email: &str, count: usize) -> String {
    eventually(|| async {
        let mails = context.mailbox().mails(Some(email));
        let (_, token) = mails.first().filter(|_| mails.len() == count)?.text.split_once("?token=")?;
        token.split_whitespace().next().map(str::to_owned)
    })
    .await
}

/// A call as the gateway forwards it for a client at this address.
fn from<T>(message: T, address: &str, user_agent: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request.metadata_mut().insert("x-forwarded-user-agent", user_agent.parse().unwrap());
    request
}
