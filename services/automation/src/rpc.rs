//! The gRPC methods: parse, begin, call, commit, reply.

mod automation;
mod backtest;
mod catalogue;
mod execution;
mod preview;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_access::{Credential, Principal, matrix, scopes};
use baton_clients::{Auth, Delegations, ServiceTokens};
use baton_errors::{Error, Reason, Result};
use baton_outbound::AllowedNetworks;
use baton_proto::baton::access::v1::Permission;
use baton_sealing::Sealer;
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{clients::task::TaskClient, rule::Actor, store};

/// The service of tasks.
const AUDIENCE: &str = "task";
/// Interval at which a call looks whether actions are still under way.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Accounts whose backtests run in this process.
pub(crate) type Backtests = Arc<Mutex<HashSet<Uuid>>>;

/// Dependencies of the RPC methods. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) tasks: TaskClient,
    pub(crate) delegations: Delegations,
    pub(crate) auth: Auth,
    pub(crate) tokens: ServiceTokens,
    /// Seals the secrets that sign webhooks.
    pub(crate) sealer: Sealer,
    /// Networks that webhooks may call besides public addresses.
    pub(crate) allowed_networks: AllowedNetworks,
    /// Accounts whose backtests run: they read much.
    pub(crate) backtests: Backtests,
}

impl Rpc {
    /// Waits until no action of a disabled rule is under way: at most 20 seconds, after a worker that has died.
    async fn wait_for_actions(&self, account_id: Uuid, rule_id: Uuid) -> Result<()> {
        loop {
            let mut tx = self.db.begin_read(Tenant::account(account_id)).await?;
            let acting = store::execution::is_acting(&mut tx, rule_id).await?;
            drop(tx);
            if !acting {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn actor(principal: &Principal) -> Actor {
    Actor { user_id: principal.user_id(), manages: matrix::holds(principal.role(), Permission::ManageAutomations) }
}

/// Requires of an API key, or of a service that acts for the caller, the scope of what the rule will do with their rights.
fn require_task_rights(principal: &Principal) -> Result<()> {
    const SCOPE: &str = "tasks:write";
    let scopes = match &principal.caller.credential {
        Credential::Session => return Ok(()),
        Credential::ApiKey(key) => &key.scopes,
        Credential::Delegated(held) => &held.scopes,
    };
    let holds = scopes::holds(scopes, SCOPE);
    holds.then_some(()).ok_or_else(|| Error::from(Reason::ScopeMissing).with("scope", SCOPE))
}

fn rule_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Error::from(Reason::AutomationNotFound))
}
