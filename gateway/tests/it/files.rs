//! Answers that are files, in pieces.

use baton_errors::{Error, Reason};
use baton_proto::{
    baton::tenancy::v1::{ExportActivityLogsRequest, ExportActivityLogsResponse, ExportFormat},
    google::api::HttpBody,
};
use tonic::Status;

use crate::gateway::{Gateway, PERSON, header, refused};

const EXPORT: &str = "ActivityService/ExportActivityLogs";
const PATH: &str = "/v1/activity-logs/export";

fn piece(content_type: &str, data: &str) -> Result<ExportActivityLogsResponse, Status> {
    let body = HttpBody { content_type: content_type.to_owned(), data: data.into(), extensions: Vec::new() };
    Ok(ExportActivityLogsResponse { body: Some(body) })
}

#[tokio::test]
async fn a_file_is_its_pieces_as_they_are() {
    let gateway = Gateway::start().await;
    gateway.service.streams(EXPORT, vec![piece("text/csv", "a,b\r\n"), piece("", "1,\"\n"), piece("", "2\"\r\n")]);
    let request = gateway.get(&format!("{PATH}?format=csv&actor={PERSON}&from=2026-11-01T00:00:00Z"));
    let response = request.send().await.expect("answered");
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, Some("text/csv")));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(response.text().await.expect("a whole body"), "a,b\r\n1,\"\n2\"\r\n");
    let asked: ExportActivityLogsRequest = gateway.service.call(EXPORT).as_a();
    let filter = asked.filter.expect("a filter");
    assert_eq!((asked.format, filter.actor.as_deref()), (ExportFormat::Csv as i32, Some(PERSON)));
    assert_eq!(filter.from.expect("a time").seconds, 1_793_491_200);
}

#[tokio::test]
async fn what_is_refused_is_a_problem_and_not_a_file() {
    let gateway = Gateway::start().await;
    gateway.service.refuses(EXPORT, || Error::from(Reason::ExportTooLarge).into());
    refused(gateway.get(PATH), 422, "EXPORT_TOO_LARGE").await;
    refused(gateway.get(&format!("{PATH}?format=pdf")), 400, "VALIDATION_FAILED").await;
    gateway.service.streams::<ExportActivityLogsResponse>(EXPORT, vec![Err(Error::from(Reason::Busy).into())]);
    refused(gateway.get(PATH), 429, "BUSY").await;
}

/// A client that is not told would take a part of the file for all of it.
#[tokio::test]
async fn a_file_that_breaks_off_is_no_whole_file() {
    let gateway = Gateway::start().await;
    let broken = Err(Status::internal("the secret of the service"));
    gateway.service.streams(EXPORT, vec![piece("text/csv", "a,b\r\n"), broken]);
    // Before the first byte or after it: what matters is that no whole answer comes.
    if let Ok(response) = gateway.get(PATH).send().await {
        response.text().await.expect_err("the body breaks off");
    }
}

#[tokio::test]
async fn a_file_without_a_type_is_bytes_and_an_empty_one_is_empty() {
    let gateway = Gateway::start().await;
    gateway.service.streams(EXPORT, vec![piece("text/x\r\nevil: 1", "")]);
    let response = gateway.get(PATH).send().await.expect("answered");
    assert_eq!(header(&response, "content-type"), Some("application/octet-stream"));
    assert_eq!(header(&response, "evil"), None);
    gateway.service.streams::<ExportActivityLogsResponse>(EXPORT, Vec::new());
    let response = gateway.get(PATH).send().await.expect("answered");
    assert_eq!((response.status().as_u16(), response.bytes().await.expect("none").len()), (200, 0));
}
