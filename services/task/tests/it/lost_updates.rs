//! Concurrent writes of one task: no update is lost.

use baton_errors::Reason;
use futures_util::future::join_all;

use crate::fixture::{Fixture, RpcResult, error_reason, new_task, title_change, update_request, with_header};

/// Retries a call that is refused as BUSY: a loaded machine may refuse some of many concurrent calls.
async fn retry_unavailable(call: impl AsyncFn() -> RpcResult) -> RpcResult {
    loop {
        match call().await {
            Err(busy) if baton_testkit::reason(&busy) == Some(Reason::Busy) => {}
            response => return response,
        }
    }
}

#[tokio::test]
async fn one_of_fifty_writers_with_the_same_version_succeeds() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("First")).await.unwrap().id;
    for version in 1..=3 {
        let tag = format!("\"{version}\"");
        let write = async |n: usize| {
            let change = update_request(&id, &["title"], title_change(&format!("Writer {n} of round {version}")));
            retry_unavailable(async || {
                let request = with_header(fixture.call(me, change.clone()), "if-match", &tag);
                Ok(fixture.tasks().update_task(request).await?.into_inner().task.unwrap())
            })
            .await
        };
        let responses = join_all((0..50).map(write)).await;
        let (won, lost): (Vec<_>, Vec<_>) = responses.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 49));
        assert!(lost.into_iter().all(|response| error_reason(response) == Reason::VersionMismatch));
        let won = won.into_iter().next().unwrap().unwrap();
        let now = fixture.get(me, &id).await.unwrap();
        assert_eq!((now.version, &now.title), (version + 1, &won.title));
    }
    assert_eq!(fixture.timeline(me, &id).await.unwrap().len(), 4, "refused writers leave no log entry");
}

#[tokio::test]
async fn fifty_unconditional_writes_all_succeed_and_are_logged() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("First")).await.unwrap().id;
    let titles: Vec<String> = (0..50).map(|n| format!("Writer {n}")).collect();
    let write = async |title: &String| {
        retry_unavailable(async || fixture.update(me, &id, &["title"], title_change(title)).await).await
    };
    let responses = join_all(titles.iter().map(write)).await;
    let mut versions: Vec<_> = responses.into_iter().map(|response| response.unwrap().version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=51).collect::<Vec<_>>());
    let lines = fixture.timeline(me, &id).await.unwrap();
    let mut logged: Vec<String> = lines[1..]
        .iter()
        .map(|line| match &line.changes.as_ref().unwrap().fields["title"].kind {
            Some(prost_types::value::Kind::StringValue(title)) => title.clone(),
            other => panic!("expected a title: {other:?}"),
        })
        .collect();
    assert_eq!(Some(&fixture.get(me, &id).await.unwrap().title), logged.last());
    logged.sort();
    let mut titles = titles;
    titles.sort();
    assert_eq!(logged, titles);
}
