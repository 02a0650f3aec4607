//! Fixture: an auth service with a controlled clock, and an authenticator app.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_auth::{Config, SPEC};
use baton_proto::baton::auth::v1::{
    ConfirmTotpRequest, EnrollTotpRequest, EnrollTotpResponse, LoginRequest, LoginResponse, VerifySecondFactorRequest,
    VerifySecondFactorResponse, auth_service_client::AuthServiceClient, mfa_service_client::MfaServiceClient,
};
use baton_runtime::{Clock, Env};
use baton_testkit::{PASSWORD, Person, TestContext, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE32_NOPAD;
use tonic::{Request, Status, transport::Channel};

pub(crate) struct Fixture {
    pub(crate) context: TestContext,
    pub(crate) clock: Clock,
    auth: Channel,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let context = TestContext::start(&[]).await;
        // In the middle of a time step, so that the duration of the test does not matter.
        let now = Utc::now().timestamp().div_euclid(30) * 30 + 15;
        let clock = Clock::fixed(DateTime::from_timestamp(now, 0).unwrap());
        let auth = serve(&context, context.env(), clock.clone()).await;
        Self { context, clock, auth }
    }

    /// Starts another instance with other variables.
    pub(crate) async fn instance(&self, env: Env) -> MfaServiceClient<Channel> {
        MfaServiceClient::new(serve(&self.context, env, self.clock.clone()).await)
    }

    pub(crate) fn channel(&self) -> Channel {
        self.auth.clone()
    }

    pub(crate) fn client(&self) -> MfaServiceClient<Channel> {
        MfaServiceClient::new(self.auth.clone())
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.auth.clone())
    }

    pub(crate) async fn login(&self, person: &Person) -> LoginResponse {
        let request = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
        self.auth().login(request).await.unwrap().into_inner()
    }

    /// Passes the first factor, and returns the mfa token.
    pub(crate) async fn challenge(&self, person: &Person) -> String {
        let response = self.login(person).await;
        assert!(response.mfa_required);
        response.mfa_token.unwrap()
    }

    pub(crate) async fn verify(&self, mfa_token: &str, code: &str) -> Result<VerifySecondFactorResponse, Status> {
        let request = VerifySecondFactorRequest { mfa_token: mfa_token.to_owned(), code: code.to_owned() };
        self.client().verify_second_factor(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn enroll(
        &self,
        person: &Person,
        code: Option<&str>,
        password: Option<&str>,
    ) -> Result<EnrollTotpResponse, Status> {
        let request = EnrollTotpRequest { code: code.map(str::to_owned), password: password.map(str::to_owned) };
        self.client().enroll_totp(person.call_without_account(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn confirm(&self, person: &Person, code: &str) -> Result<Vec<String>, Status> {
        let request = person.call_without_account(ConfirmTotpRequest { code: code.to_owned() });
        self.client().confirm_totp(request).await.map(|response| response.into_inner().recovery_codes)
    }

    /// A user with a second factor, which was enabled some minutes ago.
    pub(crate) async fn person_with_mfa(&self, name: &str) -> (Person, App, Vec<String>) {
        let person = self.context.person(name).await;
        let app = App::scan(&self.enroll(&person, None, None).await.unwrap());
        let recovery_codes = self.confirm(&person, &app.code(&self.clock, 0)).await.unwrap();
        self.clock.advance(TimeDelta::minutes(2));
        (person, app, recovery_codes)
    }

    /// Waits for a mail with this subject.
    pub(crate) async fn wait_for_email(&self, person: &Person, subject: &str) {
        eventually(|| async {
            self.context.mailbox().mails(Some(&person.email)).iter().any(|mail| mail.subject == subject).then_some(())
        })
        .await;
    }
}

async fn serve(context: &TestContext, env: Env, clock: Clock) -> Channel {
    let config = Config::from_env(&SPEC, &env).unwrap();
    context.spawn(|listener, shutdown| baton_auth::start(config, clock, listener, shutdown)).await
}

/// An authenticator app with one secret: RFC 6238, written here once more.
pub(crate) struct App(Vec<u8>);

impl App {
    pub(crate) fn scan(enrolled: &EnrollTotpResponse) -> Self {
        assert!(enrolled.otpauth_url.contains(&format!("secret={}&", enrolled.secret)));
        Self(BASE32_NOPAD.decode(enrolled.secret.as_bytes()).unwrap())
    }

    /// The code that the app shows this many time steps from now.
    pub(crate) fn code(&self, clock: &Clock, steps_away: i64) -> String {
        let step = (clock.now().timestamp() / 30 + steps_away).to_be_bytes();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0), &step);
        let offset = usize::from(tag.as_ref()[19] & 15);
        let word = u32::from_be_bytes(tag.as_ref()[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }

    /// A code that is not valid now.
    pub(crate) fn wrong_code(&self, clock: &Clock) -> String {
        let right = [-1, 0, 1].map(|step| self.code(clock, step));
        (0..4).map(|n| format!("{n:06}")).find(|code| !right.contains(code)).unwrap()
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.0
    }
}

/// The authentication methods in a token.
pub(crate) fn amr(access_token: &str) -> Vec<String> {
    let claims = access_token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["amr"].as_array().unwrap().iter().map(|method| method.as_str().unwrap().to_owned()).collect()
}

/// The user with the token of another session.
pub(crate) fn in_session(person: &Person, access_token: &str) -> Person {
    Person { token: access_token.to_owned(), ..person.clone() }
}

/// A call of the user.
pub(crate) fn call<T>(person: &Person, message: T) -> Request<T> {
    person.call_without_account(message)
}
