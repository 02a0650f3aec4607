//! What people do with the auth service, against the real one on real Postgres and Redis.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod addresses;
mod api_keys;
mod by_provider;
mod deactivating;
mod forged_tokens;
mod guessing;
mod many_at_once;
mod passwords;
mod people;
mod profile;
mod reauthenticating;
mod registering;
mod repeating;
mod rotating_keys;
mod second_factor;
mod service_tokens;
mod sessions;
mod signing_in;
mod staying_signed_in;

use baton_proto::baton::auth::v1::{
    LoginRequest, LoginResponse, RegisterRequest, auth_service_client::AuthServiceClient,
};
use baton_testkit::{TestContext, eventually};
use tonic::{Status, transport::Channel};

const PASSWORD: &str = "tidal lantern orchid";

fn client(world: &TestContext) -> AuthServiceClient<Channel> {
    AuthServiceClient::new(world.auth())
}

fn registration(email: &str) -> RegisterRequest {
    RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    }
}

async fn login(world: &TestContext, email: &str, password: &str) -> Result<LoginResponse, Status> {
    let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
    client(world).login(request).await.map(tonic::Response::into_inner)
}

/// The token of the newest link in the mails to an address; there are `count` mails by then.
async fn mailed_token(world: &TestContext, email: &str, count: usize) -> String {
    eventually(|| async {
        let mails = world.mailbox().mails(Some(email));
        let (_, token) = mails.first().filter(|_| mails.len() == count)?.text.split_once("?token=")?;
        token.split_whitespace().next().map(str::to_owned)
    })
    .await
}

/// A call as the gateway makes it for a client at this address.
fn from<T>(message: T, address: &str, user_agent: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request.metadata_mut().insert("x-forwarded-user-agent", user_agent.parse().unwrap());
    request
}
