#![doc = include_str!("../README.md")]

mod application;
mod clients;
mod convert;
mod events;
mod execution;
mod plan;
mod rpc;
mod rule;
mod state_timer;
mod store;

use std::time::Duration;

use baton_clients::{Delegations, Notifications};
use baton_proto::baton::automation::v1::{
    automation_service_server::AutomationServiceServer, execution_service_server::ExecutionServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use tokio::net::TcpListener;

use crate::{
    application::{backfill, deletion, dispatch, pausing, run::Runner, timers},
    clients::task::TaskClient,
};

/// The service.
pub static SPEC: Spec = Spec {
    peers: &["auth", "tenancy", "task", "notification"],
    has_service_secret: true,
    ..Spec::new(
        convert::event::SERVICE,
        50056,
        &sqlx::migrate!("../../migrations/automation"),
        include_str!("../../../migrations/automation/personal_data.toml"),
    )
};

/// Its settings: those that all services share.
pub type Config = baton_service::Config<()>;

/// Interval at which executions are looked for that no worker ends.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(600);

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock, shutdown)?;
    let tokens = service.service_tokens()?;
    let tasks = TaskClient::new(service.peer("task")?, service.peer("tenancy")?);
    let delegations = Delegations::new(service.peer("auth")?, tokens.clone(), SPEC.name);
    let notifications = Notifications::new(service.peer("notification")?, tokens.clone());
    let rpc = rpc::Rpc { db: service.db(), tasks: tasks.clone(), delegations: delegations.clone() };
    let released = delegations.clone();
    let runner = Runner { db: service.db(), tasks, delegations, notifications: notifications.clone() };
    let (tenancy, abandoned, enrolling) = (service.tenancy()?, runner.clone(), runner.clone());
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
        .job(deletion::CLEAR, |db, job| async move { Ok(deletion::clear(&db, job.payload()?).await?) })
        .every("automation.timers", baton_store::timers::POLL_INTERVAL, timers::poll)
        .every("automation.abandoned", ABANDONED_INTERVAL, move |_| {
            let runner = abandoned.clone();
            async move { runner.end_abandoned().await }
        })
        .job(pausing::TELL, move |db, job| {
            let (tenancy, notifications, tokens) = (tenancy.clone(), notifications.clone(), tokens.clone());
            async move { Ok(pausing::tell(&db, &tenancy, (&notifications, &tokens), job.payload()?).await?) }
        });
    service.consume(events::consume::Handler::default()).serve(listener).await
}
