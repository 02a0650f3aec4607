//! Live updates follow the rights of the moment: after random changes, each person can follow exactly the tasks that they
//! can read, and receives nothing about others.

use std::time::Duration;

use baton_tests::{Person, Platform};
use futures_util::{SinkExt, StreamExt};
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use uuid::Uuid;

const STEPS: usize = 30;
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a person may still receive messages after a right has ended.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A person's socket, and whether it follows the task.
struct Follower {
    person: Person,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    identifier: String,
    follows: bool,
}

impl Follower {
    async fn connect(platform: &Platform, person: &Person, account_id: Uuid, task: Uuid) -> Self {
        let url = format!("ws://{}/cable?token={}&account_id={account_id}", platform.address(), person.token);
        let (socket, _) = connect_async(url).await.expect("the socket opens");
        let identifier = json!({"channel": "TaskChannel", "task_id": task}).to_string();
        Self { person: person.clone(), socket, identifier, follows: false }
    }

    /// The next message about the task: an answer to a command, or an event.
    async fn next(&mut self) -> Value {
        loop {
            let message =
                timeout(TIMEOUT, self.socket.next()).await.expect("a message in time").expect("an open socket");
            let message: Value = serde_json::from_str(message.unwrap().to_text().unwrap()).unwrap_or_default();
            assert_ne!(message["type"], "disconnect", "{message}");
            if message["identifier"] == self.identifier && message["message"]["event"] != "resync" {
                self.follows = match message["type"].as_str() {
                    Some(kind) => kind == "confirm_subscription",
                    None => self.follows,
                };
                return message;
            }
        }
    }

    /// Subscribes, unless they follow the task already. Returns whether they follow it.
    async fn follow(&mut self) -> bool {
        let subscribe = json!({"command": "subscribe", "identifier": self.identifier}).to_string();
        self.socket.send(Message::text(subscribe)).await.unwrap();
        // A rejection of before may come first; the answer to the command is the last of both.
        while self.next().await["type"].is_null() {}
        self.follows
    }

    async fn reads(&self, task: Uuid) -> bool {
        self.person.get(&format!("/v1/tasks/{task}")).send().await.status == 200
    }
}

#[tokio::test]
async fn subscribers_receive_exactly_what_they_can_read() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let account = format!("/v1/accounts/{}/members", team.account_id);
    // Another manager and another user, so that hierarchies can change.
    let mut more = Vec::new();
    for (role, manager) in [("manager", Some(&team.super_manager)), ("user", None)] {
        let person = platform.person(role).await;
        platform.join(team.account_id, &team.owner, &person, role, manager).await;
        more.push(person.at(team.account_id));
    }
    let [second_manager, second_user] = &more[..] else { unreachable!("there are two") };
    let task = team.user.create_task("Whose").await;
    let path = format!("/v1/tasks/{task}");
    let people = [&team.owner, &team.super_manager, &team.manager, second_manager, &team.user, second_user];
    let mut followers = Vec::new();
    for person in people {
        followers.push(Follower::connect(&platform, person, team.account_id, task).await);
    }
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut assigned = false;
    for step in 0..STEPS {
        let change = ["visibility", "holder", "manager", "role"].choose(&mut random).unwrap();
        let changed = match *change {
            "visibility" => {
                let visibility = ["private", "team", "account"].choose(&mut random).unwrap();
                team.owner.patch(&path, &json!({"visibility": visibility})).ok().await;
                *visibility
            }
            "holder" => {
                let holder = people.choose(&mut random).unwrap();
                let action = if assigned { "reassign" } else { "assign" };
                let call = team.owner.post(&format!("{path}/{action}"), &json!({"assigned_to": holder.id}));
                // To whom it is assigned already.
                assigned |= call.send().await.status == 200;
                action
            }
            "role" => {
                // Whoever manages others cannot become a user; what is refused changes nothing.
                let person = [second_manager, second_user].choose(&mut random).unwrap().id;
                let role = ["user", "manager", "super_manager"].choose(&mut random).unwrap();
                let change = json!({"role": role, "manager_id": null});
                team.owner.patch(&format!("{account}/{person}"), &change).send().await;
                *role
            }
            _ => {
                let user = [&team.user, second_user].choose(&mut random).unwrap().id;
                let managers = [&team.manager, second_manager, &team.super_manager];
                let manager = managers.choose(&mut random).unwrap().id;
                // Their roles may have changed so that nobody of them can manage the other.
                team.owner.patch(&format!("{account}/{user}"), &json!({"manager_id": manager})).send().await;
                "manager_id"
            }
        };
        let changed_at = Instant::now();
        // Once the services have forgotten older memberships, what can be read and what can be followed agree, and an
        // event reaches exactly those who can read the task. Until then, both may agree by the older membership.
        loop {
            for follower in &mut followers {
                follower.follow().await;
            }
            let version = team.owner.patch(&path, &json!({"title": Uuid::new_v4()})).ok().await["version"].clone();
            let mut differs = None;
            for follower in &mut followers {
                while follower.follows {
                    let message = follower.next().await;
                    if message["message"]["version"] == version {
                        break;
                    }
                }
                if follower.follows != follower.reads(task).await {
                    differs = Some(&follower.person.email);
                }
            }
            let Some(email) = differs else { break };
            assert!(changed_at.elapsed() < TIMEOUT, "step {step} ({changed}): {email}");
        }
    }
}

#[tokio::test]
async fn nothing_is_received_a_second_after_the_right_has_ended() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let other = platform.person("other").await;
    platform.join(team.account_id, &team.owner, &other, "user", Some(&team.manager)).await;
    let other = other.at(team.account_id);
    let members = format!("/v1/accounts/{}/members", team.account_id);
    let task = team.owner.post("/v1/tasks", &json!({"title": "For all", "visibility": "account"})).ok().await;
    let task: Uuid = task["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/tasks/{task}");
    for case in ["visibility", "member", "session"] {
        let person = if case == "member" { &other } else { &team.user };
        let mut follower = Follower::connect(&platform, person, team.account_id, task).await;
        assert!(follower.follow().await, "{case}");
        // Events go on all the time.
        let (owner, patched) = (team.owner.clone(), path.clone());
        let busy = tokio::spawn(async move {
            loop {
                owner.patch(&patched, &json!({"title": Uuid::new_v4()})).ok().await;
            }
        });
        for _ in 0..5 {
            follower.next().await;
        }
        match case {
            "visibility" => drop(team.owner.patch(&path, &json!({"visibility": "private"})).ok().await),
            "member" => drop(team.owner.delete(&format!("{members}/{}", other.id)).ok().await),
            _ => {
                let logout = json!({"refresh_token": team.user.refresh_token});
                team.user.post("/v1/auth/logout", &logout).ok().await;
            }
        }
        let ended_at = Instant::now();
        let mut last_event = ended_at;
        while let Some(Ok(message)) = timeout(TIMEOUT, follower.socket.next()).await.expect("an end in time") {
            let message: Value =
                message.to_text().ok().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
            match message["type"].as_str() {
                Some("reject_subscription" | "disconnect") => break,
                Some(_) => {}
                None if message["message"]["version"].is_number() => last_event = Instant::now(),
                None => {}
            }
        }
        busy.abort();
        assert!(last_event - ended_at < MAX_DELAY, "{case}: events {:?} after its end", last_event - ended_at);
        team.owner.patch(&path, &json!({"visibility": "account"})).ok().await;
    }
}
