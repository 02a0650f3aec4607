//! Pseudonyms: stable, different for each purpose, and gone with the person's key.

use baton_proto::baton::privacy::v1::IssuePseudonymsRequest;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::Fixture;

async fn issue(fixture: &Fixture, purpose: &str, people: &[Uuid], reversible: bool) -> Vec<String> {
    let user_ids = people.iter().map(Uuid::to_string).collect();
    let request = IssuePseudonymsRequest { purpose: purpose.to_owned(), user_ids, reversible };
    let request = fixture.as_service(request).await;
    fixture.client.clone().issue_pseudonyms(request).await.unwrap().into_inner().pseudonyms
}

#[tokio::test]
async fn pseudonyms_are_stable_and_differ_by_purpose() {
    let fixture = Fixture::start().await;
    let people = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    for reversible in [false, true] {
        let research = issue(&fixture, "research", &people, reversible).await;
        assert_eq!(issue(&fixture, "research", &people, reversible).await, research);
        let analytics = issue(&fixture, "analytics", &people, reversible).await;
        let all: std::collections::BTreeSet<&String> = research.iter().chain(&analytics).collect();
        assert_eq!(all.len(), 6, "{all:?}");
        assert!(all.iter().all(|name| people.iter().all(|id| !name.contains(&id.simple().to_string()))));
    }
    let unknown = IssuePseudonymsRequest {
        purpose: "gossip".to_owned(),
        user_ids: vec![people[0].to_string()],
        reversible: false,
    };
    let refused = fixture.client.clone().issue_pseudonyms(fixture.as_service(unknown).await).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "PURPOSE_UNKNOWN");
    // No file of the vault has an id in it.
    let vault = fixture.folder.path().join("vault/pseudonyms");
    let names: Vec<_> = std::fs::read_dir(vault).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(names.len(), 6, "two purposes");
    for entry in names {
        let content = std::fs::read(entry.path()).unwrap();
        assert!(people.iter().all(|id| !content.windows(16).any(|bytes| bytes == id.as_bytes())));
    }
}
