//! Continuing from a position, over every transport, without a gap and without a repetition.

use baton_proto::baton::{
    live::v1::{ChannelKind, WatchRequest, WatchResponse, live_service_client::LiveServiceClient},
    task::v1::TaskVisibility,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::fixture::{Fixture, Socket, TIMEOUT, task_identifier};

/// The next message of the extended protocol: the event and its position.
async fn next_extended(socket: &mut Socket) -> (Value, Value) {
    let message = socket.receive().await;
    (message["message"]["event"].clone(), json!({"epoch": message["epoch"], "offset": message["offset"]}))
}

#[tokio::test]
async fn extended_client_continues_after_its_last_message() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let identifier = task_identifier(task).to_string();
    let mut first = fixture.connect_extended(user).await;
    first.confirm(&identifier).await;
    let (event, start) = next_extended(&mut first).await;
    assert_eq!(event, "resync", "it has a position from the start");
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    let (event, position) = next_extended(&mut first).await;
    assert_eq!(event, "task_started");
    drop(first);
    fixture.publish(["task.paused", "task.resumed"].map(|kind| fixture.task_event(kind, task, 2))).await;

    let stream = format!("task-{task}");
    let missed = ["task_started", "task_paused", "task_resumed"];
    for (from, missed) in [(position, &missed[1..]), (start, &missed[..])] {
        let mut socket = fixture.connect_extended(user).await;
        let history = json!({"since": 0, "streams": {&stream: from}});
        socket.send(json!({"command": "subscribe", "identifier": identifier, "history": history}).to_string()).await;
        assert_eq!(socket.receive().await["type"], "confirm_subscription");
        let mut received = Vec::new();
        // What arrives after the confirmation is replayed or live, and each once.
        while received.len() < missed.len() {
            let (event, _) = next_extended(&mut socket).await;
            received.extend(event.as_str().map(str::to_owned));
        }
        assert_eq!(received, missed);
        socket.command("unsubscribe", &identifier).await;
    }
}

#[tokio::test]
async fn positions_that_mean_nothing_lead_to_a_resync() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let identifier = task_identifier(task).to_string();
    let position = fixture.connect(user).await.confirm(&identifier).await;
    let (epoch, offset) = position.split_once(':').unwrap();
    let offset: u64 = offset.parse().unwrap();
    let hour_ahead = chrono::Utc::now().timestamp() + 3600;
    for history in [
        json!({"streams": {"s": {"epoch": "1", "offset": offset}}}),
        json!({"streams": {"s": {"epoch": "x", "offset": offset}}}),
        json!({"streams": {"s": {"epoch": epoch, "offset": 1}}}),
        json!({"streams": {"s": {"epoch": epoch, "offset": offset + (1 << 40)}}}),
        json!({"since": hour_ahead}),
        json!({"since": hour_ahead - 7200}),
    ] {
        let mut socket = fixture.connect_extended(user).await;
        socket.send(json!({"command": "subscribe", "identifier": identifier, "history": history}).to_string()).await;
        assert_eq!(socket.receive().await["type"], "confirm_subscription", "{history}");
        assert_eq!(socket.receive().await, json!({"type": "reject_history", "identifier": identifier}), "{history}");
        let resync = socket.receive().await;
        assert_eq!(resync["message"], json!({"event": "resync"}), "{history}");
        assert!(resync["offset"].is_u64(), "{resync}");
    }
    // With the current position, nothing was missed.
    for since in [position.as_str(), "nonsense"] {
        let mut socket = fixture.connect(user).await;
        let identifier = json!({"channel": "TaskChannel", "task_id": task, "since": since});
        socket.confirm(&identifier.to_string()).await;
        fixture.publish([fixture.task_event("task.started", task, 1)]).await;
        let expected = if since == "nonsense" { "resync" } else { "task_started" };
        assert_eq!(socket.next_message(&identifier).await["event"], expected);
    }
}

