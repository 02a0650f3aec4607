//! The lifecycle of an account over REST: settings, members, ownership, suspension, deletion.

use baton_tests::{Person, Platform, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn owner_configures_suspends_and_deletes_the_account() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (owner, account) = (&team.owner, format!("/v1/accounts/{}", team.account_id));

    let read = owner.get(&account).send().await;
    let etag = read.header("etag").to_owned();
    assert_eq!((read.json()["status"].as_str(), read.etag_version()), (Some("active"), "1"));
    let look =
        json!({"name": "Acme", "branding": {"primary_color": "#AABBCC", "logo_url": "https://acme.example/l.png"}});
    let changed = owner.patch(&account, &look).header("if-match", &etag).ok().await;
    assert_eq!(changed["branding"]["primary_color"], "#aabbcc", "{changed}");
    owner.patch(&account, &look).header("if-match", &etag).refused(412, "VERSION_MISMATCH").await;
    let cleared = owner.patch(&account, &json!({"branding": {"primary_color": null}})).ok().await;
    assert_eq!(cleared["branding"]["primary_color"], Value::Null, "{cleared}");
    assert_eq!(cleared["branding"]["logo_url"], "https://acme.example/l.png", "{cleared}");

    let settings = format!("{account}/settings");
    let hours = json!({"working_hours": {"friday": [{"from": "08:00", "to": "12:00"}]}, "timezone": "Europe/Berlin"});
    let set = owner.patch(&settings, &hours).ok().await;
    assert_eq!(set["working_hours"]["friday"][0]["to"], "12:00", "{set}");
    assert_eq!(set["working_hours"]["monday"][0]["from"], "09:00", "{set}");
    for wrong in [
        json!({"timezone": "Europe/Atlantis"}),
        json!({"default_visibility": "everyone"}),
        json!({"working_hours": {"friday": [{"from": "9:00", "to": "12:00"}]}}),
        json!({"working_hours": {"friday": [{"from": "09:00", "to": "12:00"}, {"from": "11:00", "to": "13:00"}]}}),
        json!({"ai_enabled": "yes"}),
    ] {
        let response = owner.patch(&settings, &wrong).send().await;
        assert_eq!(response.status, 400, "{wrong}: {}", response.text);
    }
    assert_eq!(owner.get(&settings).ok().await, set);

    owner.post(&format!("{account}/suspend"), &json!({})).ok().await;
    for (person, path) in [(&team.user, "/v1/tasks"), (owner, "/v1/notifications"), (&team.manager, "/v1/boards/team")]
    {
        eventually("ACCOUNT_SUSPENDED", || async {
            let response = person.get(path).send().await;
            (response.status == 403).then(|| response.refused(403, "ACCOUNT_SUSPENDED"))
        })
        .await;
    }
    assert_eq!(team.user.get(&account).ok().await["status"], "suspended");
    owner.post(&format!("{account}/reactivate"), &json!({})).ok().await;
    eventually("tasks again", || async { (team.user.get("/v1/tasks").send().await.status == 200).then_some(()) }).await;

    let to = json!({"user_id": team.super_manager.id});
    // Other services cache memberships for up to a second.
    let transfer = async |person: &Person| {
        eventually("the account is active again everywhere", || async {
            let response = person.post(&format!("{account}/transfer-ownership"), &to).send().await;
            (!response.text.contains("ACCOUNT_SUSPENDED")).then_some(response)
        })
        .await
    };
    transfer(&team.super_manager).await.refused(403, "PERMISSION_MISSING");
    let response = transfer(owner).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let new = response.json();
    assert_eq!(new["role"], "owner", "{new}");
    eventually("the old owner has lost the role", || async {
        let response = owner.delete(&account).send().await;
        (response.status == 403).then(|| response.refused(403, "PERMISSION_MISSING"))
    })
    .await;
    let given_up = eventually("the new owner has the role", || async {
        let response = team.super_manager.delete(&account).send().await;
        (response.status == 200).then(|| response.json())
    })
    .await;
    assert_eq!(given_up["status"], "canceled", "{given_up}");
    let kept = team.super_manager.post(&format!("{account}/cancel-deletion"), &json!({})).ok().await;
    assert_eq!((&kept["status"], &kept["deletes_at"]), (&json!("active"), &Value::Null), "{kept}");
}

