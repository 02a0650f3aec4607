//! One trace from the REST call to the WebSocket push, across five processes.

use std::sync::{Arc, Mutex};

use baton_tests::{Platform, Services, eventually};
use futures_util::{SinkExt, StreamExt};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tonic::{Request, Response, Status, transport::Server};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

/// The fields of a span that this test checks.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace_id: String,
    id: String,
    parent: String,
}

/// An OTLP collector that stores spans, and everything that it was sent as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<Span>>>, Arc<Mutex<String>>);

impl Collector {
    /// Serves on a free port; returns its URL.
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        endpoint
    }

    /// Everything that it was sent.
    pub(crate) fn dump(&self) -> String {
        self.1.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.1.lock().unwrap() += &format!("{:?}", request.get_ref());
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = format!("{:?}", name.and_then(|name| name.value).and_then(|value| value.value));
            let service = service.split('"').nth(1).unwrap_or_default().to_owned();
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.0.lock().unwrap().push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace_id: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn call_event_and_push_share_one_trace_across_five_processes() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.owner.create_task("Follow me").await;
    platform.sigterm();
    platform.wait_for_exit().await;

    let collector = Collector::default();
    let endpoint = collector.serve().await;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let _services = Services::start(&platform, &variables).await;

    let url = format!("ws://{}/cable?token={}&account_id={}", platform.address(), team.user.token, team.account_id);
    let (mut socket, _) = connect_async(url).await.expect("the socket opens");
    let subscribe = json!({"command": "subscribe", "identifier": r#"{"channel":"NotificationChannel"}"#});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    next(&mut socket, |message| message["type"] == "confirm_subscription").await;

    let assign = team.owner.post(&format!("/v1/tasks/{task}/assign"), &json!({"assigned_to": team.user.id}));
    let response = assign.header("traceparent", &format!("00-{TRACE_ID}-{CLIENT_SPAN}-01")).send().await;
    assert_eq!(response.status, 200, "{}", response.text);
    let push = next(&mut socket, |message| message["message"]["event"] == "notification_received").await;
    assert_eq!(push["message"]["notification"]["task_id"], json!(task));

    // Each span from the client's call to the push, with its process and its parent.
    let expected = [
        ("gateway", "POST /v1/tasks/{id}/assign"),
        ("task", "baton.task.v1.TaskService/AssignTask"),
        ("task", "publish task.assigned"),
        ("notification", "consume task.assigned"),
        ("notification", "publish notification.created"),
        ("gateway", "push notification.created"),
    ];
    let of_this_trace = || -> Vec<Span> {
        collector.0.lock().unwrap().iter().filter(|span| span.trace_id == TRACE_ID).cloned().collect()
    };
    let arrived = eventually("all spans reach the collector", || async {
        let spans = of_this_trace();
        let has = |service: &str, name: &str| spans.iter().any(|span| span.service == service && span.name == name);
        expected.iter().all(|(service, name)| has(service, name)).then_some(())
    });
    // On a timeout the assertions below name the missing span.
    tokio::time::timeout(std::time::Duration::from_secs(15), arrived).await.ok();
    let spans = of_this_trace();
    let mut parent = CLIENT_SPAN.to_owned();
    for (service, name) in expected {
        // Several services consume the event; this checks the one that creates notifications.
        let found = spans.iter().find(|span| span.name == name && span.parent == parent && span.service == service);
        let found = found.unwrap_or_else(|| panic!("no span {name} of {service} below {parent}: {spans:#?}"));
        parent.clone_from(&found.id);
    }
}

/// The next message that `wanted` accepts; others, such as pings, are skipped.
async fn next<S>(socket: &mut S, wanted: impl Fn(&Value) -> bool) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let look = async {
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message.expect("the socket stays open") else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if wanted(&message) {
                return message;
            }
        }
        panic!("the socket closed");
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), look).await.expect("the message comes")
}
