//! Rules: their fields, who sees and changes them, and what is refused.

use baton_errors::Reason;
use baton_proto::{
    baton::automation::v1::{
        AutomationChange, CreateAutomationRequest, DeleteAutomationRequest, GetAutomationRequest, GetCatalogueRequest,
        ListAutomationsRequest, TriggerType, UpdateAutomationRequest, WarningKind,
    },
    convert::{to_object, to_struct},
};
use baton_testkit::{Person, eventually, reason};
use prost_types::FieldMask;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use crate::fixture::{Fixture, archiving, new_rule};

async fn get(fixture: &Fixture, person: &Person, id: &str) -> Result<String, Status> {
    let request = fixture.call(person, GetAutomationRequest { id: id.to_owned() });
    Ok(fixture.rules().get_automation(request).await?.into_inner().automation.unwrap().name)
}

async fn list(fixture: &Fixture, person: &Person) -> Vec<String> {
    let request = fixture.call(person, ListAutomationsRequest::default());
    let listed = fixture.rules().list_automations(request).await.unwrap().into_inner().automations;
    listed.into_iter().map(|rule| rule.id).collect()
}

async fn update(
    fixture: &Fixture,
    person: &Person,
    id: &str,
    paths: &[&str],
    change: AutomationChange,
) -> Result<baton_proto::baton::automation::v1::Automation, Status> {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    let message = UpdateAutomationRequest { id: id.to_owned(), automation: Some(change), update_mask };
    Ok(fixture.rules().update_automation(fixture.call(person, message)).await?.into_inner().automation.unwrap())
}

async fn delete(fixture: &Fixture, person: &Person, id: &str) -> Result<(), Status> {
    let request = fixture.call(person, DeleteAutomationRequest { id: id.to_owned() });
    fixture.rules().delete_automation(request).await.map(drop)
}

#[tokio::test]
async fn rule_is_stored_in_the_long_form_and_read_aloud() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let conditions = json!({"to": "paused", "priority": "high"});
    let actions = [json!({"short": "notify:manager"}), json!({"type": "add_tag", "tag": "late", "continue": true})];
    let new = CreateAutomationRequest {
        description: "Tell them".to_owned(),
        timezone: Some("Europe/Berlin".to_owned()),
        ..new_rule(TriggerType::TaskStatusChanged, conditions, &actions)
    };
    let rule = fixture.try_rule(ada, new).await.unwrap();
    assert_eq!(
        rule.sentence,
        "When the status of a task changes to paused and the priority is high: notify the assignee's manager \
         “{{title}}”, then add the tag “late”."
    );
    let conditions = Value::Object(to_object(rule.trigger_conditions.unwrap()));
    assert_eq!(conditions, json!({"field": "priority", "op": "eq", "value": "high", "to": "paused"}));
    let actions: Vec<Value> = rule.actions.into_iter().map(|action| Value::Object(to_object(action))).collect();
    let notify = json!({"type": "notify", "to": "manager", "message": "{{title}}"});
    assert_eq!(actions, [notify, json!({"type": "add_tag", "tag": "late", "continue": true})]);
    assert_eq!((rule.version, rule.enabled, rule.created_by), (1, true, ada.user_id.to_string()));
    assert_eq!((&*rule.timezone, rule.warnings), ("Europe/Berlin", vec![]));
}

#[tokio::test]
async fn invalid_rules_are_refused_with_the_name_of_the_leaf() {
    let fixture = Fixture::start().await;
    let archive = || json!({"type": "archive"});
    let paused = TriggerType::TaskPaused;
    for (trigger, conditions, actions, field) in [
        (paused, json!({"priority": "hot"}), vec![archive()], "trigger_conditions.priority"),
        (paused, json!({"from": "paused"}), vec![archive()], "trigger_conditions.from"),
        (
            paused,
            json!({"any": [{"field": "owner", "op": "eq", "value": "me"}]}),
            vec![archive()],
            "trigger_conditions.any[0].field",
        ),
        (paused, json!({}), vec![], "actions"),
        (
            paused,
            json!({}),
            vec![archive(), json!({"type": "notify", "to": "everybody", "message": "x"})],
            "actions[1].to",
        ),
        (paused, json!({}), vec![json!({"type": "notify", "message": "x"})], "actions[0].to"),
        (paused, json!({}), vec![json!({"type": "archive", "to": "me"})], "actions[0].to"),
        (paused, json!({}), vec![json!({"type": "add_comment", "message": " "})], "actions[0].message"),
        (
            paused,
            json!({}),
            vec![json!({"type": "create_task", "title": "x", "due_in_seconds": 1.5})],
            "actions[0].due_in_seconds",
        ),
        (paused, json!({}), vec![json!({"type": "explode"})], "actions[0].type"),
        (paused, json!({}), vec![json!({"short": "set_owner:ada"})], "actions[0].short"),
        (paused, json!({}), vec![json!({"short": "archive", "to": "me"})], "actions[0].to"),
        (paused, json!({}), vec![json!({"type": "add_comment", "message": "{{secret}}"})], "actions[0].message"),
        (TriggerType::MemberJoined, json!({}), vec![archive()], "actions[0]"),
    ] {
        let refused =
            fixture.try_rule(&fixture.team.user_a1, new_rule(trigger, conditions.clone(), &actions)).await.unwrap_err();
        let details = refused.get_error_details();
        let named: Vec<&str> =
            details.bad_request().into_iter().flat_map(|it| &it.field_violations).map(|it| it.field.as_str()).collect();
        assert_eq!(
            (reason(&refused), &named[..]),
            (Some(Reason::ValidationFailed), &[field][..]),
            "{conditions} {actions:?}"
        );
    }
    let zone = CreateAutomationRequest { timezone: Some("Mars/Olympus".to_owned()), ..archiving() };
    assert_eq!(
        reason(&fixture.try_rule(&fixture.team.user_a1, zone).await.unwrap_err()),
        Some(Reason::ValidationFailed)
    );
    assert_eq!(fixture.all::<i64>("select count(*) from automation.rules").await, [0]);
    assert_eq!(fixture.all::<i64>("select count(*) from auth.delegations").await, [0], "nothing was granted");
}

