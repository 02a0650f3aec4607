//! What happened in an account is in its log, for whom it concerns, and for good.

mod export;
mod figures;
mod keeping;
mod reading;

use baton_events::{Streams, relay};
use baton_proto::baton::{
    task::v1::TaskEvent,
    tenancy::v1::{
        ActivityLog, ListActivityLogsRequest, ListActivityLogsResponse, activity_service_client::ActivityServiceClient,
    },
};
use baton_runtime::{Origin, Secret};
use baton_store::{Db, Event, Tenant};
use baton_tenancy::{MIGRATIONS, SCHEMA};
use baton_testkit::{Person, Team, TestContext, eventually};
use sqlx::migrate::Migrator;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;

/// A team, and a task service to play.
struct Stage {
    world: TestContext,
    team: Team,
    task: Db,
    streams: Streams,
}

impl Stage {
    async fn set() -> Self {
        let world = TestContext::start(&[(SCHEMA, &MIGRATIONS), ("task", &PLATFORM_ONLY)]).await;
        let streams = Streams::open(&Secret::new(world.redis_url())).unwrap();
        let task = world.db("task");
        tokio::spawn(relay::run(task.clone(), streams.clone(), world.shutdown().clone()));
        let team = world.team().await;
        Self { world, team, task, streams }
    }

    fn client(&self) -> ActivityServiceClient<Channel> {
        ActivityServiceClient::new(self.world.tenancy())
    }

    /// Something happens to a task, by somebody of the team who calls from here.
    async fn happens(&self, actor: &Person, kind: &'static str, task_id: Uuid, origin: Origin) {
        let tenant = Tenant { account_id: self.team.account_id, user_id: actor.user_id };
        let payload = TaskEvent { task_id: task_id.to_string(), ..TaskEvent::default() };
        let event = Event::new(kind, tenant.account_id, task_id, &payload);
        origin
            .scope(async {
                let mut tx = self.task.begin(tenant).await.unwrap();
                tx.publish(event).await.unwrap();
                tx.commit().await.unwrap();
            })
            .await;
    }

    async fn list(
        &self,
        person: &Person,
        request: ListActivityLogsRequest,
    ) -> Result<ListActivityLogsResponse, Status> {
        let request = person.call(self.team.account_id, request);
        Ok(self.client().list_activity_logs(request).await?.into_inner())
    }

    /// The account's log, once this many rows are in it; newest first.
    async fn log(&self, count: usize) -> Vec<ActivityLog> {
        eventually(async || {
            let page = baton_proto::baton::api::v1::Page { per_page: 100, ..Default::default() };
            let request = ListActivityLogsRequest { page: Some(page), ..Default::default() };
            let answer = self.list(&self.team.owner, request).await.unwrap();
            Some(answer.activity_logs).filter(|rows| rows.len() >= count)
        })
        .await
    }

    async fn count(&self, sql: &'static str) -> i64 {
        crate::count(&self.world, sql).await
    }

    /// How many rows the account's log has by now, once what `TestContext` did is in it.
    async fn begun(&self) -> usize {
        let rows = self.log(1).await;
        assert_eq!(rows.last().unwrap().sequence, 1);
        rows.len()
    }
}

/// A browser somewhere.
fn somewhere() -> Origin {
    Origin {
        address: "203.0.113.7".parse().ok(),
        user_agent: "=cmd|' /C calc'!A0, \"Firefox\"".to_owned(),
        request_id: "request-1".to_owned(),
    }
}

/// Rows of the team's log, made without their events: `count` of them, from `from` on.
async fn fill(stage: &Stage, count: i32) {
    sqlx::query(
        "with head as (insert into tenancy.activity_heads as h (account_id, last_seq) values ($1, $2)
                       on conflict (account_id) do update set last_seq = h.last_seq + $2 returning last_seq)
         insert into tenancy.activity_logs (account_id, seq, recorded_at, id, occurred_at, actor_id, action,
                                            resource_type, resource_id, changed_fields, details, leaf_hash)
         select $1, last_seq - $2 + n, now(), gen_random_uuid(), now(), $3, 'task.updated', 'task',
                gen_random_uuid(), '{}', '{}', sha256(n::text::bytea)
         from head, generate_series(1, $2) n",
    )
    .bind(stage.team.account_id)
    .bind(count)
    .bind(stage.team.user_a1.user_id)
    .execute(&stage.world.admin())
    .await
    .unwrap();
}
