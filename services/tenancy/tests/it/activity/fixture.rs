//! The fixture of the activity log's tests.

use super::*;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;

/// A team, and a stand-in for the task service: an outbox and a relay in schema `task`.
pub(super) struct Fixture {
    pub(super) context: TestContext,
    pub(super) team: Team,
    pub(super) task: Db,
    pub(super) streams: Streams,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let context = TestContext::start(&[SPEC.schema(), ("task", &PLATFORM_ONLY)]).await;
        let streams = Streams::open(&Secret::new(context.redis_url())).unwrap();
        let task = context.db("task");
        tokio::spawn(relay::run(task.clone(), streams.clone(), context.shutdown().clone()));
        let team = context.team().await;
        Self { context, team, task, streams }
    }

    pub(super) fn client(&self) -> ActivityServiceClient<Channel> {
        ActivityServiceClient::new(self.context.tenancy())
    }

    /// Publishes an event about a task, with `actor` and `origin`.
    pub(super) async fn publish(&self, actor: &Person, kind: &'static str, task_id: Uuid, origin: Origin) {
        let tenant = Tenant { account_id: self.team.account_id, user_id: actor.user_id };
        let payload = TaskEvent { task_id: task_id.to_string(), ..TaskEvent::default() };
        let event = event(kind, tenant.account_id, task_id, &payload);
        origin
            .scope(async {
                let mut tx = self.task.begin(tenant).await.unwrap();
                tx.publish(event).await.unwrap();
                tx.commit().await.unwrap();
            })
            .await;
    }

    pub(super) async fn list(
        &self,
        person: &Person,
        request: ListActivityLogsRequest,
    ) -> Result<ListActivityLogsResponse, Status> {
        let request = person.call(self.team.account_id, request);
        Ok(self.client().list_activity_logs(request).await?.into_inner())
    }

    /// Waits until the account's log has at least `count` rows. Returns them, newest first.
    pub(super) async fn log(&self, count: usize) -> Vec<ActivityLog> {
        eventually(async || {
            let page = baton_proto::baton::api::v1::Page { per_page: 100, ..Default::default() };
            let request = ListActivityLogsRequest { page: Some(page), ..Default::default() };
            let response = self.list(&self.team.owner, request).await.unwrap();
            Some(response.activity_logs).filter(|rows| rows.len() >= count)
        })
        .await
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        crate::count(&self.context, sql).await
    }

    /// Waits for the events of the set-up, and returns the number of rows in the account's log.
    pub(super) async fn initial_rows(&self) -> usize {
        let rows = self.log(1).await;
        assert_eq!(rows.last().unwrap().sequence, 1);
        rows.len()
    }
}

/// The origin of a request, with a user agent that is a spreadsheet formula.
pub(super) fn origin() -> Origin {
    Origin {
        address: "203.0.113.7".parse().ok(),
        user_agent: "=cmd|' /C calc'!A0, \"Firefox\"".to_owned(),
        request_id: "request-1".to_owned(),
    }
}

/// Inserts `count` rows into the team's log, without events.
pub(super) async fn fill(fixture: &Fixture, count: i32) {
    sqlx::query(
        "with head as (insert into tenancy.activity_heads as h (account_id, last_seq) values ($1, $2)
                       on conflict (account_id) do update set last_seq = h.last_seq + $2 returning last_seq)
         insert into tenancy.activity_logs (account_id, seq, recorded_at, id, occurred_at, actor_id, action,
                                            resource_type, resource_id, changed_fields, details, leaf_hash)
         select $1, last_seq - $2 + n, now(), gen_random_uuid(), now(), $3, 'task.updated', 'task',
                gen_random_uuid(), '{}', '{}', sha256(n::text::bytea)
         from head, generate_series(1, $2) n",
    )
    .bind(fixture.team.account_id)
    .bind(count)
    .bind(fixture.team.user_a1.user_id)
    .execute(&fixture.context.admin())
    .await
    .unwrap();
}
