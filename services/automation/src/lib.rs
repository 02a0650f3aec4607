#![doc = include_str!("../README.md")]

mod application;
mod backtest;
mod clients;
mod config;
mod convert;
mod events;
mod execution;
mod plan;
mod reminder;
mod rpc;
mod rule;
mod state_timer;
mod store;
mod webhook;

use std::time::Duration;

use anyhow::Context as _;
use baton_clients::{Auth, Delegations, Notifications};
use baton_outbound::{Client, OutboundConfig};
use baton_proto::baton::automation::v1::{
    automation_service_server::AutomationServiceServer, execution_service_server::ExecutionServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_sealing::Sealer;
use baton_service::{Service, Spec};
use tokio::net::TcpListener;

use crate::{
    application::{
        backfill, deletion, dispatch, pausing,
        run::Runner,
        selection, timers,
        webhooks::{self, Sender},
    },
    clients::{memberships::Memberships, task::TaskClient},
};

pub use config::AutomationConfig;

/// The service.
pub static SPEC: Spec = Spec {
    peers: &["auth", "tenancy", "task", "notification"],
    has_service_secret: true,
    generated_keys: &[("BATON_AUTOMATION_SEALING_KEYS", "first:")],
    ..Spec::new(
        convert::event::SERVICE,
        50056,
        &sqlx::migrate!("../../migrations/automation"),
        include_str!("../../../migrations/automation/personal_data.toml"),
    )
};

/// Its settings: those that all services share, its own, and those of calls to URLs that customers name.
pub type Config = baton_service::Config<(AutomationConfig, OutboundConfig)>;

/// Interval at which executions are looked for that no worker ends.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(600);

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock, shutdown)?;
    let (own, outbound) = config.own;
    let sealer = Sealer::new(&own.sealing_keys).context("BATON_AUTOMATION_SEALING_KEYS")?;
    let client = Client::new(&outbound)?;
    let tokens = service.service_tokens()?;
    let tasks = TaskClient::new(service.peer("task")?, service.peer("tenancy")?);
    let delegations = Delegations::new(service.peer("auth")?, tokens.clone(), SPEC.name);
    let notifications = Notifications::new(service.peer("notification")?, tokens.clone());
    let rpc = rpc::Rpc {
        db: service.db(),
        tasks: tasks.clone(),
        delegations: delegations.clone(),
        auth: Auth::new(service.peer("auth")?),
        tokens: tokens.clone(),
        sealer: sealer.clone(),
        allowed_networks: client.allowed_networks().clone(),
        backtests: rpc::Backtests::default(),
    };
    let released = delegations.clone();
    let memberships = Memberships::new(service.tenancy()?, tokens.clone());
    let runner = Runner { db: service.db(), tasks, delegations, notifications: notifications.clone(), memberships };
    let (tenancy, abandoned) = (service.tenancy()?, runner.clone());
    let (enrolling, selecting) = (runner.clone(), runner.clone());
    let sender = Sender::new(runner.clone(), client, sealer);
    let abandoned_messages = sender.clone();
    let service = service.rpc(AutomationServiceServer::new(rpc.clone())).rpc(ExecutionServiceServer::new(rpc));
    let service = service
        .job(dispatch::RUN, move |_, job| {
            let runner = runner.clone();
            async move { Ok(runner.run(job.payload()?).await?) }
        })
        .job(pausing::RELEASE, move |_, job| {
            let delegations = released.clone();
            async move {
                let pausing::Unneeded { delegation_ids } = job.payload()?;
                Ok(delegations.release(&delegation_ids).await?)
            }
        })
        .job(backfill::BACKFILL, move |_, job| {
            let runner = enrolling.clone();
            async move { Ok(backfill::run(&runner, job.payload()?).await?) }
        })
        .job(webhooks::SEND, move |_, job| {
            let sender = sender.clone();
            async move { Ok(sender.send(job.payload()?).await?) }
        })
        .job(selection::SELECT, move |_, job| {
            let runner = selecting.clone();
            async move { Ok(selection::run(&runner, job.payload()?).await?) }
        })
        .job(deletion::TASK_CLOSED, |db, job| async move { Ok(deletion::task_closed(&db, job.payload()?).await?) })
        .job(deletion::CLEAR, |db, job| async move { Ok(deletion::clear(&db, job.payload()?).await?) })
        .every("automation.timers", baton_store::timers::POLL_INTERVAL, timers::poll)
        .every("automation.abandoned", ABANDONED_INTERVAL, move |_| {
            let (runner, sender) = (abandoned.clone(), abandoned_messages.clone());
            async move {
                runner.end_abandoned().await?;
                sender.end_abandoned().await
            }
        })
        .job(pausing::TELL, move |db, job| {
            let (tenancy, notifications, tokens) = (tenancy.clone(), notifications.clone(), tokens.clone());
            async move { Ok(pausing::tell(&db, &tenancy, (&notifications, &tokens), job.payload()?).await?) }
        });
    service.consume(events::consume::Handler::default()).serve(listener).await
}
