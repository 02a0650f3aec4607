//! An answer that several statements make is of one moment, whatever others write meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use baton_proto::baton::{
    api::v1::Page,
    task::v1::{GetAssignmentHistoryRequest, TaskFilter},
};

use crate::{
    desk::{Desk, new, new_for},
    hands::assignments,
};

#[tokio::test]
async fn a_page_and_its_total_fit_each_other_whatever_is_written() {
    let desk = Desk::open().await;
    let (boss, one, other) = (&desk.team.super_manager, &desk.team.user_a1, &desk.team.user_b1);
    let id = desk.create(boss, new_for("Sweep", one)).await.unwrap().id;
    let done = AtomicBool::new(false);
    let writes = async {
        for n in 0..60 {
            desk.reassign(boss, &id, if n % 2 == 0 { other } else { one }.user_id).await.unwrap();
            let mop = desk.create(boss, new("Mop")).await.unwrap().id;
            desk.delete(boss, &mop).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    let histories = async {
        while !done.load(Ordering::Relaxed) {
            let page = Some(Page { per_page: 100, ..Page::default() });
            let request = desk.call(boss, GetAssignmentHistoryRequest { id: id.clone(), page });
            let answer = assignments(&desk).get_assignment_history(request).await.unwrap().into_inner();
            assert_eq!(answer.assignments.len(), answer.meta.unwrap().total_count as usize);
        }
    };
    // It compares the two itself.
    let lists = async {
        while !done.load(Ordering::Relaxed) {
            desk.list(boss, TaskFilter::default()).await.unwrap();
        }
    };
    tokio::join!(writes, histories, lists);
}
