//! Small requests with thousands of violations: the error response is small, too.

use std::time::Duration;

use baton_proto::baton::task::v1::{
    BulkAction, ChangeTasksRequest, ChangeTasksResponse, ListTasksRequest, ListTasksResponse, TaskChange, TaskFilter,
    UpdateTaskRequest, bulk_service_client::BulkServiceClient, task_service_client::TaskServiceClient,
};
use baton_tests::{Platform, RestResponse, grpc::info};
use prost_types::FieldMask;
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{attacker::Attacker, neighbours::Neighbours};

/// Violations in one error; the rest are counted.
const MAX_VIOLATIONS: usize = 20;
/// Maximum size of an error body. Over gRPC, where it is a header on a shared connection, it is half of that.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Asserts that a gRPC error is small and states the number of omitted violations.
fn assert_small_status(status: &Status, left_out: Option<usize>) {
    assert_eq!((status.code(), &*info(status).reason), (Code::InvalidArgument, "VALIDATION_FAILED"), "{status:?}");
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    assert!((1..=MAX_VIOLATIONS).contains(&violations.len()), "{} violations", violations.len());
    assert!(status.details().len() < MAX_RESPONSE_BYTES / 2, "{} bytes of details", status.details().len());
    if let Some(left_out) = left_out {
        let all = format!("{} {:?} {violations:?}", status.message(), info(status).metadata);
        assert!(mentions(&all, left_out), "{left_out} more are not mentioned: {all}");
    }
}

/// Asserts that a problem over REST is small and states the number of omitted violations.
fn assert_small_problem(response: &RestResponse, left_out: Option<usize>) {
    let problem = response.refused(400, "VALIDATION_FAILED");
    let count = problem["errors"].as_array().map(Vec::len);
    assert!(count.is_some_and(|count| (1..=MAX_VIOLATIONS).contains(&count)), "{count:?} errors");
    assert!(response.text.len() < MAX_RESPONSE_BYTES, "{} bytes", response.text.len());
    if let Some(left_out) = left_out {
        assert!(mentions(&response.text, left_out), "{left_out} more are not mentioned: {}", response.text);
    }
}

/// Whether a text contains the number, with or without a thousands separator.
fn mentions(text: &str, number: usize) -> bool {
    text.replace(',', "").split(|c: char| !c.is_ascii_digit()).any(|word| word == number.to_string())
}

fn bulk(task_ids: Vec<String>) -> ChangeTasksRequest {
    ChangeTasksRequest { action: BulkAction::Start.into(), task_ids, ..ChangeTasksRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_with_thousands_of_violations_affects_no_other_call() {
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    let call = |ids: Vec<String>| {
        let request = attacker.person.grpc(Some(attacker.account_id), bulk(ids));
        let mut client = BulkServiceClient::new(platform.grpc());
        async move {
            let response = timeout(TIMEOUT, client.change_tasks(request)).await.expect("an answer");
            response.expect_err("a refusal")
        }
    };
    let over_rest = |ids: Vec<&str>| {
        let call = attacker.person.post("/v1/tasks/bulk", &json!({"action": "start", "task_ids": ids}));
        async move { timeout(TIMEOUT, call.send()).await.expect("an answer") }
    };
    let refusals = neighbours
        .undisturbed_by(Box::pin(async {
            let mut refusals = Vec::new();
            for _ in 0..5 {
                // As many as the rule permits, and more.
                refusals.push((call(vec!["x".to_owned(); 1000]).await, Some(1000 - MAX_VIOLATIONS)));
                refusals.push((call(vec!["x".to_owned(); 1500]).await, None));
                let tags = format!("/v1/tasks?{}", "tags=&".repeat(9000));
                assert_small_problem(
                    &timeout(TIMEOUT, attacker.person.get(&tags).send()).await.expect("an answer"),
                    None,
                );
                assert_small_problem(&over_rest(vec!["x"; 1000]).await, Some(1000 - MAX_VIOLATIONS));
                assert_small_problem(&over_rest(vec!["x"; 1500]).await, None);
            }
            refusals
        }))
        .await;
    for (refusal, left_out) in refusals {
        assert_small_status(&refusal, left_out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabyte_of_empty_ids_uses_little_memory() {
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    let (web, caller) = (platform.grpc_web(), Some((&attacker.person, attacker.account_id)));
    let refusals = neighbours
        .undisturbed_by(async {
            let mut refusals = Vec::new();
            for _ in 0..2 {
                let ids = bulk(vec![String::new(); 500_000]);
                let rpc = "/baton.task.v1.BulkService/ChangeTasks";
                let call = web.call::<ChangeTasksResponse>(caller, rpc, &ids);
                refusals.push(timeout(TIMEOUT, call).await.expect("an answer").expect_err("a refusal"));

                let filter = TaskFilter { tags: vec![String::new(); 500_000], ..TaskFilter::default() };
                let list = ListTasksRequest { filter: Some(filter), page: None };
                let rpc = "/baton.task.v1.TaskService/ListTasks";
                let call = web.call::<ListTasksResponse>(caller, rpc, &list);
                refusals.push(timeout(TIMEOUT, call).await.expect("an answer").expect_err("a refusal"));
            }
            refusals
        })
        .await;
    refusals.iter().for_each(|refusal| assert_small_status(refusal, None));
}

/// An error repeats the caller's input, but truncated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_field_name_does_not_make_a_long_error() {
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let task = attacker.person.create_task("Mine").await;
    let neighbours = Neighbours::of(&platform).await;
    let update = |mask: Vec<String>| {
        let update_mask = Some(FieldMask { paths: mask });
        let message = UpdateTaskRequest { id: task.to_string(), task: Some(TaskChange::default()), update_mask };
        let request = attacker.person.grpc(Some(attacker.account_id), message);
        let mut client = TaskServiceClient::new(platform.grpc());
        async move { timeout(TIMEOUT, client.update_task(request)).await.expect("an answer").err() }
    };
    let refusals = neighbours
        .undisturbed_by(async {
            let mut refusals = Vec::new();
            for length in [10_000, 100_000, 1_000_000] {
                refusals.push(update(vec!["x".repeat(length)]).await.expect("a refusal"));
                // Clearing an absent field may succeed.
                refusals.extend(update(vec!["custom_fields.".to_owned() + &"x".repeat(length)]).await);
            }
            for count in [100, 10_000] {
                refusals
                    .push(update((0..count).map(|_| Uuid::new_v4().to_string()).collect()).await.expect("a refusal"));
            }
            let unknown = json!({"x".repeat(100_000): 1});
            let response = attacker.person.patch(&format!("/v1/tasks/{task}"), &unknown).send().await;
            response.refused(400, "UNKNOWN_FIELD");
            assert!(response.text.len() < MAX_RESPONSE_BYTES, "{} bytes", response.text.len());
            refusals
        })
        .await;
    refusals.iter().for_each(|refusal| assert_small_status(refusal, None));
}
