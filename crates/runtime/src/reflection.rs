//! gRPC reflection: serves the contract, in version 1 and in the older v1alpha that many clients still use.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use baton_proto::pool;
use prost_reflect::FileDescriptor;
use tonic_reflection::server::{
    Builder,
    v1::{ServerReflection as V1, ServerReflectionServer as V1Server},
    v1alpha::{ServerReflection as V1Alpha, ServerReflectionServer as V1AlphaServer},
};

/// Reflection version 1 of these services, by their full names, and of health.
///
/// # Errors
/// If the descriptors do not decode.
pub fn v1(services: &[String]) -> Result<V1Server<impl V1 + use<>>> {
    Ok(builder(services, "grpc.reflection.v1.ServerReflection").build_v1()?)
}

/// Reflection v1alpha of these services, by their full names, and of health.
///
/// # Errors
/// If the descriptors do not decode.
pub fn v1alpha(services: &[String]) -> Result<V1AlphaServer<impl V1Alpha + use<>>> {
    Ok(builder(services, "grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?)
}

fn builder(services: &[String], reflection: &str) -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(kept_files_of(services))
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health")
        .with_service_name(reflection);
    services.iter().fold(builder, |builder, service| builder.with_service_name(service))
}

/// The descriptors of [`files_of`], leaked for the life of the process because tonic-reflection's service borrows them.
/// A process serves few different sets.
fn kept_files_of(services: &[String]) -> &'static [u8] {
    static KEPT: Mutex<BTreeMap<Vec<String>, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.entry(services.to_vec()).or_insert_with(|| files_of(services).leak())
}

/// An encoded `FileDescriptorSet` without the files that declare other services.
fn files_of(services: &[String]) -> Vec<u8> {
    let is_shown = |file: &FileDescriptor| {
        file.services().len() == 0
            || file.services().any(|declared| services.iter().any(|service| service == declared.full_name()))
    };
    let files: Vec<Vec<u8>> = pool().files().filter(is_shown).map(|file| file.encode_to_vec()).collect();
    let mut set = Vec::new();
    prost::encoding::bytes::encode_repeated(1, &files, &mut set);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_services_are_excluded() {
        let shown = files_of(&["baton.task.v1.TaskService".to_owned()]);
        let set = prost_reflect::DescriptorPool::decode(shown.as_slice()).unwrap();
        assert!(set.get_service_by_name("baton.task.v1.TaskService").is_some());
        assert!(set.get_service_by_name("baton.auth.v1.InternalService").is_none());
        let permission = set.get_extension_by_name("baton.access.v1.rule");
        assert!(permission.is_some(), "options stay");
    }
}