#[tokio::test]
async fn others_rules_do_not_exist_except_for_super_managers_who_only_stop_them() {
    let fixture = Fixture::start().await;
    let (ada, bob, boss) = (&fixture.team.user_a1, &fixture.team.manager_a, &fixture.team.super_manager);
    let rule = fixture.try_rule(ada, archiving()).await.unwrap();
    let stranger = fixture.context.person("stranger").await;
    let elsewhere = fixture.context.account(&stranger).await;
    let outside = stranger.call(elsewhere, GetAutomationRequest { id: rule.id.clone() });
    let outside = fixture.rules().get_automation(outside).await.unwrap_err();
    assert_eq!(reason(&outside), Some(Reason::AutomationNotFound));

    // A manager of its creator.
    assert_eq!(reason(&get(&fixture, bob, &rule.id).await.unwrap_err()), Some(Reason::AutomationNotFound));
    assert_eq!(reason(&delete(&fixture, bob, &rule.id).await.unwrap_err()), Some(Reason::AutomationNotFound));
    let change = || AutomationChange { name: "Mine".to_owned(), ..Default::default() };
    let refused = update(&fixture, bob, &rule.id, &["name"], change()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::AutomationNotFound));
    assert_eq!(reason(&fixture.toggle(bob, &rule, false).await.unwrap_err()), Some(Reason::AutomationNotFound));
    assert!(list(&fixture, bob).await.is_empty());

    assert_eq!(get(&fixture, boss, &rule.id).await.unwrap(), "A rule");
    assert_eq!(list(&fixture, boss).await, std::slice::from_ref(&rule.id));
    let refused = update(&fixture, boss, &rule.id, &["name"], change()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::AutomationChangeNotAllowed));
    let disabled = fixture.toggle(boss, &rule, false).await.unwrap();
    assert_eq!((disabled.enabled, disabled.version), (false, 2));
    let refused = fixture.toggle(boss, &rule, true).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::AutomationChangeNotAllowed));
    delete(&fixture, boss, &rule.id).await.unwrap();
    assert_eq!(reason(&get(&fixture, ada, &rule.id).await.unwrap_err()), Some(Reason::AutomationNotFound));
    // The grant ends with it, and so does its history.
    let left = "select (select count(*) from auth.delegations) + (select count(*) from automation.rules)";
    eventually(|| async { (fixture.all::<i64>(left).await == [0]).then_some(()) }).await;
}

#[tokio::test]
async fn changes_replace_what_the_mask_names() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let rule = fixture.try_rule(ada, archiving()).await.unwrap();
    let conditions = json!({"priority": "high"}).as_object().unwrap().clone();
    let change = AutomationChange {
        name: "Another name".to_owned(),
        trigger_conditions: Some(to_struct(conditions)),
        ..Default::default()
    };
    let changed = update(&fixture, ada, &rule.id, &["name", "trigger_conditions"], change).await.unwrap();
    assert_eq!((&*changed.name, changed.version, changed.actions), ("Another name", 2, rule.actions));
    assert_eq!(changed.sentence, "When a task is completed and the priority is high: archive it.");
    for (paths, change, field) in [
        (&[][..], AutomationChange::default(), "update_mask"),
        (&["enabled"], AutomationChange::default(), "update_mask"),
        (&["name"], AutomationChange::default(), "automation.name"),
        (&["actions"], AutomationChange::default(), "automation.actions"),
        (&["trigger_type"], AutomationChange::default(), "automation.trigger_type"),
    ] {
        let refused = update(&fixture, ada, &rule.id, paths, change).await.unwrap_err();
        let named = &refused.get_error_details().bad_request().unwrap().field_violations[0].field.clone();
        assert_eq!(named, field, "{paths:?}");
    }
    // The version of before.
    let mut request = fixture.call(ada, DeleteAutomationRequest { id: rule.id.clone() });
    request.metadata_mut().insert("if-match", "\"1\"".parse().unwrap());
    let refused = fixture.rules().delete_automation(request).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::VersionMismatch));
}

