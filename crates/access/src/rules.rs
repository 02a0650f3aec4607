//! The access rule of every RPC, read from the descriptors.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail};
use baton_proto::baton::access::v1::{self as proto, FreshProof, Permission, rule::Kind};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, ServiceDescriptor,
    prost_types::method_options::IdempotencyLevel,
};

use crate::KeyScope;

/// The access rule of an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anyone.
    Public,
    /// Anyone with a valid access token of an open session.
    Authenticated,
    /// Other services only.
    ServiceOnly,
    /// Owners and super managers of the account that operates the installation, with a second factor.
    Operator,
    /// Members whose role has the permission.
    Permission(Permission),
}

/// The rules of a service's RPCs, by path (`/baton.task.v1.TaskService/GetTask`).
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: HashMap<String, Rule>,
    while_suspended: HashSet<String>,
    while_restricted: HashSet<String>,
    look_ups: HashSet<String>,
    key_scopes: HashMap<String, KeyScope>,
    fresh_proofs: HashMap<String, FreshProof>,
}

impl Rules {
    /// The rules of these services, by their full names.
    ///
    /// # Errors
    /// If a service is unknown or one of its RPCs has no rule; then the process must not start.
    pub fn of(services: &[&str]) -> anyhow::Result<Self> {
        let pool = baton_proto::pool();
        let (mut rules, mut key_scopes) = (HashMap::new(), HashMap::new());
        let (mut while_suspended, mut while_restricted) = (HashSet::new(), HashSet::new());
        let (mut fresh_proofs, mut look_ups) = (HashMap::new(), HashSet::new());
        for name in services {
            let service =
                pool.get_service_by_name(name).with_context(|| format!("no service {name} in the contract"))?;
            rules.extend(of_service(pool, &service)?);
            while_suspended.extend(flagged(pool, &service, "while_suspended")?);
            while_restricted.extend(flagged(pool, &service, "while_restricted")?);
            look_ups.extend(look_ups_of(pool, &service)?);
            while_restricted.extend(reading(pool, &service)?);
            key_scopes.extend(scopes_of_keys(pool, &service)?);
            fresh_proofs.extend(proofs(pool, &service)?);
        }
        Ok(Self { rules, while_suspended, while_restricted, look_ups, key_scopes, fresh_proofs })
    }

