//! Custom field events. They carry ids and names of fields, no values.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::CustomFieldEvent;
use baton_store::Event;
use uuid::Uuid;

/// The event of type `kind`: a custom field was created, updated or deleted.
pub(crate) fn custom_field(
    kind: fn(CustomFieldEvent) -> Payload,
    account_id: Uuid,
    id: Uuid,
    changed_fields: Vec<String>,
) -> Event {
    Event::new(kind(CustomFieldEvent { custom_field_id: id.to_string(), changed_fields }), account_id, id)
}
