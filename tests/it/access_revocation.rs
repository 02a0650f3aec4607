//! Lost permissions take effect everywhere within a second.

use std::time::{Duration, Instant};

use baton_tests::{Call, Platform, eventually};
use serde_json::json;

/// Revocation takes at most a second; a busy machine gets more, but less than any longer cache would take.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(15);

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
    wait_until_refused(board, 403, "PERMISSION_MISSING").await;
    // The permissions of a user remain.
    team.manager.get("/v1/boards/my-board").ok().await;

    // The manager must have a higher role.
    team.owner.patch(&member, &json!({"role": "super_manager"})).refused(422, "MANAGER_INVALID").await;
    let changed = team.owner.patch(&member, &json!({"role": "super_manager", "manager_id": null})).ok().await;
    assert_eq!(changed["role"], "super_manager", "{changed}");
    eventually("the new permission", || async { (board().send().await.status == 200).then_some(()) }).await;
    team.manager.get("/v1/boards/account").ok().await;

    team.owner.delete(&member).ok().await;
    wait_until_refused(board, 403, "NOT_A_MEMBER").await;
    team.manager.get("/v1/tasks").refused(403, "NOT_A_MEMBER").await;
    team.manager.get("/v1/notifications").refused(403, "NOT_A_MEMBER").await;
    team.manager.get(&format!("/v1/accounts/{}/members", team.account_id)).refused(403, "NOT_A_MEMBER").await;
    // The user still exists.
    team.manager.get("/v1/users/me").ok().await;
}

/// Waits until the call is refused with this status and reason.
async fn wait_until_refused(call: impl Fn() -> Call, status: u16, reason: &str) {
    let started = Instant::now();
    eventually(reason, || async {
        let response = call().send().await;
        (response.status != 200).then(|| response.refused(status, reason))
    })
    .await;
    assert!(started.elapsed() < REVOCATION_TIMEOUT, "{reason} came after {:?}", started.elapsed());
}
