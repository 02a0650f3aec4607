//! File responses.

use baton_errors::{Error, Reason};
use baton_proto::{
    baton::tenancy::v1::{ExportActivityLogsRequest, ExportActivityLogsResponse, ExportFormat},
    google::api::HttpBody,
};
use tonic::Status;

use crate::fixture::{Fixture, USER, expect_problem, header};

const EXPORT: &str = "ActivityService/ExportActivityLogs";
const PATH: &str = "/v1/activity-logs/export";

fn piece(content_type: &str, data: &str) -> Result<ExportActivityLogsResponse, Status> {
    let body = HttpBody { content_type: content_type.to_owned(), data: data.into(), extensions: Vec::new() };
    Ok(ExportActivityLogsResponse { body: Some(body) })
}

#[tokio::test]
async fn a_file_is_streamed_unchanged() {
    let fixture = Fixture::start().await;
    fixture.service.stream(EXPORT, vec![piece("text/csv", "a,b\r\n"), piece("", "1,\"\n"), piece("", "2\"\r\n")]);
    let request = fixture.get(&format!("{PATH}?format=csv&actor={USER}&from=2026-11-01T00:00:00Z"));
    let response = request.send().await.expect("a response");
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, Some("text/csv")));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(response.text().await.expect("a whole body"), "a,b\r\n1,\"\n2\"\r\n");
    let asked: ExportActivityLogsRequest = fixture.service.call(EXPORT).decode();
    let filter = asked.filter.expect("a filter");
    assert_eq!((asked.format, filter.actor.as_deref()), (ExportFormat::Csv as i32, Some(USER)));
    assert_eq!(filter.from.expect("a time").seconds, 1_793_491_200);
}

#[tokio::test]
async fn an_error_before_the_file_is_a_problem() {
    let fixture = Fixture::start().await;
    fixture.service.fail(EXPORT, || Error::from(Reason::ExportTooLarge).into());
    expect_problem(fixture.get(PATH), 422, "EXPORT_TOO_LARGE").await;
    expect_problem(fixture.get(&format!("{PATH}?format=pdf")), 400, "VALIDATION_FAILED").await;
    fixture.service.stream::<ExportActivityLogsResponse>(EXPORT, vec![Err(Error::from(Reason::Busy).into())]);
    expect_problem(fixture.get(PATH), 429, "BUSY").await;
}

/// Otherwise a client would take a part of the file for the whole.
#[tokio::test]
async fn an_error_within_the_file_aborts_the_body() {
    let fixture = Fixture::start().await;
    let broken = Err(Status::internal("the secret of the service"));
    fixture.service.stream(EXPORT, vec![piece("text/csv", "a,b\r\n"), broken]);
    // The error may come before or after the first byte; the response must not be complete.
    if let Ok(response) = fixture.get(PATH).send().await {
        response.text().await.expect_err("an aborted body");
    }
}

#[tokio::test]
async fn a_file_without_a_type_is_an_octet_stream() {
    let fixture = Fixture::start().await;
    fixture.service.stream(EXPORT, vec![piece("text/x\r\nevil: 1", "")]);
    let response = fixture.get(PATH).send().await.expect("a response");
    assert_eq!(header(&response, "content-type"), Some("application/octet-stream"));
    assert_eq!(header(&response, "evil"), None);
    fixture.service.stream::<ExportActivityLogsResponse>(EXPORT, Vec::new());
    let response = fixture.get(PATH).send().await.expect("a response");
    assert_eq!((response.status().as_u16(), response.bytes().await.expect("none").len()), (200, 0));
}
