//! Generates messages, clients, servers and validators from `baton/**/*.proto`.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};

/// JSON objects. Their numbers are checked, and their strings if the field has a kind of text.
const STRUCT: &str = "google.protobuf.Struct";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = out.join("descriptors.bin");
    let mut protos = Vec::new();
    collect(Path::new("baton"), &mut protos)?;
    protos.sort();

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .file_descriptor_set_path(&descriptors)
        // Decoding a request checks its `buf.validate` rules, so no handler can forget to.
        .codec_path("crate::codec::ValidatingCodec")
        .include_file("packages.rs")
        .compile_with_config(config, &protos, &[PathBuf::from(".")])?;
    println!("cargo:rerun-if-changed=baton");

    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_path(&descriptors)?
        // No rule may be skipped silently: a rule that needs CEL at run time breaks the build.
        .fail_on_runtime_only(true)
        .compile()?;
    implement_validate_without_rules(&out, &descriptors)?;
    apply_text_rules(&out, &descriptors)?;
    split_off_example(&out, &descriptors)
}

/// Moves the files of the example service (tests/example) to a set of their own: it is no part of the product.
fn split_off_example(out: &Path, descriptors: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let pool = DescriptorPool::decode(fs::read(descriptors)?.as_slice())?;
    let (example, product): (Vec<_>, Vec<_>) = pool.files().partition(|file| file.package_name() == "baton.example.v1");
    for (path, files) in [(out.join("example.bin"), example), (descriptors.to_owned(), product)] {
        let files: Vec<Vec<u8>> = files.iter().map(|file| file.encode_to_vec()).collect();
        let mut set = Vec::new();
        prost::encoding::bytes::encode_repeated(1, &files, &mut set);
        fs::write(path, set)?;
    }
    Ok(())
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

/// Implements `Validate` for messages without rules: the generator skips them, and the codec needs it for every
/// message.
fn implement_validate_without_rules(out: &Path, descriptors: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = out.join("validate_impl.rs");
    let mut code = fs::read_to_string(&file)?;
    let pool = DescriptorPool::decode(fs::read(descriptors)?.as_slice())?;
    for message in pool.all_messages() {
        if !message.package_name().starts_with("baton.") || message.is_map_entry() {
            continue;
        }
        let path = message.full_name().replace('.', "::");
        if !code.contains(&format!("for {path} {{")) {
            code.push_str(&format!(
                "impl ::prost_protovalidate::Validate for {path} {{\n    fn validate(&self) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {{ Ok(()) }}\n}}\n"
            ));
        }
    }
    fs::write(file, code)?;
    Ok(())
}

/// Implements `text::Normalize` for every message, by the `(baton.text.v1.kind)` of its fields and of the messages in
/// it. Only requests of RPCs are normalized: data that was stored before a rule stays readable.
fn apply_text_rules(out: &Path, descriptors: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let pool = DescriptorPool::decode(fs::read(descriptors)?.as_slice())?;
    let kind = pool.get_extension_by_name("baton.text.v1.kind").ok_or("baton/text/v1/text.proto is missing")?;
    let requests: HashSet<String> = pool
        .services()
        .flat_map(|service| service.methods().map(|method| method.input().full_name().to_owned()).collect::<Vec<_>>())
        .collect();
    let mut code = String::new();
    for message in pool.all_messages() {
        if !message.package_name().starts_with("baton.") || message.is_map_entry() {
            continue;
        }
        let mut fields = String::new();
        for field in message.fields() {
            fields.push_str(&text_rule(&kind, &field)?);
        }
        let path = message.full_name().replace('.', "::");
        code.push_str(&format!("impl crate::text::Normalize for {path} {{\n"));
        if !fields.is_empty() {
            code.push_str(&format!(
                "    fn normalize(&mut self, at: crate::text::Path<'_>, found: &mut crate::text::Problems) {{\n{fields}    }}\n"
            ));
            if requests.contains(message.full_name()) {
                code.push_str("    const IS_REQUEST: bool = true;\n");
            }
        }
        code.push_str("}\n");
    }
    fs::write(out.join("text_rules.rs"), code)?;
    Ok(())
}

/// The statement that normalizes a field; empty for a field without text.
fn text_rule(kind: &ExtensionDescriptor, field: &FieldDescriptor) -> Result<String, String> {
    let name = field.name();
    let rule = rule_of(kind, field);
    let action = match (&rule, field.kind()) {
        (rule, Kind::Message(inner)) if inner.full_name() == STRUCT => {
            let strings = rule.as_ref().map_or("None".to_owned(), |rule| format!("Some(baton_text::Kind::{rule})"));
            format!("found.apply_to_struct({strings}, value, at)")
        }
        (Some(rule), Kind::String) => format!("found.apply(baton_text::Kind::{rule}, value, at)"),
        (None, Kind::Message(inner)) if has_text(kind, &inner, &mut HashSet::new()) => {
            "crate::text::Normalize::normalize(value, at, found)".to_owned()
        }
        (None, _) => return Ok(String::new()),
        (Some(_), _) => return Err(format!("{} is not a string, so it cannot have a kind of text", field.full_name())),
    };
    if field.is_map() || field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
        return Err(format!("{}: text in maps and oneofs is not normalized yet", field.full_name()));
    }
    Ok(if field.is_list() {
        format!(
            "for (n, value) in self.{name}.iter_mut().enumerate() {{ let at = at.item(\"{name}\", n); {action}; }}\n"
        )
    } else if field.supports_presence() {
        format!("if let Some(value) = &mut self.{name} {{ let at = at.field(\"{name}\"); {action}; }}\n")
    } else {
        format!("{{ let value = &mut self.{name}; let at = at.field(\"{name}\"); {action}; }}\n")
    })
}

/// The field's rule as a variant name of `baton_text::Kind`: `KIND_FILE_NAME` is `FileName`.
fn rule_of(kind: &ExtensionDescriptor, field: &FieldDescriptor) -> Option<String> {
    let options = field.options();
    let Value::EnumNumber(number) = *options.get_extension(kind) else { return None };
    let Kind::Enum(kinds) = kind.kind() else { return None };
    let value = kinds.get_value(number).filter(|_| number != 0)?;
    let words = value.name().split('_').skip(1);
    Some(words.map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect())
}

fn has_text(kind: &ExtensionDescriptor, message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| {
            rule_of(kind, &field).is_some()
                || matches!(field.kind(), Kind::Message(inner) if inner.full_name() == STRUCT || has_text(kind, &inner, seen))
        })
}
