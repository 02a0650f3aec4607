//! Export of the activity log.

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{ActivityFilter, ExportActivityLogsRequest, ExportFormat};

use super::*;

/// Exports the log. Returns the content type, the number of chunks, and the whole text.
async fn export(
    fixture: &Fixture,
    person: &Person,
    format: ExportFormat,
    filter: ActivityFilter,
) -> Result<(String, usize, String), Status> {
    let request = ExportActivityLogsRequest { filter: Some(filter), format: format.into() };
    let request = person.call(fixture.team.account_id, request);
    let mut stream = fixture.client().export_activity_logs(request).await?.into_inner();
    let (mut content_type, mut chunks, mut bytes) = (String::new(), 0, Vec::new());
    while let Some(chunk) = stream.message().await? {
        let body = chunk.body.unwrap();
        if chunks == 0 {
            content_type = body.content_type;
        }
        chunks += 1;
        bytes.extend(body.data);
    }
    Ok((content_type, chunks, String::from_utf8(bytes).unwrap()))
}

#[tokio::test]
async fn an_export_has_the_rows_of_the_list_oldest_first() {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    fixture.publish(&fixture.team.user_a1, "task.created", Uuid::now_v7(), origin()).await;
    let rows = fixture.log(initial + 1).await;
    let all = ActivityFilter::default();
    let (content_type, _, text) =
        export(&fixture, &fixture.team.owner, ExportFormat::Ndjson, all.clone()).await.unwrap();
    assert_eq!(content_type, "application/x-ndjson");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().rev().zip(&rows) {
        assert_eq!((line["id"].as_str(), line["sequence"].as_i64()), (Some(&*row.id), Some(row.sequence.into())));
        assert_eq!((line["action"].as_str(), line["leaf_hash"].as_str()), (Some(&*row.action), Some(&*row.leaf_hash)));
        assert_eq!(
            (line["user_agent"].as_str(), line["address"].as_str()),
            (row.user_agent.as_deref(), row.address.as_deref())
        );
    }

    let (content_type, _, text) = export(&fixture, &fixture.team.owner, ExportFormat::Csv, all).await.unwrap();
    assert!(content_type.starts_with("text/csv"));
    let text = text.strip_prefix('\u{feff}').expect("a byte order mark");
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), rows.len() + 1);
    assert!(lines[0].starts_with("sequence,id,account_id,occurred_at,actor_id,action,"));
    // ASVS 1.2.10: a formula in client data does not become one in a spreadsheet.
    assert!(lines.last().unwrap().contains(r#""'=cmd|' /C calc'!A0, ""Firefox""""#), "{}", lines.last().unwrap());

    let none = ActivityFilter { action: Some("task.nothing".to_owned()), ..Default::default() };
    let (_, chunks, text) = export(&fixture, &fixture.team.owner, ExportFormat::Ndjson, none).await.unwrap();
    assert_eq!((chunks, text.as_str()), (1, ""));
}

#[tokio::test]
async fn the_file_name_has_account_and_day_and_me_is_the_caller() {
    let fixture = Fixture::start().await;
    let owner = &fixture.team.owner;
    let filter = ActivityFilter { actor: Some("me".to_owned()), ..Default::default() };
    fixture.publish(owner, "task.created", Uuid::now_v7(), origin()).await;
    fixture.publish(&fixture.team.user_a1, "task.created", Uuid::now_v7(), origin()).await;
    let request = ExportActivityLogsRequest { filter: Some(filter.clone()), format: ExportFormat::Csv.into() };
    let response = fixture.client().export_activity_logs(owner.call(fixture.team.account_id, request)).await.unwrap();
    let disposition = response.metadata().get("content-disposition").unwrap().to_str().unwrap().to_owned();
    let account = fixture.team.account_id;
    assert!(disposition.starts_with(&format!("attachment; filename=\"activity-log-{account}-20")), "{disposition}");
    assert!(disposition.ends_with(".csv\""), "{disposition}");
    let (_, _, text) = export(&fixture, owner, ExportFormat::Ndjson, filter).await.unwrap();
    let actors: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!actors.is_empty() && actors.iter().all(|line| line["actor_id"] == owner.user_id.to_string()), "{text}");
}

#[tokio::test]
async fn a_long_export_is_chunked_and_too_long_a_one_refused() {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    fill(&fixture, 2_500).await;
    let all = ActivityFilter::default();
    let owner = &fixture.team.owner;
    let (_, chunks, text) = export(&fixture, owner, ExportFormat::Ndjson, all.clone()).await.unwrap();
    assert_eq!(chunks, 1 + 3);
    let sequences =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_i64());
    assert!(sequences.eq((1..=initial as i64 + 2_500).map(Some)));

    let status = export(&fixture, &fixture.team.manager_a, ExportFormat::Csv, all.clone()).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::PermissionMissing));
    fill(&fixture, 100_001 - 2_500).await;
    let status = export(&fixture, owner, ExportFormat::Csv, all).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::ExportTooLarge));
}
