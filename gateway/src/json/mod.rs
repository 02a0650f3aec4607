//! Protobuf messages to JSON and back, by their descriptors.
//!
//! Names are those of the proto, in snake_case only. Enum values are lower-case without their prefix, times are RFC
//! 3339 in UTC, and a `google.protobuf.Struct` is any object.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod enums;
pub(crate) mod number;
pub(crate) mod scalar;
pub(crate) mod supported;
pub(crate) mod value;
pub(crate) mod violations;

/// Full names of the well-known types with their own JSON form.
pub(crate) const TIMESTAMP: &str = "google.protobuf.Timestamp";
pub(crate) const STRUCT: &str = "google.protobuf.Struct";
pub(crate) const FIELD_MASK: &str = "google.protobuf.FieldMask";

#[cfg(test)]
pub(crate) mod tests;
