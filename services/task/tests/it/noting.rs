//! Custom fields: what an account wants noted of its tasks.

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

use crate::desk::{Answer, Desk, new, refused, with, wrong_field};

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

/// A field for any text.
pub(crate) fn text_field(key: &str) -> CreateCustomFieldRequest {
    field(key, CustomFieldType::Text, &[])
}

impl Desk {
    pub(crate) async fn define(&self, who: &Person, request: CreateCustomFieldRequest) -> Answer<CustomField> {
        let mut client = CustomFieldServiceClient::new(self.channel());
        Ok(client.create_custom_field(self.call(who, request)).await?.into_inner().custom_field.unwrap())
    }

    async fn redefine(
        &self,
        who: &Person,
        id: &str,
        mask: &[&str],
        change: CustomFieldChange,
        version: &str,
    ) -> Answer<CustomField> {
        let mask = FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() };
        let message =
            UpdateCustomFieldRequest { id: id.to_owned(), custom_field: Some(change), update_mask: Some(mask) };
        let request = with(self.call(who, message), "if-match", version);
        let mut client = CustomFieldServiceClient::new(self.channel());
        Ok(client.update_custom_field(request).await?.into_inner().custom_field.unwrap())
    }

    async fn undefine(&self, who: &Person, id: &str) -> Answer<()> {
        let request = self.call(who, DeleteCustomFieldRequest { id: id.to_owned() });
        CustomFieldServiceClient::new(self.channel()).delete_custom_field(request).await?;
        Ok(())
    }

    async fn defined(&self, who: &Person) -> Vec<CustomField> {
        let request = self.call(who, ListCustomFieldsRequest {});
        let mut client = CustomFieldServiceClient::new(self.channel());
        client.list_custom_fields(request).await.unwrap().into_inner().custom_fields
    }
}

#[tokio::test]
async fn values_have_the_form_that_the_account_defines() {
    let desk = Desk::open().await;
    let (boss, me) = (&desk.team.super_manager, &desk.team.user_a1);
    let severity = desk.define(boss, field("severity", CustomFieldType::Select, &["low", "high"])).await.unwrap();
    desk.define(boss, field("cost", CustomFieldType::Number, &[])).await.unwrap();
    assert_eq!(desk.defined(me).await.iter().map(|field| field.key.as_str()).collect::<Vec<_>>(), ["severity", "cost"]);

    let noting = |value| CreateTaskRequest { custom_fields: object(value), ..new("Sweep") };
    assert_eq!(wrong_field(desk.create(me, noting(json!({"severity": "LOW"}))).await), "custom_fields.severity");
    let task = desk.create(me, noting(json!({"severity": "low", "anything": ["goes"]}))).await.unwrap().id;
    let write = async |mask: &[&str], value| {
        let change = TaskChange { custom_fields: object(value), ..Default::default() };
        desk.update(me, &task, mask, change).await
    };
    assert_eq!(wrong_field(write(&["custom_fields.cost"], json!({"cost": "much"})).await), "task.custom_fields.cost");
    write(&["custom_fields.cost"], json!({"cost": 5})).await.unwrap();
    assert_eq!(wrong_field(write(&["custom_fields"], json!({"cost": "much"})).await), "task.custom_fields.cost");

    // An option that goes leaves what was noted, and other changes of the task possible.
    let only_high = CustomFieldChange {
        options: vec![CustomFieldOption { id: "high".to_owned(), name: "Sky".to_owned() }],
        required: true,
        ..Default::default()
    };
    let mask = ["options", "required"];
    assert_eq!(
        refused(desk.redefine(boss, &severity.id, &mask, only_high.clone(), "\"7\"").await),
        Reason::VersionMismatch
    );
    let changed = desk.redefine(boss, &severity.id, &mask, only_high.clone(), "\"1\"").await.unwrap();
    assert_eq!((changed.version, changed.required, changed.options[0].name.as_str()), (2, true, "Sky"));
    let kept = desk.redefine(boss, &severity.id, &mask, only_high, "*").await.unwrap();
    assert_eq!(kept, changed, "nothing changed");
    write(&["custom_fields.cost"], json!({"cost": 6})).await.unwrap();
    assert_eq!(wrong_field(write(&["custom_fields.severity"], json!({})).await), "task.custom_fields.severity");
    assert_eq!(wrong_field(desk.create(me, new("Without it")).await), "custom_fields.severity");
    for nothing in [&["key"][..], &["type"], &[]] {
        let answer = desk.redefine(boss, &severity.id, nothing, CustomFieldChange::default(), "*").await;
        assert_eq!(wrong_field(answer), "update_mask");
    }
    let nameless = desk.redefine(boss, &severity.id, &["name"], CustomFieldChange::default(), "*").await;
    assert_eq!(wrong_field(nameless), "custom_field.name");

    // Without the definition the value is as free as any.
    let read_before = desk.call(boss, DeleteCustomFieldRequest { id: severity.id.clone() });
    let stale =
        CustomFieldServiceClient::new(desk.channel()).delete_custom_field(with(read_before, "if-match", "\"1\"")).await;
    assert_eq!(refused(stale), Reason::VersionMismatch);
    desk.undefine(boss, &severity.id).await.unwrap();
    assert_eq!(refused(desk.undefine(boss, &severity.id).await), Reason::CustomFieldNotFound);
    write(&["custom_fields.severity"], json!({"severity": {"was": "low"}})).await.unwrap();
    desk.create(me, new("Without it")).await.unwrap();

    let told = desk.told::<CustomFieldEvent>("custom_field.").await;
    let told: Vec<_> = told.iter().map(|(kind, event)| (kind.as_str(), event.changed_fields.join(" "))).collect();
    let created = ("custom_field.created", String::new());
    assert_eq!(
        told,
        [
            created.clone(),
            created,
            ("custom_field.updated", "options required".to_owned()),
            ("custom_field.deleted", String::new())
        ]
    );
}

