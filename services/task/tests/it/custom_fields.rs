//! Custom fields: definitions and values.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        CreateCustomFieldRequest, CreateTaskRequest, CustomField, CustomFieldChange, CustomFieldEvent,
        CustomFieldOption, CustomFieldType, DeleteCustomFieldRequest, ListCustomFieldsRequest, TaskChange,
        UpdateCustomFieldRequest, custom_field_service_client::CustomFieldServiceClient,
    },
    convert::to_struct,
};
use baton_testkit::Person;
use futures_util::future::join_all;
use prost_types::{FieldMask, Struct};
use serde_json::{Value, json};
use tonic::Code;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, with_header};

fn object(value: Value) -> Option<Struct> {
    let Value::Object(fields) = value else { panic!("an object") };
    Some(to_struct(fields))
}

fn field(key: &str, form: CustomFieldType, options: &[&str]) -> CreateCustomFieldRequest {
    let option = |id: &&str| CustomFieldOption { id: (*id).to_owned(), name: id.to_uppercase() };
    CreateCustomFieldRequest {
        key: key.to_owned(),
        name: "Sample".to_owned(),
        r#type: form.into(),
        options: options.iter().map(option).collect(),
        required: false,
    }
}

/// A text field.
pub(crate) fn text_field(key: &str) -> CreateCustomFieldRequest {
    field(key, CustomFieldType::Text, &[])
}

impl Fixture {
    pub(crate) async fn define(&self, actor: &Person, request: CreateCustomFieldRequest) -> RpcResult<CustomField> {
        let mut client = CustomFieldServiceClient::new(self.channel());
        Ok(client.create_custom_field(self.call(actor, request)).await?.into_inner().custom_field.unwrap())
    }

    async fn redefine(
        &self,
        actor: &Person,
        id: &str,
        mask: &[&str],
        change: CustomFieldChange,
        version: &str,
    ) -> RpcResult<CustomField> {
        let mask = FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() };
        let message =
            UpdateCustomFieldRequest { id: id.to_owned(), custom_field: Some(change), update_mask: Some(mask) };
        let request = with_header(self.call(actor, message), "if-match", version);
        let mut client = CustomFieldServiceClient::new(self.channel());
        Ok(client.update_custom_field(request).await?.into_inner().custom_field.unwrap())
    }

    async fn undefine(&self, actor: &Person, id: &str) -> RpcResult<()> {
        let request = self.call(actor, DeleteCustomFieldRequest { id: id.to_owned() });
        CustomFieldServiceClient::new(self.channel()).delete_custom_field(request).await?;
        Ok(())
    }

    async fn defined(&self, actor: &Person) -> Vec<CustomField> {
        let request = self.call(actor, ListCustomFieldsRequest {});
        let mut client = CustomFieldServiceClient::new(self.channel());
        client.list_custom_fields(request).await.unwrap().into_inner().custom_fields
    }
}

