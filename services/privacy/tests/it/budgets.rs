//! Budgets of differential privacy: never exceeded, and a repeated query costs nothing.

use baton_proto::baton::privacy::v1::{SpendBudgetRequest, StoreReleaseRequest};
use futures_util::future::join_all;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::Fixture;

fn spend(query: u8, epsilon_thousandths: u32) -> SpendBudgetRequest {
    SpendBudgetRequest {
        scope: "installation".to_owned(),
        purpose: "research".to_owned(),
        query_sha256: vec![query; 32],
        epsilon_thousandths,
    }
}

fn store(query: u8, result: &str) -> StoreReleaseRequest {
    StoreReleaseRequest {
        scope: "installation".to_owned(),
        purpose: "research".to_owned(),
        query_sha256: vec![query; 32],
        result: result.into(),
    }
}

#[tokio::test]
async fn parallel_spends_never_exceed_the_budget() {
    let fixture = Fixture::start().await;
    // Three of the quarter's four are spent before.
    for query in 200..203 {
        fixture.client.clone().spend_budget(fixture.as_service(spend(query, 1000)).await).await.unwrap();
    }
    let fixture = &fixture;
    let calls = (0..50).map(|query| async move {
        let request = fixture.as_service(spend(query, 300)).await;
        fixture.client.clone().spend_budget(request).await
    });
    let (paid, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((paid.len(), refused.len()), (3, 47), "of 1.0, three times 0.3");
    for refused in refused {
        let status = refused.unwrap_err();
        let details = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), details.reason.as_str()), (Code::ResourceExhausted, "BUDGET_EXHAUSTED"));
        assert!(["100", "400", "700"].contains(&details.metadata["remaining_thousandths"].as_str()), "{details:?}");
    }
    // What is left pays for what it pays for.
    let response = fixture.client.clone().spend_budget(fixture.as_service(spend(100, 100)).await).await.unwrap();
    assert_eq!(response.into_inner().remaining_thousandths, 0);
}

#[tokio::test]
async fn a_repeated_query_gets_the_stored_result_for_nothing() {
    let fixture = Fixture::start().await;
    let client = || fixture.client.clone();
    let refused = client().store_release(fixture.as_service(store(1, "early")).await).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "RELEASE_NOT_FOUND");
    let first = client().spend_budget(fixture.as_service(spend(1, 500)).await).await.unwrap().into_inner();
    assert_eq!((first.result, first.remaining_thousandths), (None, 3500));
    // Two callers may have drawn; both show the first one's.
    for drawn in ["seven", "eight"] {
        let shown = client().store_release(fixture.as_service(store(1, drawn)).await).await.unwrap().into_inner();
        assert_eq!(shown.result, b"seven");
    }
    let again = client().spend_budget(fixture.as_service(spend(1, 500)).await).await.unwrap().into_inner();
    assert_eq!((again.result.as_deref(), again.remaining_thousandths), (Some(&b"seven"[..]), 3500));
    let too_much = client().spend_budget(fixture.as_service(spend(2, 1001)).await).await.unwrap_err();
    assert_eq!(too_much.code(), Code::InvalidArgument);
    let nobody = client().spend_budget(spend(3, 100)).await.unwrap_err();
    assert_eq!(nobody.code(), Code::PermissionDenied);
}
