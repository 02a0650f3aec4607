//! Generates messages, clients, servers and validators from `baton/**/*.proto`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use prost_reflect::DescriptorPool;

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
        // Decoding a request checks its `buf.validate` rules: no handler can forget to.
        .codec_path("crate::codec::ValidatingCodec")
        .include_file("packages.rs")
        .compile_with_config(config, &protos, &[PathBuf::from(".")])?;
    println!("cargo:rerun-if-changed=baton");

    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_path(&descriptors)?
        // No rule may be skipped silently: one that needs CEL at run time breaks the build.
        .fail_on_runtime_only(true)
        .compile()?;
    implement_the_rest(&out, &descriptors)
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

/// Messages without rules get no `Validate` from the generator; the codec wants one of each.
fn implement_the_rest(out: &Path, descriptors: &Path) -> Result<(), Box<dyn std::error::Error>> {
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