#[tokio::test]
async fn values_must_match_the_defined_type() {
    let fixture = Fixture::new().await;
    let (boss, me) = (&fixture.team.super_manager, &fixture.team.user_a1);
    let severity = fixture.define(boss, field("severity", CustomFieldType::Select, &["low", "high"])).await.unwrap();
    fixture.define(boss, field("cost", CustomFieldType::Number, &[])).await.unwrap();
    assert_eq!(
        fixture.defined(me).await.iter().map(|field| field.key.as_str()).collect::<Vec<_>>(),
        ["severity", "cost"]
    );

    let noting = |value| CreateTaskRequest { custom_fields: object(value), ..new_task("Sweep") };
    assert_eq!(invalid_field(fixture.create(me, noting(json!({"severity": "LOW"}))).await), "custom_fields.severity");
    let task = fixture.create(me, noting(json!({"severity": "low", "anything": ["goes"]}))).await.unwrap().id;
    let write = async |mask: &[&str], value| {
        let change = TaskChange { custom_fields: object(value), ..Default::default() };
        fixture.update(me, &task, mask, change).await
    };
    assert_eq!(invalid_field(write(&["custom_fields.cost"], json!({"cost": "much"})).await), "task.custom_fields.cost");
    write(&["custom_fields.cost"], json!({"cost": 5})).await.unwrap();
    assert_eq!(invalid_field(write(&["custom_fields"], json!({"cost": "much"})).await), "task.custom_fields.cost");

    // A removed option keeps stored values and does not block other changes of the task.
    let only_high = CustomFieldChange {
        options: vec![CustomFieldOption { id: "high".to_owned(), name: "Sky".to_owned() }],
        required: true,
        ..Default::default()
    };
    let mask = ["options", "required"];
    assert_eq!(
        error_reason(fixture.redefine(boss, &severity.id, &mask, only_high.clone(), "\"7\"").await),
        Reason::VersionMismatch
    );
    let changed = fixture.redefine(boss, &severity.id, &mask, only_high.clone(), "\"1\"").await.unwrap();
    assert_eq!((changed.version, changed.required, changed.options[0].name.as_str()), (2, true, "Sky"));
    let kept = fixture.redefine(boss, &severity.id, &mask, only_high, "*").await.unwrap();
    assert_eq!(kept, changed, "nothing changed");
    write(&["custom_fields.cost"], json!({"cost": 6})).await.unwrap();
    assert_eq!(invalid_field(write(&["custom_fields.severity"], json!({})).await), "task.custom_fields.severity");
    assert_eq!(invalid_field(fixture.create(me, new_task("Without it")).await), "custom_fields.severity");
    for nothing in [&["key"][..], &["type"], &[]] {
        let response = fixture.redefine(boss, &severity.id, nothing, CustomFieldChange::default(), "*").await;
        assert_eq!(invalid_field(response), "update_mask");
    }
    let nameless = fixture.redefine(boss, &severity.id, &["name"], CustomFieldChange::default(), "*").await;
    assert_eq!(invalid_field(nameless), "custom_field.name");

    // Without a definition any value is accepted.
    let read_before = fixture.call(boss, DeleteCustomFieldRequest { id: severity.id.clone() });
    let stale = CustomFieldServiceClient::new(fixture.channel())
        .delete_custom_field(with_header(read_before, "if-match", "\"1\""))
        .await;
    assert_eq!(error_reason(stale), Reason::VersionMismatch);
    fixture.undefine(boss, &severity.id).await.unwrap();
    assert_eq!(error_reason(fixture.undefine(boss, &severity.id).await), Reason::CustomFieldNotFound);
    write(&["custom_fields.severity"], json!({"severity": {"was": "low"}})).await.unwrap();
    fixture.create(me, new_task("Without it")).await.unwrap();

    let events = fixture.published::<CustomFieldEvent>("custom_field.").await;
    let events: Vec<_> = events.iter().map(|(kind, event)| (kind.as_str(), event.changed_fields.join(" "))).collect();
    let created = ("custom_field.created", String::new());
    assert_eq!(
        events,
        [
            created.clone(),
            created,
            ("custom_field.updated", "options required".to_owned()),
            ("custom_field.deleted", String::new())
        ]
    );
}

#[tokio::test]
async fn definitions_are_per_account_and_changed_by_admins_only() {
    let fixture = Fixture::new().await;
    let (boss, other_account) = (&fixture.team.super_manager, fixture.other_account().await);
    let cost = || field("cost", CustomFieldType::Number, &[]);
    for nobody in [&fixture.team.manager_a, &fixture.team.user_a1] {
        assert_eq!(error_reason(fixture.define(nobody, cost()).await), Reason::PermissionMissing);
    }
    let made = fixture.define(boss, cost()).await.unwrap();
    assert_eq!(error_reason(fixture.define(boss, cost()).await), Reason::CustomFieldKeyTaken);
    let theirs = &other_account.team.owner;
    assert!(other_account.defined(theirs).await.is_empty());
    assert_eq!(error_reason(other_account.undefine(theirs, &made.id).await), Reason::CustomFieldNotFound);
    let change = CustomFieldChange { name: "Theirs".to_owned(), ..Default::default() };
    assert_eq!(
        error_reason(other_account.redefine(theirs, &made.id, &["name"], change, "*").await),
        Reason::CustomFieldNotFound
    );
    let free = CreateTaskRequest { custom_fields: object(json!({"cost": "much"})), ..new_task("Free") };
    other_account.create(theirs, free).await.unwrap();
    other_account.define(theirs, field("cost", CustomFieldType::Text, &[])).await.unwrap();

    for (request, wrong) in [
        (CreateCustomFieldRequest { key: "Cost".to_owned(), ..cost() }, "key"),
        (CreateCustomFieldRequest { key: "a b".to_owned(), ..cost() }, "key"),
        (CreateCustomFieldRequest { name: " ".to_owned(), ..cost() }, "name"),
        (field("pick", CustomFieldType::Select, &[]), "options"),
        (field("pick", CustomFieldType::MultiSelect, &["a", "a"]), "options"),
        (field("pick", CustomFieldType::Date, &["a"]), "options"),
        (field("pick", CustomFieldType::Unspecified, &[]), "type"),
    ] {
        assert_eq!(invalid_field(fixture.define(boss, request).await), wrong);
    }
}

#[tokio::test]
async fn account_has_at_most_fifty_fields() {
    let fixture = Fixture::new().await;
    let owner = &fixture.team.owner;
    for n in 0..47 {
        fixture.define(owner, text_field(&format!("f{n}"))).await.unwrap();
    }
    // Six concurrent creates for three free slots.
    let responses = join_all((47..53).map(|n| fixture.define(owner, text_field(&format!("f{n}"))))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 3);
    for refusal in responses.into_iter().filter_map(Result::err) {
        assert_eq!(
            (baton_testkit::reason(&refusal), refusal.code()),
            (Some(Reason::CustomFieldLimit), Code::FailedPrecondition)
        );
    }
}
