//! `docs/permissions.md` is generated from the descriptors and the tables of `crates/access`.
//!
//! `BATON_BLESS=1 cargo nextest run -p baton permissions` regenerates it.

use std::{fmt::Write as _, fs, path::Path};

use baton_access::{
    KeyScope, Role, Rule, Rules, matrix,
    relation_policy::{self, Grant, Relation},
};
use baton_proto::{baton::access::v1::FreshProof, pool};

const PAGE: &str = "docs/permissions.md";

/// The relation tables, with title and description.
const RELATION_TABLES: [(&str, &str, &[Grant]); 4] = [
    ("Tasks", "To whom the caller may assign tasks.", relation_policy::TASKS),
    ("Boards", "Whose boards the caller may read.", relation_policy::BOARDS),
    ("Memberships", "Whose memberships the caller may describe and explain.", relation_policy::MEMBERSHIPS),
    ("Activity", "Whose actions the caller may read in the activity log.", relation_policy::ACTIVITY),
];

/// RPCs with a target user, and the relation table that applies.
const TARGET_USER_RPCS: [(&str, &str); 7] = [
    ("/baton.task.v1.TaskService/CreateTask", "Tasks"),
    ("/baton.task.v1.TaskService/AssignTask", "Tasks"),
    ("/baton.task.v1.TaskService/ReassignTask", "Tasks"),
    ("/baton.task.v1.BoardService/GetUserBoard", "Boards"),
    ("/baton.task.v1.AccessService/Explain", "Memberships"),
    ("/baton.tenancy.v1.MemberService/DescribeMembership", "Memberships"),
    ("/baton.tenancy.v1.ActivityService/ListUserActivityLogs", "Activity"),
];

const INTRODUCTION: &str = "# Permissions

Generated from the contract and from the tables of `crates/access` by `crates/baton/tests/it/permissions.rs`, which
fails if this page is outdated; `BATON_BLESS=1 cargo nextest run -p baton permissions` regenerates it.

Three things decide about a call: the **rule** of the RPC (below), the caller's **role** in the account that the call
names, and, if the call concerns a user or a resource of a user, the caller's **relation** to that user. In an account
of which the caller is not a member, every call is NOT_A_MEMBER, whether or not the account exists, and a resource of
another account is not found.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    permissions(&mut page);
    relations(&mut page);
    services(&mut page);
    page
}

fn permissions(page: &mut String) {
    page.push_str("\n## Roles and permissions\n\n| permission | user | manager | super manager | owner |\n|---|---|---|---|---|\n");
    for (_, permission) in matrix::MATRIX {
        let held = Role::ALL.map(|role| if matrix::holds(role, *permission) { "yes" } else { "–" });
        writeln!(page, "| {} | {} |", short(permission.as_str_name()), held.join(" | ")).unwrap();
    }
}

fn relations(page: &mut String) {
    page.push_str(
        "\n## Relations\n\nThe relation of a caller to a user is *own* (the same user), *report* (the user reports to the \
         caller, directly or\nindirectly) or *other*. A cell names the roles of the users on whom the caller may act.\n",
    );
    for (name, about, table) in RELATION_TABLES {
        write!(page, "\n### {name}\n\n{about}\n\n| caller | own | report | other |\n|---|---|---|---|\n").unwrap();
        for role in Role::ALL {
            let cells =
                [Relation::Own, Relation::Report, Relation::Other].map(|relation| allowed_roles(table, role, relation));
            writeln!(page, "| {} | {} |", role.name(), cells.join(" | ")).unwrap();
        }
    }
}

/// The roles that `role` may act on for this relation.
fn allowed_roles(table: &[Grant], role: Role, relation: Relation) -> String {
    let of: Vec<Role> =
        Role::ALL.into_iter().filter(|&of| relation_policy::allows(table, role, of, relation)).collect();
    match of.len() {
        0 => "–".to_owned(),
        4 => "yes".to_owned(),
        _ => of.into_iter().map(|role| format!("{}s", role.name())).collect::<Vec<_>>().join(", "),
    }
}