#[tokio::test]
async fn members_are_invited_leave_and_hand_over_with_explained_access() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let account = format!("/v1/accounts/{}", team.account_id);
    let bob = platform.person("bob").await;
    let several = json!({"invitations": [
        {"email": bob.email, "role": "user", "manager_id": team.manager.id},
        {"email": team.user.email, "role": "user"},
    ]});
    let response = team.owner.post(&format!("{account}/members/bulk"), &several).ok().await;
    assert_eq!(response["results"][0]["member"]["status"], "invited", "{response}");
    assert_eq!(response["results"][1]["reason"], "MEMBER_EXISTS", "{response}");
    let invitation = format!("{account}/invitations/{}", response["results"][0]["member"]["id"].as_str().unwrap());
    let token = platform.mailed_token(&bob.email, "/accept-invitation").await;
    team.owner.post(&format!("{invitation}/resend"), &json!({})).ok().await;
    // An invitation used by the wrong person (OWASP ASVS 5.0, 8.2.1).
    let eve = platform.person("eve").await;
    eve.post("/v1/invitations/accept", &json!({"token": token})).refused(403, "INVITATION_FOR_ANOTHER").await;
    team.owner.delete(&invitation).send().await;
    bob.post("/v1/invitations/accept", &json!({"token": token})).refused(400, "LINK_INVALID").await;

    let task = team.user.create_task("To hand over").await;
    let ask = |person: &Person, of: &Person, permission: &str| {
        let question = json!({"user_id": of.id, "permission": permission, "task_id": task});
        person.post("/v1/access/explain", &question)
    };
    let why = ask(&team.manager, &team.user, "work_on_tasks").ok().await;
    assert_eq!((&why["allowed"], &why["rule"], &why["relation"]), (&json!(true), &json!("own_task"), &json!("own")));
    let why = ask(&team.super_manager, &team.manager, "reassign_tasks").ok().await;
    assert_eq!((&why["allowed"], &why["rule"]), (&json!(false), &json!("no_reassigning")), "{why}");
    ask(&team.user, &team.manager, "work_on_tasks").refused(403, "NOT_ABOVE_MEMBER").await;

    let assignee = || async { team.owner.get(&format!("/v1/tasks/{task}")).ok().await["assigned_to"].clone() };
    team.user.post(&format!("{account}/leave"), &json!({})).ok().await;
    eventually("the manager is the assignee", || async { (assignee().await == json!(team.manager.id)).then_some(()) })
        .await;
    let member = format!("{account}/members/{}", team.manager.id);
    team.owner.delete(&format!("{member}?hand_over_to={}", Uuid::now_v7())).refused(422, "HAND_OVER_INVALID").await;
    team.owner.delete(&format!("{member}?hand_over_to={}", team.owner.id)).ok().await;
    eventually("the owner is the assignee", || async { (assignee().await == json!(team.owner.id)).then_some(()) })
        .await;
    let timeline = team.owner.get(&format!("/v1/tasks/{task}/timeline")).ok().await;
    let kinds: Vec<_> = timeline["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, [json!("created"), json!("assigned"), json!("reassigned")]);
    // A former member rejoins by an invitation.
    let again = json!({"email": team.user.email, "role": "manager"});
    team.owner.post(&format!("{account}/members"), &again).ok().await;
    // The newest mail may still be the first invitation.
    eventually("they have rejoined", || async {
        let token = platform.mailed_token(&team.user.email, "/accept-invitation").await;
        let response = team.user.post("/v1/invitations/accept", &json!({"token": token})).send().await;
        (response.status == 200).then(|| assert_eq!(response.json()["role"], "manager"))
    })
    .await;
}

