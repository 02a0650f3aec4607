//! The erasure of a person: what the catalogue of personal data cannot describe.

use baton_runtime::Next;
use baton_store::{Db, subject_data::Subject};

use crate::{
    store,
    task::{comment::MAX_LENGTH, mention},
};

/// Comments per transaction.
const BATCH: i64 = 100;
/// What stands where a comment has mentioned somebody who was erased.
const ERASED: &str = "(erased)";

/// Removes the person's handle from the comments that mention them.
pub(crate) async fn before(db: Db, subject: Subject) -> anyhow::Result<Next> {
    let rewritten = store::erasure::rewrite_mentions(&db, subject, BATCH, |comment| {
        let body = mention::replace(&comment.body, &[&comment.handle], ERASED);
        // What stands there may be longer than the handle.
        body.chars().take(MAX_LENGTH).collect()
    });
    Ok(if rewritten.await? == 0 { Next::Wait } else { Next::Again })
}
