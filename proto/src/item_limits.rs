//! `repeated.max_items`, checked on the bytes of a request before it is decoded.
//!
//! The generated validation looks at every item, and describes each that is wrong: of a list that is too long, at a cost
//! that the sender chooses. So long requests are counted first.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use prost::{
    bytes::Buf,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::pool;

/// Requests up to this size are not counted: they have no room for many items.
const MAX_UNCOUNTED: usize = 4 * 1024;
/// Messages in messages that are looked into.
const MAX_DEPTH: usize = 8;

/// A list that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// Its path in the message.
    pub(crate) field: String,
    pub(crate) max_items: u64,
}

/// What of a message is counted, by field number.
#[derive(Debug, Default)]
struct Counted(HashMap<u32, Field>);

#[derive(Debug)]
struct Field {
    name: String,
    max_items: Option<u64>,
    kind: Kind,
}

/// The first list of the encoded message `name` that has more items than its rule allows.
pub(crate) fn first_exceeded(name: &str, message: &[u8]) -> Option<TooMany> {
    if message.len() <= MAX_UNCOUNTED {
        return None;
    }
    let message_type = pool().get_message_by_name(name)?;
    // Bytes that are no message are the decoder's to refuse.
    count(&message_type, message, MAX_DEPTH).ok().flatten()
}

fn count(of: &MessageDescriptor, mut message: &[u8], depth: usize) -> Result<Option<TooMany>, prost::DecodeError> {
    let counted = counted(of);
    if counted.0.is_empty() {
        return Ok(None);
    }
    let mut counts: HashMap<u32, u64> = HashMap::new();
    while message.has_remaining() {
        let (number, wire_type) = decode_key(&mut message)?;
        let Some(field) = counted.0.get(&number) else {
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
            continue;
        };
        let mut items = 1;
        if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
            let Some((content, rest)) = message.split_at_checked(length) else { return Ok(None) };
            message = rest;
            match &field.kind {
                Kind::Message(inner) if depth > 0 => {
                    if let Some(found) = count(inner, content, depth - 1)? {
                        return Ok(Some(TooMany { field: format!("{}.{}", field.name, found.field), ..found }));
                    }
                }
                Kind::Message(_) | Kind::String | Kind::Bytes => {}
                Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => items = content.len() as u64 / 8,
                Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => items = content.len() as u64 / 4,
                // A varint ends with the byte whose highest bit is not set.
                _ => items = content.iter().filter(|&&byte| byte < 0x80).count() as u64,
            }
        } else {
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
        }
        let Some(max_items) = field.max_items else { continue };
        let count = counts.entry(number).or_default();
        *count += items;
        if *count > max_items {
            return Ok(Some(TooMany { field: field.name.clone(), max_items }));
        }
    }
    Ok(None)
}

fn counted(of: &MessageDescriptor) -> Arc<Counted> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Counted>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(of.full_name().to_owned()).or_insert_with(|| {
        let fields = of.fields().filter_map(|field| {
            let max_items = max_items(&field);
            let is_ours = matches!(field.kind(), Kind::Message(inner) if inner.full_name().starts_with("baton."));
            let counted = Field { name: field.name().to_owned(), max_items, kind: field.kind() };
            (max_items.is_some() || is_ours).then_some((field.number(), counted))
        });
        Arc::new(Counted(fields.collect()))
    }))
}

/// The rule of a repeated field.
fn max_items(field: &FieldDescriptor) -> Option<u64> {
    let rules = pool().get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    let rules = options.get_extension(&rules);
    let repeated = rules.as_message()?.get_field_by_name("repeated")?.into_owned();
    let repeated = repeated.as_message()?;
    let limit = repeated.get_field_by_name("max_items")?.as_u64()?;
    repeated.has_field_by_name("max_items").then_some(limit)
}

#[cfg(test)]
mod tests {
    use prost::{Message as _, Name as _};

    use super::*;
    use crate::baton::{
        auth::v1::BatchGetUsersRequest,
        task::v1::{ListTasksRequest, TaskFilter},
    };

    #[test]
    fn a_long_list_is_found_wherever_it_is() {
        let request = BatchGetUsersRequest { ids: vec!["x".to_owned(); 5_000] };
        let found = first_exceeded(&BatchGetUsersRequest::full_name(), &request.encode_to_vec()).unwrap();
        assert_eq!(found.field, "ids");
        let filter = TaskFilter { tags: vec!["x".to_owned(); 9_000], ..Default::default() };
        let request = ListTasksRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(
            first_exceeded(&ListTasksRequest::full_name(), &request.encode_to_vec()).unwrap().field,
            "filter.tags"
        );
        let filter = TaskFilter { status: vec![1; 9_000], ..Default::default() };
        let request = ListTasksRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(
            first_exceeded(&ListTasksRequest::full_name(), &request.encode_to_vec()).unwrap().field,
            "filter.status"
        );
    }

    #[test]
    fn what_is_within_the_rules_or_no_message_passes() {
        let filter = TaskFilter { search: Some("x".repeat(10_000)), ..Default::default() };
        let request = ListTasksRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(first_exceeded(&ListTasksRequest::full_name(), &request.encode_to_vec()), None);
        assert_eq!(first_exceeded(&ListTasksRequest::full_name(), &[0xff; 10_000]), None);
    }

    /// Without a rule the sender chooses how much there is to look at.
    #[test]
    fn every_list_of_a_request_has_a_limit() {
        let mut open = std::collections::BTreeSet::new();
        let mut looked_at = std::collections::HashSet::new();
        let mut waiting: Vec<MessageDescriptor> = pool()
            .services()
            .filter(|service| service.full_name().starts_with("baton."))
            .flat_map(|service| service.methods().map(|method| method.input()).collect::<Vec<_>>())
            .collect();
        while let Some(message) = waiting.pop() {
            if !looked_at.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                if field.is_list() && max_items(&field).is_none() {
                    open.insert(field.full_name().to_owned());
                }
                if let Kind::Message(inner) = field.kind()
                    && inner.full_name().starts_with("baton.")
                {
                    waiting.push(inner);
                }
            }
        }
        assert!(open.is_empty(), "without max_items: {open:?}");
    }
}