fn services(page: &mut String) {
    page.push_str(
        "\n## RPCs\n\nRoles: *yes* if the role has the permission; the domain then decides about the resource, by the \
         relation if the last\ncolumn names one. Keys: the scope that an API key needs; a session needs none. \
         Proof: what the call requires beside the token.\n*fresh* is a sign-in or Reauthenticate within the last 15 \
         minutes in the same session, *sometimes* the same for some\nrequests (listed in the comment of the RPC), and \
         *request* a password or code in the request.\n",
    );
    let services = pool().services().filter(|service| service.full_name().starts_with("baton."));
    for service in services {
        let rules = Rules::of(&[service.full_name()]).unwrap();
        write!(
            page,
            "\n### {}\n\n| RPC | REST | rule | user | manager | super manager | owner | keys | proof | relation |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
            service.full_name()
        )
        .unwrap();
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let rule = rules.get(&path).unwrap();
            let (name, roles) = match rule {
                Rule::Public => ("anyone".to_owned(), ["yes"; 4]),
                Rule::Authenticated => ("signed in".to_owned(), ["yes"; 4]),
                Rule::ServiceOnly => ("services".to_owned(), ["–"; 4]),
                Rule::Operator => ("operators".to_owned(), ["–"; 4]),
                Rule::Permission(permission) => {
                    let held = Role::ALL.map(|role| if matrix::holds(role, permission) { "yes" } else { "–" });
                    (short(permission.as_str_name()), held)
                }
            };
            let keys = match rules.key_scope(&path) {
                _ if rule == Rule::Public => "–".to_owned(),
                KeyScope::SessionOnly => "–".to_owned(),
                KeyScope::Any => "any".to_owned(),
                KeyScope::Needs(scope) => format!("`{scope}`"),
            };
            let proof = match rules.fresh_proof(&path) {
                FreshProof::Unspecified => "",
                FreshProof::Always => "fresh",
                FreshProof::Conditional => "sometimes",
                FreshProof::InRequest => "request",
            };
            let relation = TARGET_USER_RPCS.iter().find(|(rpc, _)| *rpc == path).map_or("", |(_, table)| *table);
            let rest = rest(&method).unwrap_or_default();
            let (rpc, roles) = (method.name(), roles.join(" | "));
            writeln!(page, "| {rpc} | {rest} | {name} | {roles} | {keys} | {proof} | {relation} |").unwrap();
        }
    }
}

fn short(permission: &str) -> String {
    permission.trim_start_matches("PERMISSION_").to_ascii_lowercase()
}

fn rest(method: &prost_reflect::MethodDescriptor) -> Option<String> {
    let http = pool().get_extension_by_name("google.api.http").unwrap();
    let options = method.options();
    let http = options.get_extension(&http);
    let http = http.as_message()?;
    ["get", "put", "post", "delete", "patch"].into_iter().find_map(|verb| {
        let path = http.get_field_by_name(verb)?.as_str()?.to_owned();
        (!path.is_empty()).then(|| format!("`{} {path}`", verb.to_ascii_uppercase()))
    })
}

#[test]
fn permissions_page_matches_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = page();
    if std::env::var_os("BATON_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    assert!(written == page, "{PAGE} is outdated (first difference: {differs:?}); BATON_BLESS=1 regenerates it");
}

#[test]
fn every_rpc_with_a_relation_exists_in_the_contract() {
    let page = page();
    for (rpc, table) in TARGET_USER_RPCS {
        let (_, name) = rpc.rsplit_once('/').unwrap();
        assert!(
            page.lines()
                .any(|line| line.starts_with(&format!("| {name} |")) && line.ends_with(&format!("| {table} |"))),
            "{rpc}"
        );
    }
}
