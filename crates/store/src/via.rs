//! The service that acts for a user, in the contract.

use baton_proto::baton::api::v1 as proto;
use baton_runtime::Via;

/// Converts to the contract.
pub fn to_proto(Via { service, cause }: Via) -> proto::Via {
    let (kind, id, depth) = cause.map(|cause| (cause.kind, cause.id.to_string(), cause.depth)).unwrap_or_default();
    proto::Via { service, kind, id, depth: depth.into() }
}
