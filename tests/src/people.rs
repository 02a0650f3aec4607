//! People, made as people come to be: by registering, following the mailed link, and signing in.

use std::ops::Deref;

use serde_json::{Value, json};
use tonic::Request;
use uuid::Uuid;

use crate::{Platform, Rest, eventually};

/// The password of everyone.
pub const PASSWORD: &str = "tidal lantern orchid 7";

/// Someone who is signed in. Calls over REST are theirs.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their user id.
    pub id: Uuid,
    /// Their address.
    pub email: String,
    /// Their access token.
    pub token: String,
    /// Their refresh token.
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
    /// The person in an account: calls name it.
    #[must_use]
    pub fn at(&self, account_id: Uuid) -> Self {
        Self { rest: self.rest.in_account(account_id), ..self.clone() }
    }

    /// A gRPC call of theirs in an account.
    pub fn grpc<T>(&self, account_id: Option<Uuid>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse().expect("ASCII"));
        if let Some(id) = account_id {
            metadata.insert("x-account-id", id.to_string().parse().expect("ASCII"));
        }
        request
    }

    /// Creates an account; they become its owner.
    pub async fn create_account(&self, name: &str) -> Uuid {
        id(&self.post("/v1/accounts", &json!({"name": name})).ok().await)
    }

    /// Creates a task in the account of their calls.
    pub async fn create_task(&self, title: &str) -> Uuid {
        id(&self.post("/v1/tasks", &json!({"title": title})).ok().await)
    }
}

/// An account with one person of each role.
#[derive(Debug, Clone)]
pub struct Team {
    /// The account.
    pub account_id: Uuid,
    /// Its owner.
    pub owner: Person,
    /// A super manager, who reports to nobody.
    pub super_manager: Person,
    /// Reports to the super manager.
    pub manager: Person,
    /// Reports to the manager.
    pub user: Person,
}

impl Team {
    /// The names of the roles, lowest first, as REST has them, and who has them.
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
    /// Someone who registered, confirmed their address and signed in.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}-{}@example.com", Uuid::new_v4().simple());
        let register = json!({"email": email, "password": PASSWORD, "first_name": name, "last_name": "Tester"});
        self.rest().post("/v1/auth/register", &register).ok().await;
        let token = self.mailed_token(&email, "/verify-email").await;
        self.rest().post("/v1/auth/verify-email", &json!({"token": token})).ok().await;
        self.sign_in(&email).await
    }

    /// A new session of someone who is registered.
    pub async fn sign_in(&self, email: &str) -> Person {
        let login = json!({"email": email, "password": PASSWORD});
        let answer = self.rest().post("/v1/auth/login", &login).ok().await;
        let token = text(&answer["access_token"]);
        let rest = self.rest().with_token(&token);
        let refresh_token = text(&answer["refresh_token"]);
        Person { id: id(&answer["user"]), email: email.to_owned(), token, refresh_token, rest }
    }

    /// The token of the newest link to `path` that was mailed to `email`, once it is there.
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

    /// Invites someone to an account, and has them accept. Both calls are made as people make them.
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

    /// An account with everyone in it; calls of theirs name it.
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
    people.try_into().expect("as many as there are names")
}

/// The `id` of a thing.
fn id(thing: &Value) -> Uuid {
    thing["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id: {thing}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
