use baton_proto::baton::tenancy::v1::{
    GetSettingsRequest, ResolveMembershipRequest, SettingsChange, UpdateSettingsRequest,
};
use baton_testkit::Team;

use super::*;

fn update(team: &Team, value: bool, paths: Option<&[&str]>) -> UpdateSettingsRequest {
    UpdateSettingsRequest {
        account_id: team.account_id.to_string(),
        settings: Some(SettingsChange { managers_may_reassign: Some(value), ..Default::default() }),
        update_mask: paths
            .map(|paths| prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
    }
}

async fn may_reassign(context: &TestContext, person: &Person, account_id: Uuid) -> bool {
    let request = person.call(account_id, ResolveMembershipRequest {});
    members(context).resolve_membership(request).await.unwrap().into_inner().may_reassign
}

#[tokio::test]
async fn a_setting_allows_managers_to_reassign() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let set = async |value| {
        let request = team.super_manager.call(id, update(&team, value, Some(&["managers_may_reassign"])));
        accounts(&context).update_settings(request).await.unwrap().into_inner().settings.unwrap().managers_may_reassign
    };
    assert!(!may_reassign(&context, &team.manager_a, id).await);
    assert!(set(true).await);
    // A repetition has the same response and publishes no second event.
    assert!(set(true).await);
    let events =
        "select count(*) from tenancy.outbox where encode(envelope, 'escape') like '%account.settings_changed%'";
    assert_eq!(count(&context, events).await, 1);
    assert!(may_reassign(&context, &team.manager_a, id).await);
    assert!(!may_reassign(&context, &team.user_a1, id).await);

    let get = GetSettingsRequest { account_id: id.to_string() };
    let settings = accounts(&context).get_settings(team.owner.call(id, get)).await.unwrap().into_inner().settings;
    assert!(settings.unwrap().managers_may_reassign);

    assert!(!set(false).await);
    let own = MemberChange { can_reassign_tasks: true, ..MemberChange::default() };
    let request = change(id, &team.manager_a, own, &["can_reassign_tasks"]);
    members(&context).update_member(team.owner.call(id, request)).await.unwrap();
    assert!(may_reassign(&context, &team.manager_a, id).await);
    assert!(!may_reassign(&context, &team.manager_b, id).await);
    assert!(may_reassign(&context, &team.super_manager, id).await);
}

#[tokio::test]
async fn a_stale_etag_of_settings_is_refused() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let get = GetSettingsRequest { account_id: id.to_string() };
    let read = accounts(&context).get_settings(team.owner.call(id, get)).await.unwrap().into_inner().settings.unwrap();
    let tag = format!("\"{}\"", read.version);
    let set = async |value| {
        let request = team.owner.call(id, update(&team, value, Some(&["managers_may_reassign"])));
        accounts(&context).update_settings(with_metadata(request, "if-match", &tag)).await
    };
    set(true).await.unwrap();
    assert_eq!(refusal(set(false).await), Reason::VersionMismatch);
    assert!(may_reassign(&context, &team.manager_a, id).await);
}

#[tokio::test]
async fn an_empty_or_unknown_mask_is_refused() {
    let context = test_context().await;
    let team = context.team().await;
    for paths in [None, Some(&[][..]), Some(&["nonsense"][..]), Some(&["managers_may_reassign", "name"][..])] {
        let request = team.owner.call(team.account_id, update(&team, true, paths));
        assert_eq!(refusal(accounts(&context).update_settings(request).await), Reason::ValidationFailed, "{paths:?}");
    }
    for person in [&team.user_a1, &team.manager_a] {
        let request = person.call(team.account_id, update(&team, true, Some(&["managers_may_reassign"])));
        assert_eq!(refusal(accounts(&context).update_settings(request).await), Reason::PermissionMissing);
    }
    assert_eq!(count(&context, "select count(*) from tenancy.accounts where managers_may_reassign").await, 0);
}
