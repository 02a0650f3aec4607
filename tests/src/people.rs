//! Users, created through the API: register, follow the mailed link, sign in.

use std::ops::Deref;

use serde_json::{Value, json};
use tonic::Request;
use uuid::Uuid;

use crate::{Platform, Rest, eventually};

/// The password of every user.
pub const PASSWORD: &str = "tidal lantern orchid 7";

/// A signed-in user. Dereferences to a REST client with their token.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user id.
    pub id: Uuid,
    /// The e-mail address.
    pub email: String,
    /// The access token.
    pub token: String,
    /// The refresh token.
    pub refresh_token: String,
    rest: Rest,
}

impl Deref for Person {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}

impl Person {
    /// The same user with calls in this account.
    #[must_use]
    pub fn at(&self, account_id: Uuid) -> Self {
        Self { rest: self.rest.in_account(account_id), ..self.clone() }
    }

    /// The same user with calls in another session.
    #[must_use]
    pub fn in_session(&self, access_token: &str) -> Self {
        Self { rest: self.rest.with_token(access_token), token: access_token.to_owned(), ..self.clone() }
    }

    /// A gRPC request of this user in an account.
    pub fn grpc<T>(&self, account_id: Option<Uuid>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse().expect("ASCII"));
        if let Some(id) = account_id {
            metadata.insert("x-account-id", id.to_string().parse().expect("ASCII"));
        }
        request
    }

    /// Creates an account with this user as its owner.
    pub async fn create_account(&self, name: &str) -> Uuid {
        id(&self.post("/v1/accounts", &json!({"name": name})).ok().await)
    }

    /// Creates a task in the account of this user's calls.
    pub async fn create_task(&self, title: &str) -> Uuid {
        id(&self.post("/v1/tasks", &json!({"title": title})).ok().await)
    }
}

/// An account with one user of each role.
#[derive(Debug, Clone)]
pub struct Team {
    /// The account.
    pub account_id: Uuid,
    /// Its owner.
    pub owner: Person,
    /// The super manager, who has no manager.
    pub super_manager: Person,
    /// Reports to the super manager.
    pub manager: Person,
    /// Reports to the manager.
    pub user: Person,
}

impl Team {
    /// Role names as in REST, lowest first, with the user of each.
    pub fn roles(&self) -> [(&'static str, &Person); 4] {
        [
            ("user", &self.user),
            ("manager", &self.manager),
            ("super_manager", &self.super_manager),
            ("owner", &self.owner),
        ]
    }
}

impl Platform {
    /// Registers a user, confirms the address and signs in.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}-{}@example.com", Uuid::new_v4().simple());
        let register = json!({"email": email, "password": PASSWORD, "first_name": name, "last_name": "Tester"});
        self.rest().post("/v1/auth/register", &register).ok().await;
        let token = self.mailed_token(&email, "/verify-email").await;
        self.rest().post("/v1/auth/verify-email", &json!({"token": token})).ok().await;
        self.sign_in(&email).await
    }

    /// Signs a registered user in again.
    pub async fn sign_in(&self, email: &str) -> Person {
        let login = json!({"email": email, "password": PASSWORD});
        let response = self.rest().post("/v1/auth/login", &login).ok().await;
        let token = text(&response["access_token"]);
        let rest = self.rest().with_token(&token);
        let refresh_token = text(&response["refresh_token"]);
        Person { id: id(&response["user"]), email: email.to_owned(), token, refresh_token, rest }
    }

    /// Waits for the newest mail to `email` with a link to `path` and returns its token.
    pub async fn mailed_token(&self, email: &str, path: &str) -> String {
        let mailbox = format!("/dev/mailbox?to={email}");
        eventually(&format!("a mail with a link to {path}"), || async {
            let mails = self.rest().get(&mailbox).ok().await;
            mails["messages"].as_array().expect("mails").iter().find_map(|mail| {
                let (_, token) = mail["text"].as_str()?.split_once(&format!("{path}?token="))?;
                token.split_whitespace().next().map(str::to_owned)
            })
        })
        .await
    }

    /// Invites a user to an account and accepts the invitation as that user.
    pub async fn join(
        &self,
        account_id: Uuid,
        inviter: &Person,
        person: &Person,
        role: &str,
        manager: Option<&Person>,
    ) {
        let mut invitation = json!({"email": person.email, "role": role});
        if let Some(manager) = manager {
            invitation["manager_id"] = json!(manager.id);
        }
        inviter.post(&format!("/v1/accounts/{account_id}/members"), &invitation).ok().await;
        let token = self.mailed_token(&person.email, "/accept-invitation").await;
        let member = person.post("/v1/invitations/accept", &json!({"token": token})).ok().await;
        assert_eq!(
            (text(&member["status"]), text(&member["role"])),
            ("active".to_owned(), role.to_owned()),
            "{member}"
        );
    }

    /// Creates an account with one user of each role. Their calls are in this account.
    pub async fn team(&self) -> Team {
        let [owner, super_manager, manager, user] = people(self, ["owner", "super", "manager", "user"]).await;
        let account_id = owner.create_account("Test account").await;
        self.join(account_id, &owner, &super_manager, "super_manager", None).await;
        self.join(account_id, &owner, &manager, "manager", Some(&super_manager)).await;
        self.join(account_id, &owner, &user, "user", Some(&manager)).await;
        let [owner, super_manager, manager, user] =
            [owner, super_manager, manager, user].map(|person| person.at(account_id));
        Team { account_id, owner, super_manager, manager, user }
    }
}

async fn people<const N: usize>(platform: &Platform, names: [&str; N]) -> [Person; N] {
    let mut people = Vec::with_capacity(N);
    for name in names {
        people.push(platform.person(name).await);
    }
    people.try_into().expect("one user per name")
}

/// The `id` of a resource.
fn id(thing: &Value) -> Uuid {
    thing["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id: {thing}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
