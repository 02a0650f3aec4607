//! Users and teams, created quickly: rows are inserted directly; tokens come from a real sign-in.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, Version,
    password_hash::{SaltString, rand_core::OsRng},
};
use baton_access::{ACCOUNT_HEADER, Role};
use baton_proto::baton::{
    auth::v1::{
        DelegationCause, ExchangeTokenRequest, IssueServiceTokenRequest, LoginRequest,
        auth_service_client::AuthServiceClient, internal_service_client::InternalServiceClient,
    },
    tenancy::v1::{CreateAccountRequest, account_service_client::AccountServiceClient},
};
use tonic::Request;
use uuid::Uuid;

use crate::TestContext;

/// The password of every user created here.
pub const PASSWORD: &str = "tidal lantern orchid";

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user id.
    pub user_id: Uuid,
    /// The e-mail address.
    pub email: String,
    /// The access token.
    pub token: String,
    /// The refresh token.
    pub refresh_token: String,
}

/// An account with users at every level of the hierarchy.
#[derive(Debug, Clone)]
pub struct Team {
    /// The account.
    pub account_id: Uuid,
    /// Its owner.
    pub owner: Person,
    /// Reports to the owner.
    pub super_manager: Person,
    /// Reports to the super manager.
    pub manager_a: Person,
    /// Reports to the super manager.
    pub manager_b: Person,
    /// Reports to manager A.
    pub user_a1: Person,
    /// Reports to manager A.
    pub user_a2: Person,
    /// Reports to manager B.
    pub user_b1: Person,
}

impl Team {
    /// One user of each role, lowest first: user A1, manager A, super manager, owner.
    pub fn roles(&self) -> [(Role, &Person); 4] {
        [
            (Role::User, &self.user_a1),
            (Role::Manager, &self.manager_a),
            (Role::SuperManager, &self.super_manager),
            (Role::Owner, &self.owner),
        ]
    }
}

impl Person {
    /// A request in an account.
    pub fn call<T>(&self, account_id: Uuid, message: T) -> Request<T> {
        let mut request = self.call_without_account(message);
        let account_id = account_id.to_string().parse().expect("an id is ASCII");
        request.metadata_mut().insert(ACCOUNT_HEADER, account_id);
        request
    }

    /// A request without an account.
    pub fn call_without_account<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", bearer);
        request
    }
}

impl TestContext {
    /// Creates a user with a confirmed address and signs in.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}-{}@example.org", Uuid::new_v4().simple());
        sqlx::query(
            "insert into auth.users (id, email, email_key, password_hash, first_name, last_name, email_verified_at,
                                     activation_nonce, created_at, updated_at)
             values ($1, $2, $2, $3, $4, 'Tester', now(), $1, now(), now())",
        )
        .bind(Uuid::now_v7())
        .bind(&email)
        .bind(cheap_hash())
        .bind(name)
        .execute(&self.admin())
        .await
        .expect("a new person");
        let login = LoginRequest { email: email.clone(), password: PASSWORD.to_owned() };
        let response = AuthServiceClient::new(self.auth()).login(login).await.expect("a sign-in").into_inner();
        let (token, refresh_token) = (response.access_token().to_owned(), response.refresh_token().to_owned());
        let user_id = response.user.expect("the user").id.parse().expect("an id");
        Person { user_id, email, token, refresh_token }
    }

    /// Creates an account owned by `owner`.
    pub async fn account(&self, owner: &Person) -> Uuid {
        let create = CreateAccountRequest { name: "Test account".to_owned(), slug: None };
        let request = owner.call_without_account(create);
        let response = AccountServiceClient::new(self.tenancy()).create_account(request).await.expect("an account");
        response.into_inner().account.expect("the account").id.parse().expect("an id")
    }

    /// Adds a user to an account.
    pub async fn join(&self, account_id: Uuid, person: &Person, role: Role, manager_id: Option<Uuid>) {
        sqlx::query(
            "insert into tenancy.memberships (id, account_id, user_id, email, email_key, role, status, manager_id,
                                              invited_by, invited_at, joined_at)
             values ($1, $2, $3, $4, $4, $5, 'active', $6, $3, now(), now())",
        )
        .bind(Uuid::now_v7())
        .bind(account_id)
        .bind(person.user_id)
        .bind(&person.email)
        .bind(role.name())
        .bind(manager_id)
        .execute(&self.admin())
        .await
        .expect("a new member");
    }

    /// Creates an account with a whole team.
    pub async fn team(&self) -> Team {
        let owner = self.person("owner").await;
        let account_id = self.account(&owner).await;
        let super_manager = self.member(account_id, "super", Role::SuperManager, &owner).await;
        let manager_a = self.member(account_id, "manager-a", Role::Manager, &super_manager).await;
        let manager_b = self.member(account_id, "manager-b", Role::Manager, &super_manager).await;
        let user_a1 = self.member(account_id, "user-a1", Role::User, &manager_a).await;
        let user_a2 = self.member(account_id, "user-a2", Role::User, &manager_a).await;
        let user_b1 = self.member(account_id, "user-b1", Role::User, &manager_b).await;
        Team { account_id, owner, super_manager, manager_a, manager_b, user_a1, user_a2, user_b1 }
    }

    /// A request of `service` on its own behalf, to a `service_only` RPC of `audience`.
    ///
    /// # Panics
    /// When the service has no secret in this environment.
    pub async fn by_service<M>(&self, service: &str, audience: &str, message: M) -> Request<M> {
        let env = self.env();
        let secret = env.get(&format!("BATON_{}_SERVICE_SECRET", service.to_uppercase())).expect("a service");
        let credentials = IssueServiceTokenRequest {
            service: service.to_owned(),
            secret: secret.to_owned(),
            audience: audience.to_owned(),
        };
        let issued = InternalServiceClient::new(self.auth()).issue_service_token(credentials).await.expect("a token");
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", issued.into_inner().access_token).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// The person for whom `service` acts at `audience`, within these scopes, because of `cause`.
    pub async fn delegated(
        &self,
        person: &Person,
        account_id: Uuid,
        (service, audience): (&str, &str),
        scopes: &[&str],
        cause: Option<DelegationCause>,
    ) -> Person {
        let message = ExchangeTokenRequest {
            subject_token: person.token.clone(),
            audience: audience.to_owned(),
            account_id: account_id.to_string(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            cause,
        };
        let request = self.by_service(service, "auth", message).await;
        let exchanged = InternalServiceClient::new(self.auth()).exchange_token(request).await.expect("a token");
        Person { token: exchanged.into_inner().access_token, ..person.clone() }
    }

    async fn member(&self, account_id: Uuid, name: &str, role: Role, manager: &Person) -> Person {
        let person = self.person(name).await;
        self.join(account_id, &person, role, Some(manager.user_id)).await;
        person
    }
}

/// A hash of [`PASSWORD`] that takes a millisecond to verify. The hash contains its own parameters.
fn cheap_hash() -> String {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("valid parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(PASSWORD.as_bytes(), &SaltString::generate(&mut OsRng)).expect("a hash").to_string()
}
