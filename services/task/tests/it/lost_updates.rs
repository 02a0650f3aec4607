//! Many write the same task at once.

use baton_errors::Reason;
use futures_util::future::join_all;

use crate::desk::{Answer, Desk, new, refused, titled, update, with};

/// Calls until it is heard: a machine at work elsewhere may be BUSY for so many at once.
async fn heard(call: impl AsyncFn() -> Answer) -> Answer {
    loop {
        match call().await {
            Err(busy) if baton_testkit::reason(&busy) == Some(Reason::Busy) => {}
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn of_fifty_writers_who_saw_the_same_version_one_wins() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("First")).await.unwrap().id;
    for version in 1..=3 {
        let tag = format!("\"{version}\"");
        let write = async |n: usize| {
            let change = update(&id, &["title"], titled(&format!("Writer {n} of round {version}")));
            heard(async || {
                let request = with(desk.call(me, change.clone()), "if-match", &tag);
                Ok(desk.tasks().update_task(request).await?.into_inner().task.unwrap())
            })
            .await
        };
        let answers = join_all((0..50).map(write)).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 49));
        assert!(lost.into_iter().all(|answer| refused(answer) == Reason::VersionMismatch));
        let won = won.into_iter().next().unwrap().unwrap();
        let now = desk.get(me, &id).await.unwrap();
        assert_eq!((now.version, &now.title), (version + 1, &won.title));
    }
    assert_eq!(desk.timeline(me, &id).await.unwrap().len(), 4, "who lost left nothing");
}

#[tokio::test]
async fn of_fifty_who_did_not_look_the_last_wins_and_all_are_told_of() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("First")).await.unwrap().id;
    let titles: Vec<String> = (0..50).map(|n| format!("Writer {n}")).collect();
    let write = async |title: &String| heard(async || desk.update(me, &id, &["title"], titled(title)).await).await;
    let answers = join_all(titles.iter().map(write)).await;
    let mut versions: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=51).collect::<Vec<_>>());
    let lines = desk.timeline(me, &id).await.unwrap();
    let mut told: Vec<String> = lines[1..]
        .iter()
        .map(|line| match &line.changes.as_ref().unwrap().fields["title"].kind {
            Some(prost_types::value::Kind::StringValue(title)) => title.clone(),
            other => panic!("a title: {other:?}"),
        })
        .collect();
    assert_eq!(Some(&desk.get(me, &id).await.unwrap().title), told.last());
    told.sort();
    let mut titles = titles;
    titles.sort();
    assert_eq!(told, titles);
}