#[tokio::test]
async fn fields_are_the_accounts_own_and_for_those_who_run_it() {
    let desk = Desk::open().await;
    let (boss, elsewhere) = (&desk.team.super_manager, desk.elsewhere().await);
    let cost = || field("cost", CustomFieldType::Number, &[]);
    for nobody in [&desk.team.manager_a, &desk.team.user_a1] {
        assert_eq!(refused(desk.define(nobody, cost()).await), Reason::PermissionMissing);
    }
    let made = desk.define(boss, cost()).await.unwrap();
    assert_eq!(refused(desk.define(boss, cost()).await), Reason::CustomFieldKeyTaken);
    let theirs = &elsewhere.team.owner;
    assert!(elsewhere.defined(theirs).await.is_empty());
    assert_eq!(refused(elsewhere.undefine(theirs, &made.id).await), Reason::CustomFieldNotFound);
    let change = CustomFieldChange { name: "Theirs".to_owned(), ..Default::default() };
    assert_eq!(
        refused(elsewhere.redefine(theirs, &made.id, &["name"], change, "*").await),
        Reason::CustomFieldNotFound
    );
    let free = CreateTaskRequest { custom_fields: object(json!({"cost": "much"})), ..new("Free") };
    elsewhere.create(theirs, free).await.unwrap();
    elsewhere.define(theirs, field("cost", CustomFieldType::Text, &[])).await.unwrap();

    for (request, wrong) in [
        (CreateCustomFieldRequest { key: "Cost".to_owned(), ..cost() }, "key"),
        (CreateCustomFieldRequest { key: "a b".to_owned(), ..cost() }, "key"),
        (CreateCustomFieldRequest { name: " ".to_owned(), ..cost() }, "name"),
        (field("pick", CustomFieldType::Select, &[]), "options"),
        (field("pick", CustomFieldType::MultiSelect, &["a", "a"]), "options"),
        (field("pick", CustomFieldType::Date, &["a"]), "options"),
        (field("pick", CustomFieldType::Unspecified, &[]), "type"),
    ] {
        assert_eq!(wrong_field(desk.define(boss, request).await), wrong);
    }
}

#[tokio::test]
async fn an_account_has_fifty_fields_at_most() {
    let desk = Desk::open().await;
    let owner = &desk.team.owner;
    for n in 0..47 {
        desk.define(owner, text_field(&format!("f{n}"))).await.unwrap();
    }
    // Six at once for three places.
    let answers = join_all((47..53).map(|n| desk.define(owner, text_field(&format!("f{n}"))))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert_eq!(
            (baton_testkit::reason(&refusal), refusal.code()),
            (Some(Reason::CustomFieldLimit), Code::FailedPrecondition)
        );
    }
}
