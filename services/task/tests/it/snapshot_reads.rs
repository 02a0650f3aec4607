//! Responses built by several statements come from one snapshot.

use std::sync::atomic::{AtomicBool, Ordering};

use baton_proto::baton::{
    api::v1::Page,
    task::v1::{GetAssignmentHistoryRequest, TaskFilter},
};

use crate::{
    assignment_history::assignments,
    fixture::{Fixture, new_task, new_task_for},
};

#[tokio::test]
async fn page_and_total_come_from_one_snapshot() {
    let fixture = Fixture::new().await;
    let (boss, one, other) = (&fixture.team.super_manager, &fixture.team.user_a1, &fixture.team.user_b1);
    let id = fixture.create(boss, new_task_for("Sweep", one)).await.unwrap().id;
    let done = AtomicBool::new(false);
    let writes = async {
        for n in 0..60 {
            fixture.reassign(boss, &id, if n % 2 == 0 { other } else { one }.user_id).await.unwrap();
            let mop = fixture.create(boss, new_task("Mop")).await.unwrap().id;
            fixture.delete(boss, &mop).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    let histories = async {
        while !done.load(Ordering::Relaxed) {
            let page = Some(Page { per_page: 100, ..Page::default() });
            let request = fixture.call(boss, GetAssignmentHistoryRequest { id: id.clone(), page });
            let response = assignments(&fixture).get_assignment_history(request).await.unwrap().into_inner();
            assert_eq!(response.assignments.len(), response.meta.unwrap().total_count as usize);
        }
    };
    // `list` compares page and total.
    let lists = async {
        while !done.load(Ordering::Relaxed) {
            fixture.list(boss, TaskFilter::default()).await.unwrap();
        }
    };
    tokio::join!(writes, histories, lists);
}
