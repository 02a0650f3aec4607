//! `repeated.max_items`, checked on the bytes of a request before it is decoded.
//!
//! The generated validation checks every item and describes every violation. For a list that is too long, the sender
//! would choose the cost. So the items of long requests are counted before decoding.

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

/// Requests up to this size, in bytes, are not counted: they are too small for many items.
const MAX_UNCOUNTED: usize = 4 * 1024;
/// Levels of nested messages that are counted.
const MAX_DEPTH: usize = 8;

/// A list with too many items.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// Path of the list in the message.
    pub(crate) field: String,
    pub(crate) max_items: u64,
}

/// The counted fields of a message, by field number.
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
    // The decoder reports malformed bytes.
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

/// The `max_items` rule of a repeated field.
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
    fn too_long_list_is_found_at_any_depth() {
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
    fn valid_and_malformed_messages_pass() {
        let filter = TaskFilter { search: Some("x".repeat(10_000)), ..Default::default() };
        let request = ListTasksRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(first_exceeded(&ListTasksRequest::full_name(), &request.encode_to_vec()), None);
        assert_eq!(first_exceeded(&ListTasksRequest::full_name(), &[0xff; 10_000]), None);
    }

    /// Without a limit the sender chooses the cost of the validation.
    #[test]
    fn every_list_in_a_request_has_a_limit() {
        let mut open = std::collections::BTreeSet::new();
        let mut visited = std::collections::HashSet::new();
        let mut queue: Vec<MessageDescriptor> = pool()
            .services()
            .filter(|service| service.full_name().starts_with("baton."))
            .flat_map(|service| service.methods().map(|method| method.input()).collect::<Vec<_>>())
            .collect();
        while let Some(message) = queue.pop() {
            if !visited.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                if field.is_list() && max_items(&field).is_none() {
                    open.insert(field.full_name().to_owned());
                }
                if let Kind::Message(inner) = field.kind()
                    && inner.full_name().starts_with("baton.")
                {
                    queue.push(inner);
                }
            }
        }
        assert!(open.is_empty(), "without max_items: {open:?}");
    }
}