/// CWE-915, OWASP API3:2023.
#[tokio::test]
async fn nobody_assigns_themselves_a_role_tier_or_verified_flag() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let account = format!("/v1/accounts/{}", team.account_id);
    for field in ["subscription_tier", "status", "trial_ends_at", "subscription_ends_at", "version", "id"] {
        let response = team.owner.patch(&account, &json!({"name": "Mine", field: "enterprise"})).send().await;
        assert_eq!(response.status, 400, "{field}: {}", response.text);
    }
    for body in [json!({"name": "x", "subscription_tier": "enterprise"}), json!({"name": "x", "status": "active"})] {
        team.user.post("/v1/accounts", &body).refused(400, "UNKNOWN_FIELD").await;
    }
    let token = "sample";
    for field in ["role", "manager_id", "account_id", "can_reassign_tasks"] {
        let body = json!({"token": token, field: "owner"});
        team.user.post("/v1/invitations/accept", &body).refused(400, "UNKNOWN_FIELD").await;
    }
    let own = format!("{account}/members/{}", team.user.id);
    team.user.patch(&own, &json!({"role": "owner"})).refused(403, "PERMISSION_MISSING").await;
    for field in ["email", "status", "user_id", "joined_at", "version"] {
        let response = team.owner.patch(&own, &json!({field: "active"})).send().await;
        assert_eq!(response.status, 400, "{field}: {}", response.text);
    }
    let after = team.owner.get(&account).ok().await;
    assert_eq!((&after["name"], &after["version"]), (&json!("Test account"), &json!(1)), "{after}");
}

/// CVE-2026-105209: a check of the account in the header, an effect on the account in the path or the body.
#[tokio::test]
async fn account_in_the_path_is_the_one_that_is_authorized() {
    let platform = Platform::start().await;
    let (mine, theirs) = (platform.team().await, platform.team().await);
    let before = theirs.owner.get(&format!("/v1/accounts/{}/members", theirs.account_id)).ok().await;
    let path = |rest: &str| format!("/v1/accounts/{}{rest}", theirs.account_id);
    // The owner of one account, which the header names, calls with another account in the path.
    let me = mine.owner.at(mine.account_id);
    for call in [
        me.get(&path("")),
        me.patch(&path(""), &json!({"name": "Mine"})),
        me.delete(&path("")),
        me.post(&path("/suspend"), &json!({})),
        me.post(&path("/transfer-ownership"), &json!({"user_id": mine.owner.id})),
        me.get(&path("/settings")),
        me.patch(&path("/settings"), &json!({"rejection_enabled": false})),
        me.post(&path("/members"), &json!({"email": "eve@example.com", "role": "owner"})),
        me.post(&path("/leave"), &json!({})),
        me.delete(&path(&format!("/members/{}", theirs.user.id))),
    ] {
        call.refused(403, "NOT_A_MEMBER").await;
    }
    // The account id in the body, too: the body has no such field.
    let body = json!({"account_id": theirs.account_id, "email": "eve@example.com", "role": "owner"});
    let own = format!("/v1/accounts/{}/members", mine.account_id);
    let response = me.post(&own, &body).send().await;
    assert_eq!(response.status, 400, "{}", response.text);
    assert_eq!(theirs.owner.get(&format!("/v1/accounts/{}/members", theirs.account_id)).ok().await, before);
}

#[tokio::test]
async fn existing_accounts_and_emails_are_indistinguishable_from_missing_ones() {
    let platform = Platform::start().await;
    let (mine, theirs) = (platform.team().await, platform.team().await);
    let nobodys = Uuid::now_v7();
    for rest in ["", "/settings", "/members"] {
        let there = mine.owner.get(&format!("/v1/accounts/{}{rest}", theirs.account_id)).send().await;
        let never = mine.owner.get(&format!("/v1/accounts/{nobodys}{rest}")).send().await;
        let (mut there_body, mut never_body) = (there.json(), never.json());
        for body in [&mut there_body, &mut never_body] {
            body.as_object_mut().unwrap().remove("trace_id");
        }
        assert_eq!((there.status, there_body), (never.status, never_body), "{rest}");
    }
    // Inviting returns the same for registered and unknown addresses.
    let shape = |email: &str| {
        let members = format!("/v1/accounts/{}/members", mine.account_id);
        let invitation = json!({"email": email, "role": "user"});
        let call = mine.owner.post(&members, &invitation);
        async move {
            let mut member = call.ok().await;
            for field in ["id", "email", "invited_at"] {
                member[field] = Value::Null;
            }
            member
        }
    };
    assert_eq!(shape(&theirs.user.email).await, shape("nobody-at-all@example.com").await);
}
