//! Search hits in the contract.

use baton_proto::baton::task::v1 as proto;

use crate::query::highlight::{Highlight, HighlightPart};

/// The highlight of a hit.
pub(crate) fn highlight(highlight: Highlight) -> proto::Highlight {
    let part = |HighlightPart { text, hit }| proto::HighlightPart { text, hit };
    proto::Highlight { field: highlight.field.to_owned(), parts: highlight.parts.into_iter().map(part).collect() }
}