#[tokio::test]
async fn repeated_creation_creates_one_rule_with_one_grant() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let create = async || {
        let mut request = fixture.call(ada, archiving());
        request.metadata_mut().insert("idempotency-key", "once".parse().unwrap());
        fixture.rules().create_automation(request).await.unwrap().into_inner().automation.unwrap().id
    };
    let (one, two) = tokio::join!(create(), create());
    assert_eq!((one.clone(), one), (two, create().await));
    assert_eq!(fixture.all::<i64>("select count(*) from automation.rules").await, [1]);
    assert_eq!(fixture.all::<i64>("select count(*) from auth.delegations").await, [1]);
}

#[tokio::test]
async fn person_has_at_most_twenty_rules() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    for _ in 0..18 {
        fixture.try_rule(ada, archiving()).await.unwrap();
    }
    // Three at once, for the last two places.
    let create = || fixture.try_rule(ada, archiving());
    let (one, two, three) = tokio::join!(create(), create(), create());
    let refused: Vec<_> = [one, two, three].into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::AutomationLimit)]);
    assert_eq!(fixture.all::<i64>("select count(*) from auth.delegations").await, [20], "no grant is left over");
    fixture.try_rule(&fixture.team.user_a2, archiving()).await.unwrap();
}

#[tokio::test]
async fn saving_warns_of_loops_without_naming_others_rules() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_a2);
    let own =
        fixture.rule(ada, TriggerType::TaskUpdated, json!({}), &[json!({"type": "add_tag", "tag": "seen"})]).await;
    assert_eq!(own.warnings.iter().map(|it| it.kind()).collect::<Vec<_>>(), [WarningKind::FiresItself]);
    let fields = json!({"fields": ["tags"]});
    let priority = json!({"type": "set_field", "field": "priority", "value": "high"});
    let other = fixture.rule(bob, TriggerType::TaskUpdated, fields, &[priority]).await;
    let [cycle] = &other.warnings[..] else { panic!("{:?}", other.warnings) };
    assert_eq!((cycle.kind(), &cycle.automation_ids), (WarningKind::Cycle, &vec![other.id]));
}

#[tokio::test]
async fn catalogue_names_what_rules_are_made_of() {
    let fixture = Fixture::start().await;
    let request = fixture.call(&fixture.team.user_a1, GetCatalogueRequest {});
    let catalogue = fixture.rules().get_catalogue(request).await.unwrap().into_inner();
    let priority = catalogue.fields.iter().find(|field| field.name == "priority").unwrap();
    assert_eq!((&*priority.r#type, &priority.values[..2]), ("choice", &["low".to_owned(), "medium".to_owned()][..]));
    assert!(
        priority.ops.contains(&"eq".to_owned()) && !priority.ops.contains(&"contains".to_owned()),
        "{:?}",
        priority.ops
    );
    assert!(catalogue.fields.iter().all(|field| !field.ops.is_empty()));
    assert_eq!((catalogue.triggers.len(), catalogue.actions.len()), (20, 11));
}

#[tokio::test]
async fn key_or_service_changes_what_a_rule_does_only_with_the_scope_of_tasks() {
    let fixture = Fixture::start().await;
    let (ada, account_id) = (&fixture.team.user_a1, fixture.team.account_id);
    let rule = fixture.try_rule(ada, archiving()).await.unwrap();
    let acting = async |scopes: &[&str]| {
        fixture.context.delegated(ada, account_id, ("gateway", "automation"), scopes, None).await
    };
    let (weak, strong) = (acting(&["automations:write"]).await, acting(&["automations:write", "tasks:write"]).await);
    let change = |name: &str| AutomationChange {
        name: name.to_owned(),
        actions: vec![to_struct(json!({"short": "cancel:x"}).as_object().unwrap().clone())],
        ..Default::default()
    };
    update(&fixture, &weak, &rule.id, &["name"], change("By a key")).await.unwrap();
    let refused = update(&fixture, &weak, &rule.id, &["actions"], change("")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ScopeMissing));
    // It stops it, and does not start it.
    fixture.toggle(&weak, &rule, false).await.unwrap();
    assert_eq!(reason(&fixture.toggle(&weak, &rule, true).await.unwrap_err()), Some(Reason::ScopeMissing));
    update(&fixture, &strong, &rule.id, &["actions"], change("")).await.unwrap();
    fixture.toggle(&strong, &rule, true).await.unwrap();
    // A new rule needs the person.
    assert_eq!(reason(&fixture.try_rule(&strong, archiving()).await.unwrap_err()), Some(Reason::SessionRequired));
}
