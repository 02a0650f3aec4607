//! The account setting for one running timer per member.

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    SettingsChange, UpdateSettingsRequest, account_service_client::AccountServiceClient,
};
use baton_testkit::{Person, eventually};
use futures_util::future::join_all;
use prost_types::FieldMask;
use tonic_types::StatusExt;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

/// Enables the setting and waits until the service applies it to this member.
async fn require_single_timer(fixture: &Fixture, actor: &Person) {
    let request = UpdateSettingsRequest {
        account_id: fixture.team.account_id.to_string(),
        settings: Some(SettingsChange { one_running_timer: Some(true), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["one_running_timer".to_owned()] }),
    };
    let owner = &fixture.team.owner;
    AccountServiceClient::new(fixture.context.tenancy()).update_settings(fixture.call(owner, request)).await.unwrap();
    // Until the service has consumed the event, two running tasks are allowed.
    let [one, other] = [
        fixture.create(actor, new_task("One")).await.unwrap().id,
        fixture.create(actor, new_task("Other")).await.unwrap().id,
    ];
    fixture.start(actor, &one).await.unwrap();
    eventually(|| async {
        if fixture.start(actor, &other).await.is_err() {
            return Some(());
        }
        fixture.cancel(actor, &other, None).await.unwrap();
        fixture.reopen(actor, &other, None).await.unwrap();
        None
    })
    .await;
    fixture.cancel(actor, &one, None).await.unwrap();
}

#[tokio::test]
async fn one_of_ten_concurrently_started_tasks_runs() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let ids: Vec<String> = join_all((0..10).map(|_| fixture.create(&me, new_task("Sweep"))))
        .await
        .into_iter()
        .map(|task| task.unwrap().id)
        .collect();
    // Before the setting is on, two may run.
    fixture.start(&me, &ids[0]).await.unwrap();
    fixture.start(&me, &ids[1]).await.unwrap();
    for id in &ids[..2] {
        fixture.pause(&me, id, "lunch").await.unwrap();
    }
    require_single_timer(&fixture, &me).await;

    let starts = ids.iter().enumerate().map(|(index, id)| {
        let (fixture, me) = (&fixture, &me);
        async move { if index < 2 { fixture.resume(me, id).await } else { fixture.start(me, id).await } }
    });
    let responses = join_all(starts).await;
    let runs: Vec<String> =
        responses.iter().filter_map(|response| response.as_ref().ok()).map(|task| task.id.clone()).collect();
    assert_eq!(runs.len(), 1, "{responses:?}");
    for status in responses.into_iter().filter_map(Result::err) {
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), &info.metadata["task_id"]), ("TIMER_ALREADY_RUNNING", &runs[0]));
    }
    let version = fixture.get(&me, &ids[5]).await.unwrap().version;
    assert_eq!(
        error_reason(
            fixture
                .start(&me, ids.iter().find(|id| **id != runs[0] && **id != ids[0] && **id != ids[1]).unwrap())
                .await
        ),
        Reason::TimerAlreadyRunning
    );
    assert_eq!(fixture.get(&me, &ids[5]).await.unwrap().version, version, "a refused start changes nothing");

    // Each user has their own timer, and reassigning a running task frees the timer.
    let team = &fixture.team;
    let theirs = fixture.create(&team.manager_a, new_task_for("Mop", &team.user_a2)).await.unwrap().id;
    fixture.start(&team.user_a2, &theirs).await.unwrap();
    let mine = fixture.create(&team.manager_a, new_task_for("Dust", &me)).await.unwrap().id;
    assert_eq!(error_reason(fixture.start(&me, &mine).await), Reason::TimerAlreadyRunning);
    fixture.delete(&me, &runs[0]).await.unwrap();
    fixture.start(&me, &mine).await.unwrap();
    fixture.reassign(&team.owner, &mine, team.user_a2.user_id).await.unwrap();
    fixture.start(&me, ids.iter().rfind(|id| **id != runs[0]).unwrap()).await.unwrap();
}
