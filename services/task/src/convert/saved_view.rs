//! Saved views in the contract.

use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{self as proto, ViewChange},
    convert::timestamp,
};

use super::{
    board::{layout_kind, to_layout},
    filter::{template, to_filter},
};
use crate::{
    query::saved_view::{View, ViewSource, ViewVisibility},
    task::fields::{id, required},
};

/// A saved view.
pub(crate) fn view(view: View) -> proto::View {
    proto::View {
        id: view.id.to_string(),
        account_id: view.account_id.to_string(),
        owner_id: view.owner_id.to_string(),
        name: view.name,
        source: to_source(view.source).into(),
        user_id: view.user_id.map(|id| id.to_string()),
        layout: to_layout(view.layout).into(),
        filter: Some(to_filter(view.filter)),
        visibility: to_visibility(view.visibility).into(),
        position: view.position,
        version: view.version,
        created_at: Some(timestamp(view.created_at)),
        updated_at: Some(timestamp(view.updated_at)),
    }
}

/// The source of the contract. `field` names it in errors.
///
/// # Errors
/// VALIDATION_FAILED when it is unspecified.
pub(crate) fn source(source: proto::ViewSource, field: &str) -> Result<ViewSource> {
    let known = ViewSource::ALL.into_iter().find(|&known| to_source(known) == source);
    known.ok_or_else(|| Error::invalid(field, "must not be empty"))
}

fn to_source(source: ViewSource) -> proto::ViewSource {
    match source {
        ViewSource::My => proto::ViewSource::My,
        ViewSource::User => proto::ViewSource::User,
        ViewSource::Team => proto::ViewSource::Team,
        ViewSource::Account => proto::ViewSource::Account,
        ViewSource::List => proto::ViewSource::List,
    }
}

/// The visibility of the contract, private by default.
pub(crate) fn visibility(visibility: proto::ViewVisibility) -> ViewVisibility {
    match visibility {
        proto::ViewVisibility::Unspecified | proto::ViewVisibility::Private => ViewVisibility::Private,
        proto::ViewVisibility::Shared => ViewVisibility::Shared,
    }
}

/// The visibility in the contract.
pub(crate) fn to_visibility(visibility: ViewVisibility) -> proto::ViewVisibility {
    match visibility {
        ViewVisibility::Private => proto::ViewVisibility::Private,
        ViewVisibility::Shared => proto::ViewVisibility::Shared,
    }
}

/// Sets the fields in `mask` from `new`; a field that is absent there is cleared.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn change(view: &mut View, mask: &[String], new: &ViewChange) -> Result<()> {
    let unknown = || Error::invalid("update_mask", "must name fields of a view");
    let filter = || template(new.filter.clone().unwrap_or_default());
    if mask.is_empty() {
        return Err(Error::invalid("update_mask", "must name a field"));
    }
    for path in mask {
        match path.as_str() {
            "name" => view.name = required(new.name.clone(), "view.name")?,
            "source" => view.source = source(new.source(), "view.source")?,
            "user_id" => view.user_id = new.user_id.as_deref().map(|user| id(user, "view.user_id")).transpose()?,
            "layout" => view.layout = layout_kind(new.layout()),
            "filter" => view.filter = filter()?,
            "visibility" => view.visibility = visibility(new.visibility()),
            "position" => view.position = new.position,
            path => {
                let field = path.strip_prefix("filter.").ok_or_else(unknown)?;
                if !view.filter.copy_field(&filter()?, field) {
                    return Err(unknown());
                }
            }
        }
    }
    view.check("view.")
}