#[tokio::test]
async fn plain_client_continues_from_the_position_in_its_identifier() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let position = fixture.connect(user).await.confirm(&task_identifier(task).to_string()).await;
    let missed = ["task.started", "task.paused"].map(|kind| fixture.task_event(kind, task, 1));
    let mut witness = fixture.connect(user).await;
    witness.subscribe(&task_identifier(task)).await;
    fixture.publish(missed).await;
    for event in ["task_started", "task_paused"] {
        assert_eq!(witness.next_message(&task_identifier(task)).await["event"], event);
    }
    let identifier = json!({"channel": "TaskChannel", "task_id": task, "since": position});
    let mut socket = fixture.connect(user).await;
    assert_eq!(socket.confirm(&identifier.to_string()).await, position);
    fixture.publish([fixture.task_event("task.resumed", task, 2)]).await;
    for event in ["task_started", "task_paused", "task_resumed"] {
        assert_eq!(socket.next_message(&identifier).await["event"], event);
    }
}

#[tokio::test]
async fn replay_applies_the_current_rights() {
    let fixture = Fixture::start().await;
    let (user, other) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let task = fixture.task_service.create(user, TaskVisibility::Account);
    let position = fixture.connect(other).await.confirm(&task_identifier(task).to_string()).await;
    let mut witness = fixture.connect(user).await;
    witness.subscribe(&task_identifier(task)).await;
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    fixture.publish([fixture.visible_event(task, user, TaskVisibility::Private)]).await;
    for event in ["task_started", "task_updated"] {
        assert_eq!(witness.next_message(&task_identifier(task)).await["event"], event);
    }
    let identifier = json!({"channel": "TaskChannel", "task_id": task, "since": position}).to_string();
    let mut socket = fixture.connect(other).await;
    socket.command("subscribe", &identifier).await;
    assert_eq!(socket.receive().await, json!({"type": "reject_subscription", "identifier": identifier}));
}

#[tokio::test]
async fn token_is_renewed_on_the_open_socket() {
    let fixture = Fixture::start().await;
    let (user, other) = (&fixture.team.user_a1, &fixture.team.user_a2);
    let token = fixture.token_expiring_in(user, 6).await;
    let mut socket = fixture.open(&format!("?token={token}&account_id={}", fixture.team.account_id)).await;
    assert_eq!(socket.receive().await, json!({"type": "welcome"}));
    let perform = |token: &str| {
        let data = json!({"action": "authenticate", "token": token}).to_string();
        json!({"command": "message", "identifier": "any", "data": data}).to_string()
    };
    for bad in ["nonsense", &other.token] {
        socket.send(perform(bad)).await;
        let refused = json!({"event": "authentication_failed", "reason": "TOKEN_INVALID"});
        assert_eq!(socket.receive().await["message"], refused);
    }
    socket.send(perform(&user.token)).await;
    assert_eq!(socket.receive().await, json!({"identifier": "any", "message": {"event": "authenticated"}}));
    // Pings go on when the first token has expired.
    let expired_at = tokio::time::Instant::now() + std::time::Duration::from_secs(9);
    while tokio::time::Instant::now() < expired_at {
        let message = timeout(TIMEOUT, socket.receive_any()).await.unwrap().expect("the socket is open");
        assert_eq!(message["type"], "ping");
    }
}

#[tokio::test]
async fn event_stream_continues_after_the_last_event_id() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let url = format!("http://{}/v1/live/stream?channel=TaskChannel&task_id={task}", fixture.address);
    let mut stream = EventStream::open(&fixture, &url, None).await;
    assert_eq!(stream.next().await.1["event"], "subscribed");
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    let (id, event) = stream.next().await;
    assert_eq!(event["event"], "task_started");
    drop(stream);
    fixture.publish([fixture.task_event("task.paused", task, 2)]).await;
    let mut stream = EventStream::open(&fixture, &url, Some(&id)).await;
    assert_eq!(stream.next().await.1["event"], "subscribed");
    fixture.publish([fixture.task_event("task.resumed", task, 3)]).await;
    for expected in ["task_paused", "task_resumed"] {
        assert_eq!(stream.next().await.1["event"], expected);
    }

    let get = |url: String| fixture.get(user, url);
    let gone = get(format!("{url}&since=1:1")).await;
    assert_eq!((gone.status().as_u16(), fixture.reason(gone).await.as_str()), (410, "POSITION_GONE"));
    let invalid = get(format!("{url}&since=now")).await;
    assert_eq!((invalid.status().as_u16(), fixture.reason(invalid).await.as_str()), (400, "VALIDATION_FAILED"));
    let base = format!("http://{}/v1/live/stream", fixture.address);
    for (query, status, reason) in [
        ("", 400, "VALIDATION_FAILED"),
        ("?channel=PayrollChannel", 400, "VALIDATION_FAILED"),
        ("?channel=TaskChannel&task_id=00000000-0000-4000-8000-000000000000", 404, "TASK_NOT_FOUND"),
        ("?channel=BoardChannel&board_id=account", 404, "BOARD_NOT_FOUND"),
    ] {
        let refused = get(format!("{base}{query}")).await;
        assert_eq!((refused.status().as_u16(), fixture.reason(refused).await.as_str()), (status, reason), "{query}");
    }
    let anonymous = reqwest::get(&url).await.unwrap();
    assert_eq!((anonymous.status().as_u16(), fixture.reason(anonymous).await.as_str()), (401, "TOKEN_MISSING"));
}

