//! Where the account says so, nobody works on two tasks at once.

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    SettingsChange, UpdateSettingsRequest, account_service_client::AccountServiceClient,
};
use baton_testkit::{Person, eventually};
use futures_util::future::join_all;
use prost_types::FieldMask;
use tonic_types::StatusExt;

use crate::desk::{Desk, new, new_for, refused};

/// Has the account let its members work on one task at a time, as far as this one is concerned.
async fn allow_one(desk: &Desk, who: &Person) {
    let request = UpdateSettingsRequest {
        account_id: desk.team.account_id.to_string(),
        settings: Some(SettingsChange { one_running_timer: Some(true), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["one_running_timer".to_owned()] }),
    };
    let owner = &desk.team.owner;
    AccountServiceClient::new(desk.world.tenancy()).update_settings(desk.call(owner, request)).await.unwrap();
    // Until the service has heard of it, nobody minds two.
    let [one, other] =
        [desk.create(who, new("One")).await.unwrap().id, desk.create(who, new("Other")).await.unwrap().id];
    desk.start(who, &one).await.unwrap();
    eventually(|| async {
        if desk.start(who, &other).await.is_err() {
            return Some(());
        }
        desk.cancel(who, &other, None).await.unwrap();
        desk.reopen(who, &other, None).await.unwrap();
        None
    })
    .await;
    desk.cancel(who, &one, None).await.unwrap();
}

#[tokio::test]
async fn of_ten_tasks_started_at_once_one_runs() {
    let desk = Desk::open().await;
    let me = desk.team.user_a1.clone();
    let ids: Vec<String> = join_all((0..10).map(|_| desk.create(&me, new("Sweep"))))
        .await
        .into_iter()
        .map(|task| task.unwrap().id)
        .collect();
    // Before the account said so, two may.
    desk.start(&me, &ids[0]).await.unwrap();
    desk.start(&me, &ids[1]).await.unwrap();
    for id in &ids[..2] {
        desk.pause(&me, id, "lunch").await.unwrap();
    }
    allow_one(&desk, &me).await;

    let starts = ids.iter().enumerate().map(|(index, id)| {
        let (desk, me) = (&desk, &me);
        async move { if index < 2 { desk.resume(me, id).await } else { desk.start(me, id).await } }
    });
    let answers = join_all(starts).await;
    let runs: Vec<String> =
        answers.iter().filter_map(|answer| answer.as_ref().ok()).map(|task| task.id.clone()).collect();
    assert_eq!(runs.len(), 1, "{answers:?}");
    for status in answers.into_iter().filter_map(Result::err) {
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), &info.metadata["task_id"]), ("TIMER_ALREADY_RUNNING", &runs[0]));
    }
    let version = desk.get(&me, &ids[5]).await.unwrap().version;
    assert_eq!(
        refused(
            desk.start(&me, ids.iter().find(|id| **id != runs[0] && **id != ids[0] && **id != ids[1]).unwrap()).await
        ),
        Reason::TimerAlreadyRunning
    );
    assert_eq!(desk.get(&me, &ids[5]).await.unwrap().version, version, "a refused start changes nothing");

    // Another person's time is another timer, and a task that leaves their hands frees theirs.
    let team = &desk.team;
    let theirs = desk.create(&team.manager_a, new_for("Mop", &team.user_a2)).await.unwrap().id;
    desk.start(&team.user_a2, &theirs).await.unwrap();
    let mine = desk.create(&team.manager_a, new_for("Dust", &me)).await.unwrap().id;
    assert_eq!(refused(desk.start(&me, &mine).await), Reason::TimerAlreadyRunning);
    desk.delete(&me, &runs[0]).await.unwrap();
    desk.start(&me, &mine).await.unwrap();
    desk.reassign(&team.owner, &mine, team.user_a2.user_id).await.unwrap();
    desk.start(&me, ids.iter().rfind(|id| **id != runs[0]).unwrap()).await.unwrap();
}
