//! Custom field RPCs.

use baton_access::principal;
use baton_catalog::Payload;
use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{
    CreateCustomFieldRequest, CreateCustomFieldResponse, CustomField as ProtoCustomField, CustomFieldChange,
    DeleteCustomFieldRequest, DeleteCustomFieldResponse, ListCustomFieldsRequest, ListCustomFieldsResponse,
    UpdateCustomFieldRequest, UpdateCustomFieldResponse, custom_field_service_server::CustomFieldService,
};
use baton_store::Preconditions;
use tonic::{Request, Response, Status};

use super::{Rpc, mutation::Mutation};
use crate::{
    convert::custom_field as convert,
    events::publish::custom_field as events,
    store,
    task::{custom_field::CustomField, fields::id},
};

#[tonic::async_trait]
impl CustomFieldService for Rpc {
    async fn list_custom_fields(
        &self,
        request: Request<ListCustomFieldsRequest>,
    ) -> Result<Response<ListCustomFieldsResponse>, Status> {
        let mut tx = self.db.begin_read(principal(&request)?.tenant()).await?;
        let fields = store::custom_field::all(&mut tx).await?;
        drop(tx);
        let custom_fields = fields.into_iter().map(convert::custom_field).collect();
        Ok(Response::new(ListCustomFieldsResponse { custom_fields }))
    }

    async fn create_custom_field(
        &self,
        request: Request<CreateCustomFieldRequest>,
    ) -> Result<Response<CreateCustomFieldResponse>, Status> {
        let mutation = Mutation::of("CreateCustomField", &request)?;
        let CreateCustomFieldRequest { key, name, r#type, options, required } = request.get_ref().clone();
        let (clock, account_id) = (self.db.clock(), mutation.principal().account_id());
        let now = clock.now();
        let field = CustomField {
            id: clock.new_id(),
            account_id,
            key,
            name,
            field_type: convert::field_type(r#type).ok_or_else(|| Error::invalid("type", "must be a known type"))?,
            options: convert::options(options),
            required,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        field.check("")?;
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(response) = tx.replay::<ProtoCustomField>(mutation.idempotency()).await? {
            return Ok(Response::new(CreateCustomFieldResponse { custom_field: Some(response) }));
        }
        store::custom_field::insert(&mut tx, &field).await?;
        tx.publish(events::custom_field(Payload::CustomFieldCreated, account_id, field.id, Vec::new())).await?;
        let response = convert::custom_field(field);
        tx.remember(mutation.idempotency(), &response).await?;
        tx.commit().await?;
        Ok(Response::new(CreateCustomFieldResponse { custom_field: Some(response) }))
    }

    async fn update_custom_field(
        &self,
        request: Request<UpdateCustomFieldRequest>,
    ) -> Result<Response<UpdateCustomFieldResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let tenant = principal(&request)?.tenant();
        let UpdateCustomFieldRequest { id: field_id, custom_field, update_mask } = request.into_inner();
        let mut tx = self.db.begin(tenant).await?;
        let before = store::custom_field::lock(&mut tx, id(&field_id, "id")?).await?;
        expected.check(before.version)?;
        let mut after = before.clone();
        change(&mut after, &update_mask.unwrap_or_default().paths, custom_field.unwrap_or_default())?;
        after.check("custom_field.")?;
        let changed = after.changes_since(&before);
        if !changed.is_empty() {
            (after.version, after.updated_at) = (before.version + 1, self.db.clock().now());
            store::custom_field::save(&mut tx, &after).await?;
            tx.publish(events::custom_field(Payload::CustomFieldUpdated, after.account_id, after.id, changed)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateCustomFieldResponse { custom_field: Some(convert::custom_field(after)) }))
    }

    async fn delete_custom_field(
        &self,
        request: Request<DeleteCustomFieldRequest>,
    ) -> Result<Response<DeleteCustomFieldResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let mut tx = self.db.begin(principal(&request)?.tenant()).await?;
        let field = store::custom_field::lock(&mut tx, id(&request.get_ref().id, "id")?).await?;
        expected.check(field.version)?;
        store::custom_field::delete(&mut tx, &field).await?;
        tx.publish(events::custom_field(Payload::CustomFieldDeleted, field.account_id, field.id, Vec::new())).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteCustomFieldResponse {}))
    }
}

/// Sets the fields in `mask` from `new`; a field that is absent there is cleared.
fn change(field: &mut CustomField, mask: &[String], new: CustomFieldChange) -> Result<()> {
    if mask.is_empty() {
        return Err(Error::invalid("update_mask", "must name a field"));
    }
    for path in mask {
        match path.as_str() {
            "name" => field.name.clone_from(&new.name),
            "options" => field.options = convert::options(new.options.clone()),
            "required" => field.required = new.required,
            _ => return Err(Error::invalid("update_mask", "must name changeable fields of a definition")),
        }
    }
    Ok(())
}