#[tokio::test]
async fn polling_returns_what_was_missed_and_waits_for_more() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let url = format!("http://{}/v1/live/events?channel=TaskChannel&task_id={task}", fixture.address);
    let poll = async |since: &str| -> Value {
        let response = fixture.get(user, format!("{url}{since}")).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    let start = poll("").await;
    assert_eq!(start["events"], json!([]));
    let mut since = format!("&since={}", start["position"].as_str().unwrap());
    let mut seen = Vec::new();
    for (version, kind) in ["task.started", "task.paused", "task.resumed"].into_iter().enumerate() {
        let (response, ()) =
            tokio::join!(poll(&since), fixture.publish([fixture.task_event(kind, task, version as i32)]));
        since = format!("&since={}", response["position"].as_str().unwrap());
        for event in response["events"].as_array().unwrap() {
            seen.push(event["message"]["event"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, ["task_started", "task_paused", "task_resumed"]);
}

#[tokio::test]
async fn watch_begins_with_a_position_and_continues_from_it() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let channel = Channel::from_shared(format!("http://{}", fixture.address)).unwrap().connect().await.unwrap();
    let request = |since: Option<String>| WatchRequest {
        channel: ChannelKind::Task.into(),
        task_id: Some(task.to_string()),
        since,
        ..WatchRequest::default()
    };
    let watch = async |since| {
        let call = user.call(fixture.team.account_id, request(since));
        LiveServiceClient::new(channel.clone()).watch(call).await.map(tonic::Response::into_inner)
    };
    let next = async |stream: &mut tonic::Streaming<WatchResponse>| -> WatchResponse {
        timeout(TIMEOUT, stream.message()).await.expect("in time").unwrap().expect("a response")
    };
    let mut stream = watch(None).await.unwrap();
    let start = next(&mut stream).await;
    assert_eq!(start.message, None);
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    let started = next(&mut stream).await;
    let message = started.message.clone().unwrap();
    assert_eq!((message.event.as_str(), message.task_id(), message.version()), ("task_started", &*task.to_string(), 1));
    drop(stream);
    fixture.publish([fixture.task_event("task.paused", task, 2)]).await;
    for (since, events) in
        [(start.position, &["task_started", "task_paused"][..]), (started.position, &["task_paused"])]
    {
        let mut stream = watch(Some(since.clone())).await.unwrap();
        assert_eq!(next(&mut stream).await.position, since);
        for event in events {
            assert_eq!(next(&mut stream).await.message.unwrap().event, *event);
        }
    }
    let gone = watch(Some("1:1".to_owned())).await.unwrap_err();
    assert_eq!(
        (gone.code(), baton_errors::reason_of(&gone)),
        (tonic::Code::OutOfRange, Some(baton_errors::Reason::PositionGone))
    );
    let invalid = watch(Some("now".to_owned())).await.unwrap_err();
    assert_eq!(invalid.code(), tonic::Code::InvalidArgument);
}

/// A reader of server-sent events.
struct EventStream {
    response: reqwest::Response,
    buffer: String,
}

impl EventStream {
    async fn open(fixture: &Fixture, url: &str, last_event_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(url).bearer_auth(&fixture.team.user_a1.token);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { response, buffer: String::new() }
    }

    /// The id and the data of the next event.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (id, data) = (line("id: "), line("data: "));
                self.buffer = rest.to_owned();
                if let (Some(id), Some(data)) = (id, data) {
                    return (id, serde_json::from_str(&data).unwrap());
                }
            } else {
                let bytes = timeout(TIMEOUT, self.response.chunk()).await.expect("an event in time").unwrap().unwrap();
                self.buffer += std::str::from_utf8(&bytes).unwrap();
            }
        }
    }
}