    /// The rules of all services of a package (`baton.task.v1`).
    ///
    /// # Errors
    /// Those of [`Rules::of`].
    pub fn of_package(package: &str) -> anyhow::Result<Self> {
        let services = baton_proto::pool().services();
        let services = services.filter(|service| service.parent_file().package_name() == package);
        let names: Vec<String> = services.map(|service| service.full_name().to_owned()).collect();
        Self::of(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The proof of identity that the RPC at this path needs besides the token.
    pub fn fresh_proof(&self, path: &str) -> FreshProof {
        self.fresh_proofs.get(path).copied().unwrap_or_default()
    }

    /// The scope that the RPC at this path requires of an API key.
    pub fn key_scope(&self, path: &str) -> &KeyScope {
        self.key_scopes.get(path).unwrap_or(&KeyScope::SessionOnly)
    }

    /// Whether the RPC at this path is open in a suspended account.
    pub fn is_open_while_suspended(&self, path: &str) -> bool {
        self.while_suspended.contains(path)
    }

    /// Whether a caller may call the RPC at this path while the processing of their data is restricted: it reads, or
    /// belongs to their rights.
    pub fn is_open_while_restricted(&self, path: &str) -> bool {
        self.while_restricted.contains(path)
    }

    /// Whether a delegated token for another service opens the RPC at this path.
    pub fn is_look_up(&self, path: &str) -> bool {
        self.look_ups.contains(path)
    }

    /// The rule of the RPC at this path; `None` for an unknown path, which nobody may call.
    pub fn get(&self, path: &str) -> Option<Rule> {
        // Every server has health and reflection, which are not in the contract.
        if path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.") {
            return Some(Rule::Public);
        }
        self.rules.get(path).copied()
    }
}

/// The paths of a service's RPCs whose rule sets this flag.
fn flagged(pool: &DescriptorPool, service: &ServiceDescriptor, flag: &str) -> anyhow::Result<Vec<String>> {
    let extension = pool.get_extension_by_name("baton.access.v1.rule").context("the contract has no access rules")?;
    let open = |method: &MethodDescriptor| {
        let options = method.options();
        let value = options.get_extension(&extension);
        let rule = value.as_message()?;
        rule.get_field_by_name(flag)?.as_bool()
    };
    let methods = service.methods().filter(|method| open(method) == Some(true));
    Ok(methods.map(|method| format!("/{}/{}", service.full_name(), method.name())).collect())
}

/// The paths of a service's look-ups, which change nothing and need no session.
fn look_ups_of(pool: &DescriptorPool, service: &ServiceDescriptor) -> anyhow::Result<Vec<String>> {
    let look_ups = flagged(pool, service, "look_up")?;
    let reading = reading(pool, service)?;
    let scopes: HashMap<_, _> = scopes_of_keys(pool, service)?.into_iter().collect();
    for path in &look_ups {
        if !reading.contains(path) || scopes.get(path) == Some(&KeyScope::SessionOnly) {
            bail!("{path} is no look-up: it changes something, or needs a session");
        }
    }
    Ok(look_ups)
}

/// The paths of a service's RPCs that change nothing: a GET, or one whose idempotency level says so.
fn reading(pool: &DescriptorPool, service: &ServiceDescriptor) -> anyhow::Result<Vec<String>> {
    let http = pool.get_extension_by_name("google.api.http").context("the contract lacks google.api.http")?;
    let methods = service.methods().filter(|method| reads(method, &http));
    Ok(methods.map(|method| format!("/{}/{}", service.full_name(), method.name())).collect())
}

fn reads(method: &MethodDescriptor, http: &ExtensionDescriptor) -> bool {
    let options = method.options();
    let http = options.get_extension(http);
    let get = http.as_message().and_then(|http| http.get_field_by_name("get"));
    let idempotency = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
    get.is_some_and(|path| path.as_str().is_some_and(|path| !path.is_empty()))
        || idempotency == Some(IdempotencyLevel::NoSideEffects)
}

/// The proofs of identity that a service's RPCs need, by path.
fn proofs(pool: &DescriptorPool, service: &ServiceDescriptor) -> anyhow::Result<Vec<(String, FreshProof)>> {
    let extension = pool.get_extension_by_name("baton.access.v1.rule").context("the contract has no access rules")?;
    let proofs = of_service(pool, service)?.into_iter().zip(service.methods()).map(|((path, rule), method)| {
        let options = method.options();
        let value = options.get_extension(&extension);
        let number = value.as_message().and_then(|rule| rule.get_field_by_name("fresh_proof")?.as_enum_number());
        let proof = FreshProof::try_from(number.unwrap_or_default());
        let proof = proof.with_context(|| format!("{path} takes an unknown proof of identity"))?;
        if proof != FreshProof::Unspecified && matches!(rule, Rule::Public | Rule::ServiceOnly) {
            bail!("{path} takes a proof of identity, and nobody's identity");
        }
        Ok((path, proof))
    });
    proofs.collect()
}

/// The scopes that a service's RPCs require of API keys, by path.
fn scopes_of_keys(pool: &DescriptorPool, service: &ServiceDescriptor) -> anyhow::Result<Vec<(String, KeyScope)>> {
    let extension = pool.get_extension_by_name("baton.access.v1.rule").context("the contract has no access rules")?;
    let http = pool.get_extension_by_name("google.api.http").context("the contract lacks google.api.http")?;
    let proofs: HashMap<_, _> = proofs(pool, service)?.into_iter().collect();
    let scopes = of_service(pool, service)?.into_iter().zip(service.methods()).map(|((path, rule), method)| {
        let options = method.options();
        let reads = reads(&method, &http);
        let own = options.get_extension(&extension);
        let own = own.as_message().and_then(|rule| rule.get_field_by_name("key_scope"));
        let own = own.as_deref().and_then(|scope| scope.as_str()).unwrap_or_default().to_owned();
        let always = proofs.get(&path) == Some(&FreshProof::Always);
        let scope = match rule {
            _ if always && !own.is_empty() => {
                bail!("{path} has a key_scope, and a key never proves anybody's identity")
            }
            _ if always => KeyScope::SessionOnly,
            Rule::Permission(permission) if own.is_empty() => KeyScope::of_permission(permission, reads),
            Rule::Authenticated => {
                KeyScope::of_rule(&own).with_context(|| format!("{path} asks for an unknown scope, {own}"))?
            }
            _ if !own.is_empty() => bail!("{path} has a key_scope, which only an `authenticated` RPC takes"),
            _ => KeyScope::SessionOnly,
        };
        Ok((path, scope))
    });
    scopes.collect()
}

/// The rules of a service, by path.
///
/// # Errors
/// If one of its RPCs has no rule.
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
                Some(Kind::Operator(true)) => Rule::Operator,
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
    fn service_with_an_rpc_without_rule_is_refused() {
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
    fn suspended_account_can_only_be_read_and_reactivated() {
        let rules = Rules::of(&["baton.tenancy.v1.AccountService", "baton.tenancy.v1.MemberService"]).unwrap();
        let open = |rpc: &str| rules.is_open_while_suspended(&format!("/baton.tenancy.v1.{rpc}"));
        for rpc in ["GetAccount", "GetSettings", "ReactivateAccount", "CancelDeletion"] {
            assert!(open(&format!("AccountService/{rpc}")), "{rpc}");
        }
        for rpc in ["AccountService/UpdateAccount", "AccountService/DeleteAccount", "MemberService/InviteMember"] {
            assert!(!open(rpc), "{rpc}");
        }
    }

    #[test]
    fn key_scope_follows_from_permission_and_verb() {
        let rules = Rules::of(&["baton.task.v1.TaskService", "baton.auth.v1.AuthService"]).unwrap();
        let needs = |scope: &str| KeyScope::Needs(scope.to_owned());
        assert_eq!(rules.key_scope("/baton.task.v1.TaskService/ListTasks"), &needs("tasks:read"));
        assert_eq!(rules.key_scope("/baton.task.v1.TaskService/CreateTask"), &needs("tasks:write"));
        assert_eq!(rules.key_scope("/baton.auth.v1.AuthService/CheckSession"), &KeyScope::Any);
        assert_eq!(rules.key_scope("/baton.auth.v1.AuthService/Nonsense"), &KeyScope::SessionOnly);
    }

    #[test]
    fn api_keys_cannot_sign_in_or_create_keys() {
        let pool = baton_proto::pool();
        let services = pool.services().filter(|service| service.full_name().starts_with("baton.auth."));
        let open: Vec<_> = services.flat_map(|service| scopes_of_keys(pool, &service).unwrap()).collect();
        let open = open.iter().filter(|(_, scope)| *scope != KeyScope::SessionOnly).map(|(path, _)| path.as_str());
        // CreateDelegation needs a scope that no key has.
        let allowed = ["AuthService/CheckSession", "DelegationService/CreateDelegation", "UserService/GetMe"];
        let allowed = allowed.map(|rpc| format!("/baton.auth.v1.{rpc}"));
        assert_eq!(open.collect::<Vec<_>>(), allowed);
    }

    /// RPCs that cannot be undone, transfer an account, or change the sign-in. A new RPC of this kind needs a line here
    /// and in the contract.
    #[test]
    fn critical_rpcs_require_a_fresh_proof() {
        use FreshProof::{Always, Conditional, InRequest};
        let expected = [
            ("baton.auth.v1.ApiKeyService/CreateApiKey", InRequest),
            ("baton.auth.v1.ApiKeyService/DeleteApiKey", Always),
            ("baton.auth.v1.EmailService/ChangeEmail", InRequest),
            ("baton.auth.v1.IdentityService/LinkIdentity", InRequest),
            ("baton.auth.v1.IdentityService/UnlinkIdentity", Always),
            ("baton.auth.v1.MfaService/ConfirmTotp", InRequest),
            ("baton.auth.v1.MfaService/DisableTotp", InRequest),
            ("baton.auth.v1.MfaService/EnrollTotp", InRequest),
            ("baton.auth.v1.MfaService/RenewRecoveryCodes", InRequest),
            ("baton.auth.v1.PasswordService/ChangePassword", InRequest),
            ("baton.auth.v1.SessionService/Reauthenticate", InRequest),
            ("baton.auth.v1.UserService/Deactivate", InRequest),
            ("baton.privacy.v1.ErasureService/RequestErasure", InRequest),
            ("baton.privacy.v1.MemberPrivacyService/DownloadMemberExport", Always),
            ("baton.privacy.v1.MemberPrivacyService/RequestMemberPrivacy", Always),
            ("baton.privacy.v1.PrivacyService/DownloadDataExport", Always),
            ("baton.tenancy.v1.AccountService/DeleteAccount", Always),
            ("baton.tenancy.v1.AccountService/SuspendAccount", Always),
            ("baton.tenancy.v1.AccountService/TransferOwnership", Always),
            ("baton.tenancy.v1.AccountService/UpdateSettings", Conditional),
            ("baton.tenancy.v1.DpaService/AcceptDpa", Always),
            ("baton.tenancy.v1.MemberService/InviteMember", Conditional),
            ("baton.tenancy.v1.MemberService/InviteMembers", Conditional),
            ("baton.tenancy.v1.MemberService/LeaveAccount", Always),
            ("baton.tenancy.v1.MemberService/RemoveMember", Conditional),
            ("baton.tenancy.v1.MemberService/UpdateMember", Conditional),
        ];
        let pool = baton_proto::pool();
        let services = pool.services().filter(|service| service.full_name().starts_with("baton."));
        let found: Vec<_> = services.flat_map(|service| proofs(pool, &service).unwrap()).collect();
        let mut found: Vec<_> = found
            .iter()
            .filter(|(_, proof)| *proof != FreshProof::Unspecified)
            .map(|(path, proof)| (path.trim_start_matches('/'), *proof))
            .collect();
        found.sort_unstable_by_key(|(path, _)| *path);
        assert_eq!(found, expected);
    }

    #[test]
    fn rpc_with_a_fresh_proof_refuses_api_keys() {
        let rules = Rules::of(&["baton.tenancy.v1.MemberService"]).unwrap();
        assert_eq!(rules.key_scope("/baton.tenancy.v1.MemberService/LeaveAccount"), &KeyScope::SessionOnly);
    }

    #[test]
    fn unknown_path_has_no_rule() {
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
