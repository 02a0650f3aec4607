//! The codec of every generated client and server: prost, text normalization and the `buf.validate` rules.

use std::{collections::HashMap, marker::PhantomData};

use prost::{Message, Name, bytes::Buf as _};
use prost_protovalidate::{Validate, Violation};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    item_limits::{TooMany, first_exceeded},
    text::{self, Normalize, Problems},
};

/// The `reason` for a message that violates a `buf.validate` rule.
pub const VALIDATION_FAILED: &str = "VALIDATION_FAILED";
/// The `reason` for a message that is larger than its receiver accepts.
pub const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";
/// The `domain` of every `google.rpc.ErrorInfo` of Baton.
pub const ERROR_DOMAIN: &str = "baton";

/// Field violations in a status, at most. A status travels in a header, and HTTP/2 peers accept 16 KiB of headers; a
/// larger one also fails the other responses of its connection.
pub const MAX_VIOLATIONS: usize = 20;
/// The metadata of `google.rpc.ErrorInfo` that counts the violations beyond [`MAX_VIOLATIONS`].
pub const MORE_VIOLATIONS: &str = "more_violations";
/// Characters of a field path in a violation, at most.
const MAX_FIELD_LEN: usize = 200;

/// Encodes and decodes with prost. Decoding a request normalizes its text by `baton.text.v1.kind`. A message that
/// violates these rules or its `buf.validate` rules fails with INVALID_ARGUMENT and one `BadRequest` field violation
/// per violated rule.
///
/// Decoding happens after the access layer, so a caller is authorized before the request is validated.
#[derive(Debug, Clone)]
pub struct ValidatingCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ValidatingCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ValidatingCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Normalize + Validate + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ValidatingDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(Default::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ValidatingDecoder(PhantomData)
    }
}

/// The decoding half of [`ValidatingCodec`].
#[derive(Debug, Clone)]
pub struct ValidatingDecoder<U>(PhantomData<U>);

impl<U> Default for ValidatingDecoder<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U: Message + Name + Default + Normalize + Validate> Decoder for ValidatingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        if let Some(TooMany { field, max_items }) = first_exceeded(&U::full_name(), &bytes) {
            let mut details = validation_failed();
            details.add_bad_request_violation(field, format!("must have at most {max_items} items"));
            return Err(rule_violations(details));
        }
        let mut message = U::decode(bytes).map_err(|e| malformed(&e.to_string()))?;
        // Normalization comes first: lengths are checked on the stored form.
        let text = text::normalize(&mut message);
        match message.validate() {
            Ok(()) if text.is_empty() => Ok(Some(message)),
            Ok(()) => Err(violations_status(&text, &[])),
            Err(error) => Err(violations_status(&text, error.violations())),
        }
    }
}

/// The status for bytes that do not decode, such as text that is not UTF-8. prost names the field only in its error
/// text: `failed to decode Protobuf message: Inner.field: Outer.field: what is wrong`.
fn malformed(error: &str) -> Status {
    let mut parts = error.split(": ").skip(1).peekable();
    let mut path = Vec::new();
    while let Some((_, field)) = parts.peek().and_then(|part| part.split_once('.')).filter(|(_, f)| !f.contains(' ')) {
        path.insert(0, field);
        parts.next();
    }
    let mut details = validation_failed();
    if !path.is_empty() {
        details.add_bad_request_violation(path.join("."), parts.collect::<Vec<_>>().join(": "));
    }
    Status::with_error_details(tonic::Code::InvalidArgument, "the request is not a valid message", details)
}

fn violations_status(text: &Problems, violations: &[Violation]) -> Status {
    let mut details = validation_failed();
    let of_text = text.iter().map(|(field, problem)| (field.to_owned(), problem.to_string()));
    let of_rules = violations.iter().map(|violation| (violation.field_path(), description(violation)));
    let mut named = 0;
    for (field, why) in of_text.chain(of_rules).take(MAX_VIOLATIONS) {
        named += 1;
        details.add_bad_request_violation(field.chars().take(MAX_FIELD_LEN).collect::<String>(), why);
    }
    let more = (text.total() + violations.len()).saturating_sub(named);
    if more > 0 {
        let metadata = std::collections::HashMap::from([(MORE_VIOLATIONS.to_owned(), more.to_string())]);
        details.set_error_info(VALIDATION_FAILED, ERROR_DOMAIN, metadata);
    }
    rule_violations(details)
}

fn rule_violations(details: ErrorDetails) -> Status {
    Status::with_error_details(tonic::Code::InvalidArgument, "the request violates the rules of its fields", details)
}

/// The status for a message that is larger than `limit` bytes: RESOURCE_EXHAUSTED.
pub fn too_large(limit: Option<u64>) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = limit.map(|limit| ("limit".to_owned(), limit.to_string()));
    details.set_error_info(REQUEST_TOO_LARGE, ERROR_DOMAIN, HashMap::from_iter(metadata));
    let message = limit.map_or_else(
        || "the message is larger than the limit".to_owned(),
        |limit| format!("the message is larger than {limit} bytes"),
    );
    Status::with_error_details(tonic::Code::ResourceExhausted, message, details)
}

fn validation_failed() -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(VALIDATION_FAILED, ERROR_DOMAIN, HashMap::<String, String>::new());
    details
}

/// The description of a violation. The generated code has one for some rules, and only the id for others.
fn description(violation: &Violation) -> String {
    if !violation.message().is_empty() {
        return violation.message().to_owned();
    }
    match violation.rule_id().trim_end_matches("_empty") {
        "string.uuid" => "must be a UUID".to_owned(),
        id if id.starts_with("int32.") => "must be in the allowed range".to_owned(),
        id => format!("violates the rule {id}"),
    }
}
