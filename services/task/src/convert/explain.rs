//! Explanations of access in the contract.

use baton_proto::baton::task::v1 as proto;

use crate::policy::explain::{AccessRelation, AccessRule};

/// The rule in the contract.
pub(crate) fn to_rule(rule: AccessRule) -> proto::AccessRule {
    match rule {
        AccessRule::Role => proto::AccessRule::Role,
        AccessRule::OwnTask => proto::AccessRule::OwnTask,
        AccessRule::TaskOfReport => proto::AccessRule::TaskOfReport,
        AccessRule::WholeAccount => proto::AccessRule::WholeAccount,
        AccessRule::VisibleToTeam => proto::AccessRule::VisibleToTeam,
        AccessRule::VisibleToAccount => proto::AccessRule::VisibleToAccount,
        AccessRule::TaskNotVisible => proto::AccessRule::TaskNotVisible,
        AccessRule::TaskOfAnother => proto::AccessRule::TaskOfAnother,
        AccessRule::NoReassigning => proto::AccessRule::NoReassigning,
        AccessRule::HeldByAnother => proto::AccessRule::HeldByAnother,
        AccessRule::HeldByNobody => proto::AccessRule::HeldByNobody,
    }
}

/// The relation in the contract.
pub(crate) fn to_relation(relation: AccessRelation) -> proto::AccessRelation {
    match relation {
        AccessRelation::Own => proto::AccessRelation::Own,
        AccessRelation::Report => proto::AccessRelation::Report,
        AccessRelation::Other => proto::AccessRelation::Other,
        AccessRelation::None => proto::AccessRelation::None,
    }
}
