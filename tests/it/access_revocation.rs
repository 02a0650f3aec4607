//! Who loses a right loses it everywhere, and soon.

use std::time::{Duration, Instant};

use baton_tests::{Call, Platform, eventually};
use serde_json::json;

/// The design says a second; a busy machine gets some more.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn changed_role_and_removed_membership_take_effect_at_once() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let member = format!("/v1/accounts/{}/members/{}", team.account_id, team.manager.id);
    let board = || team.manager.get("/v1/boards/team");
    board().ok().await;

    team.owner.patch(&member, &json!({"role": "user"})).refused(409, "ROLE_HAS_REPORTS").await;
    let user = format!("/v1/accounts/{}/members/{}", team.account_id, team.user.id);
    team.owner.patch(&user, &json!({"manager_id": null})).ok().await;
    let changed = team.owner.patch(&member, &json!({"role": "user"})).ok().await;
    assert_eq!(changed["role"], "user", "{changed}");
    soon(board, 403, "PERMISSION_MISSING").await;
    // What a user may is still theirs.
    team.manager.get("/v1/boards/my-board").ok().await;

    // Whoever they report to must outrank them.
    team.owner.patch(&member, &json!({"role": "super_manager"})).refused(422, "MANAGER_INVALID").await;
    let changed = team.owner.patch(&member, &json!({"role": "super_manager", "manager_id": null})).ok().await;
    assert_eq!(changed["role"], "super_manager", "{changed}");
    eventually("the new right", || async { (board().send().await.status == 200).then_some(()) }).await;
    team.manager.get("/v1/boards/account").ok().await;

    team.owner.delete(&member).ok().await;
    soon(board, 403, "NOT_A_MEMBER").await;
    team.manager.get("/v1/tasks").refused(403, "NOT_A_MEMBER").await;
    team.manager.get("/v1/notifications").refused(403, "NOT_A_MEMBER").await;
    team.manager.get(&format!("/v1/accounts/{}/members", team.account_id)).refused(403, "NOT_A_MEMBER").await;
    // The person is still one.
    team.manager.get("/v1/users/me").ok().await;
}

/// Waits until the call is refused for this reason.
async fn soon(call: impl Fn() -> Call, status: u16, reason: &str) {
    let begun = Instant::now();
    eventually(reason, || async {
        let answer = call().send().await;
        (answer.status != 200).then(|| answer.refused(status, reason))
    })
    .await;
    assert!(begun.elapsed() < SOON, "{reason} came after {:?}", begun.elapsed());
}
