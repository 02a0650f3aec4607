//! Events of saved views.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::ViewEvent;
use baton_store::Event;

use crate::{convert::saved_view::to_visibility, query::saved_view::View};

/// A view was created.
pub(crate) fn created(view: &View) -> Event {
    about(Payload::ViewCreated, view)
}

/// A view was updated.
pub(crate) fn updated(view: &View) -> Event {
    about(Payload::ViewUpdated, view)
}

/// A view was deleted.
pub(crate) fn deleted(view: &View) -> Event {
    about(Payload::ViewDeleted, view)
}

fn about(kind: fn(ViewEvent) -> Payload, view: &View) -> Event {
    let event = ViewEvent {
        view_id: view.id.to_string(),
        owner_id: view.owner_id.to_string(),
        visibility: to_visibility(view.visibility).into(),
        version: view.version,
    };
    Event::new(kind(event), view.account_id, view.id)
}
