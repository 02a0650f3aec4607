//! The subset of protobuf that has a JSON form; the gateway does not start with other types.

use std::collections::HashSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{FIELD_MASK, STRUCT, TIMESTAMP, enums};

/// Fails if a field of the message has no JSON form. The error names it.
pub(crate) fn check(message: &MessageDescriptor) -> Result<(), String> {
    check_once(message, &mut HashSet::new())
}

fn check_once(message: &MessageDescriptor, seen: &mut HashSet<String>) -> Result<(), String> {
    if !seen.insert(message.full_name().to_owned()) {
        return Ok(());
    }
    message.fields().try_for_each(|field| check_field(&field, seen))
}

fn check_field(field: &FieldDescriptor, seen: &mut HashSet<String>) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{} {why}", field.full_name()));
    if field.is_map() {
        return refuse("is a map: use google.protobuf.Struct");
    }
    match field.kind() {
        // JavaScript reads them as doubles and loses digits; protobuf's JSON uses strings, which surprises other
        // clients.
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
            refuse("is a 64-bit integer: use int32")
        }
        Kind::Bytes => refuse("is bytes: use a string that says its encoding"),
        Kind::Enum(of) => enums::check(&of),
        Kind::Message(of) => match of.full_name() {
            TIMESTAMP | STRUCT => Ok(()),
            FIELD_MASK if field.name() == "update_mask" => Ok(()),
            name if name.starts_with("google.protobuf.") => {
                refuse(&format!("is a {name}, which has no JSON form here"))
            }
            _ => check_once(&of, seen),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_a_json_form_is_named() {
        let of = |name| baton_proto::pool().get_message_by_name(name).expect(name);
        let error = check(&of("baton.events.v1.Envelope")).expect_err("holds an Any");
        assert!(error.contains("baton.events.v1.Envelope.payload"), "{error}");
        let error = check(&of("buf.validate.Int64Rules")).expect_err("64 bits");
        assert!(error.contains("64-bit"), "{error}");
        check(&of("baton.task.v1.UpdateTaskRequest")).expect("supported");
    }
}
