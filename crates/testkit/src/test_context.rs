//! The environment that a service needs: database, Redis, mailbox, auth, tenancy.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_access::MailedTokens;
use baton_embedded::{Options, Redis, RedisBinary};
use baton_mailbox::Mailbox;
use baton_runtime::{Clock, Env, Secret, Shutdown};
use baton_sealing::Sealer;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

use crate::database::{Database, Schema};

/// A database, a Redis, and the auth and tenancy services, for one test.
#[derive(Debug)]
pub struct TestContext {
    database: Database,
    // Kept for their drop.
    redis: Redis,
    _folder: tempfile::TempDir,
    mailbox: Mailbox,
    env: Env,
    shutdown: Shutdown,
    admin: PgPool,
    /// Whether the test causes dead letters or failing jobs on purpose.
    failures_expected: AtomicBool,
}

impl TestContext {
    /// Starts an environment. `schemas` are those of the service under test; auth's and tenancy's are always included.
    pub async fn start(schemas: &[Schema<'_>]) -> Self {
        let mut all: Vec<Schema<'_>> = vec![baton_auth::SPEC.schema(), baton_tenancy::SPEC.schema()];
        all.extend(
            schemas.iter().filter(|(name, _)| ![baton_auth::SPEC.name, baton_tenancy::SPEC.name].contains(name)),
        );
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let binary = RedisBinary::find().expect("Redis is installed");
        let data = folder.path().join("redis");
        let (database, redis) =
            tokio::join!(Database::create(&all), Redis::start(&binary, &data, Options::throw_away()));
        let redis = redis.expect("Redis starts");
        let shutdown = Shutdown::new();

        let (mail, mail_address) = listen().await;
        let mailbox = Mailbox::new();
        tokio::spawn(mailbox.clone().serve(mail, shutdown.stop().clone()));
        let (auth, auth_address) = listen().await;
        let (tenancy, tenancy_address) = listen().await;

        let mut env = Env::default();
        for (schema, _) in &all {
            let name = schema.to_uppercase();
            env.set(format!("BATON_{name}_DATABASE_URL"), database.app_url(schema));
            env.set(format!("BATON_{name}_SYSTEM_DATABASE_URL"), database.system_url(schema));
            env.set(format!("BATON_{name}_DATABASE_CONNECTIONS"), "5");
        }
        env.set("BATON_REDIS_URL", redis.url());
        let ledger = url::Url::from_file_path(folder.path().join("ledger")).expect("an absolute path");
        env.set("BATON_LEDGER_URL", ledger);
        // High quotas; tests about quotas set their own.
        env.set("BATON_TENANCY_TIER_LIMITS", "free.users=1000,free.open_tasks_per_user=100000");
        env.set("BATON_TENANCY_STRIPE_WEBHOOK_SECRETS", "whsec_test");
        env.set("BATON_TENANCY_STRIPE_PRICES", "price_pro=pro,price_enterprise=enterprise");
        env.set("BATON_SMTP_URL", format!("smtp://{mail_address}"));
        env.set("BATON_AUTH_URL", format!("http://{auth_address}"));
        env.set("BATON_TENANCY_URL", format!("http://{tenancy_address}"));
        let callers = all.iter().map(|(schema, _)| *schema).chain(["gateway"]);
        let secrets = callers.zip(10..).map(|(caller, byte)| (caller, STANDARD.encode([byte; 32])));
        let secrets: Vec<(&str, String)> = secrets.collect();
        for (schema, secret) in &secrets {
            env.set(format!("BATON_{}_SERVICE_SECRET", schema.to_uppercase()), secret);
        }
        let known: Vec<String> = secrets.iter().map(|(schema, secret)| format!("{schema}:{secret}")).collect();
        env.set("BATON_AUTH_SERVICE_SECRETS", known.join(","));
        env.set("BATON_AUTH_MAILED_TOKEN_KEY", STANDARD.encode([1; 32]));
        let files = url::Url::from_file_path(folder.path().join("files")).expect("an absolute path");
        env.set("BATON_TASK_ATTACHMENTS_URL", files);
        env.set("BATON_TASK_ATTACHMENTS_PUBLIC_URL", "http://files.test");
        env.set("BATON_TASK_ATTACHMENTS_SIGNING_KEY", STANDARD.encode([6; 32]));
        // All tests come from one address.
        env.set("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "1000000");
        env.set("BATON_AUTH_SEALING_KEYS", format!("test:{}", STANDARD.encode([3; 32])));
        env.set("BATON_AUTOMATION_SEALING_KEYS", format!("test:{}", STANDARD.encode([4; 32])));
        env.set("BATON_TENANCY_MAILED_TOKEN_KEY", STANDARD.encode([2; 32]));
        env.set("BATON_TENANCY_CHECKPOINT_KEYS", STANDARD.encode([4; 32]));

        let admin = PgPool::connect_lazy(&database.admin_url()).expect("a URL of our own");
        let world = Self {
            database,
            redis,
            _folder: folder,
            mailbox,
            env,
            shutdown,
            admin,
            failures_expected: AtomicBool::new(false),
        };
        let config = baton_auth::Config::from_env(&baton_auth::SPEC, &world.env).expect("a complete configuration");
        world.run(baton_auth::start(config, Clock::system(), auth, world.shutdown.clone()));
        let config =
            baton_tenancy::Config::from_env(&baton_tenancy::SPEC, &world.env).expect("a complete configuration");
        world.run(baton_tenancy::start(config, Clock::system(), tenancy, world.shutdown.clone()));
        world
    }

    /// The variables that services of this world are configured by.
    pub fn env(&self) -> Env {
        self.env.clone()
    }

    /// Runs a service on a free port and returns a channel to it.
    pub async fn spawn<F, Fut>(&self, start: F) -> Channel
    where
        F: FnOnce(TcpListener, Shutdown) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (listener, address) = listen().await;
        self.run(start(listener, self.shutdown.clone()));
        channel(&format!("http://{address}"))
    }

    /// A channel to the auth service.
    pub fn auth(&self) -> Channel {
        channel(self.env.get("BATON_AUTH_URL").expect("set at the start"))
    }

    /// A channel to the tenancy service.
    pub fn tenancy(&self) -> Channel {
        channel(self.env.get("BATON_TENANCY_URL").expect("set at the start"))
    }

    /// The database as superuser, to read and change rows directly.
    pub fn admin(&self) -> PgPool {
        self.admin.clone()
    }

    /// A service's database, opened as the service does.
    pub fn db(&self, schema: &'static str) -> baton_store::Db {
        self.database.open(schema)
    }

    /// URLs of the database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// URL of the Redis.
    pub fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// The sent mails.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The shutdown signal of all services of this environment.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Declares that the test causes dead letters or failing jobs.
    pub fn expect_failures(&self) {
        self.failures_expected.store(true, Ordering::Relaxed);
    }

    /// Id and private key (PKCS#8) of the current signing key, for tests that forge tokens.
    pub async fn signing_key(&self) -> (String, Vec<u8>) {
        let (kid, sealed): (String, Vec<u8>) = sqlx::query_as(
            "select kid, sealed from auth.signing_keys where signs_from <= now() order by signs_from desc, kid desc",
        )
        .fetch_one(&self.admin())
        .await
        .expect("a key");
        let keys = self.env.get("BATON_AUTH_SEALING_KEYS").expect("set at the start");
        let sealer = Sealer::new(&Secret::new(keys)).expect("a key");
        let private = sealer.open(&format!("signing_key:{kid}"), &sealed).expect("sealed by us");
        (kid, private)
    }

    /// The tokens in mails of the tenancy service.
    pub fn invitation_tokens(&self) -> MailedTokens {
        let key = self.env.get("BATON_TENANCY_MAILED_TOKEN_KEY").expect("set at the start");
        MailedTokens::new(&Secret::new(key)).expect("a key")
    }

    fn run(&self, service: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        tokio::spawn(async move { service.await.expect("the service runs until the test ends") });
    }
}

impl Drop for TestContext {
    /// Fails the test if an event was dead-lettered or a job keeps failing, unless the test expects it.
    fn drop(&mut self) {
        self.shutdown.now();
        if std::thread::panicking() || self.failures_expected.load(Ordering::Relaxed) {
            return;
        }
        let url = self.database.admin_url();
        // A thread of its own: a runtime cannot block inside another.
        let failures = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(failures(&url)).expect("the database of the test")
        });
        let failures = failures.join().expect("the check of failures ends");
        assert!(
            failures.is_empty(),
            "the test left failures behind ({}); `TestContext::expect_failures` is for tests that cause them",
            failures.join(", ")
        );
    }
}

/// The dead letters of all schemas, and the jobs that failed three times or more.
async fn failures(url: &str) -> sqlx::Result<Vec<String>> {
    let mut conn = PgConnection::connect(url).await?;
    let schemas: Vec<String> =
        sqlx::query_scalar("select schemaname::text from pg_tables where tablename = 'dead_letters'")
            .fetch_all(&mut conn)
            .await?;
    let mut found = Vec::new();
    for schema in schemas {
        let select = format!(
            "select '{schema}: an event (' || error || ')' from {schema}.dead_letters
             union all select '{schema}: a job (' || kind || ')' from {schema}.jobs where attempts >= 3"
        );
        let failures: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut conn).await?;
        found.extend(failures);
    }
    conn.close().await?;
    Ok(found)
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    (listener, address)
}

fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).expect("a URL of our own").connect_lazy()
}
