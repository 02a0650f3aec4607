//! The access rule of every RPC, read from the descriptors.

use std::collections::HashMap;

use anyhow::{Context, bail};
use baton_proto::baton::access::v1::{self as proto, Permission, rule::Kind};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ServiceDescriptor};

/// Who may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anyone.
    Public,
    /// Anyone with a valid access token of an open session.
    Authenticated,
    /// Other services only.
    ServiceOnly,
    /// Members whose role holds the permission.
    Permission(Permission),
}

/// The rules of a service's RPCs, by path (`/baton.task.v1.TaskService/GetTask`).
#[derive(Debug, Clone, Default)]
pub struct Rules(HashMap<String, Rule>);

impl Rules {
    /// The rules of these services, by their full names.
    ///
    /// # Errors
    /// When a service is unknown or one of its RPCs has no rule: the process must not start.
    pub fn of(services: &[&str]) -> anyhow::Result<Self> {
        let pool = baton_proto::pool();
        let mut rules = HashMap::new();
        for name in services {
            let service =
                pool.get_service_by_name(name).with_context(|| format!("no service {name} in the contract"))?;
            rules.extend(of_service(pool, &service)?);
        }
        Ok(Self(rules))
    }

    /// The rule of the RPC at this path; `None` for an unknown one, which nobody may call.
    pub fn get(&self, path: &str) -> Option<Rule> {
        // Health and reflection are the platform's own, on every server.
        if path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.v1.ServerReflection/") {
            return Some(Rule::Public);
        }
        self.0.get(path).copied()
    }
}

/// The rules of one service, by path.
///
/// # Errors
/// When one of its RPCs has no rule.
pub fn of_service(pool: &DescriptorPool, service: &ServiceDescriptor) -> anyhow::Result<Vec<(String, Rule)>> {
    let extension = pool.get_extension_by_name("baton.access.v1.rule").context("the contract has no access rules")?;
    service
        .methods()
        .map(|method| {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let options = method.options();
            if !options.has_extension(&extension) {
                bail!("{path} has no access rule; give it `option (baton.access.v1.rule)`");
            }
            let value = options.get_extension(&extension);
            let message: &DynamicMessage = value.as_message().context("the rule is a message")?;
            let rule = proto::Rule::decode(message.encode_to_vec().as_slice())?;
            let rule = match rule.kind {
                Some(Kind::Public(true)) => Rule::Public,
                Some(Kind::Authenticated(true)) => Rule::Authenticated,
                Some(Kind::ServiceOnly(true)) => Rule::ServiceOnly,
                Some(Kind::Permission(number)) => match Permission::try_from(number) {
                    Ok(permission) if permission != Permission::Unspecified => Rule::Permission(permission),
                    _ => bail!("{path} demands an unknown permission"),
                },
                _ => bail!("{path} has an empty access rule"),
            };
            Ok((path, rule))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_contract_has_a_rule() {
        let pool = baton_proto::pool();
        let services = pool.services().filter(|service| service.full_name().starts_with("baton."));
        let rules: Vec<_> = services.flat_map(|service| of_service(pool, &service).unwrap()).collect();
        assert!(rules.len() > 30);
    }

    #[test]
    fn a_service_with_an_rpc_without_rule_does_not_start() {
        let mut files = pool_as_set();
        for file in &mut files.file {
            for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
                method.options = None;
            }
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_set(files).unwrap();
        let service = pool.get_service_by_name("baton.task.v1.TaskService").unwrap();
        assert!(of_service(&pool, &service).unwrap_err().to_string().contains("has no access rule"));
    }

    #[test]
    fn what_is_not_in_the_contract_has_no_rule() {
        let rules = Rules::of(&["baton.auth.v1.AuthService"]).unwrap();
        assert_eq!(rules.get("/baton.auth.v1.AuthService/Login"), Some(Rule::Public));
        assert_eq!(rules.get("/baton.auth.v1.AuthService/CheckSession"), Some(Rule::Authenticated));
        assert_eq!(rules.get("/baton.auth.v1.AuthService/Nonsense"), None);
        assert_eq!(rules.get("/grpc.health.v1.HealthX/Check"), None);
    }

    fn pool_as_set() -> prost_reflect::prost_types::FileDescriptorSet {
        prost_reflect::prost_types::FileDescriptorSet::decode(baton_proto::DESCRIPTORS).unwrap()
    }
}
