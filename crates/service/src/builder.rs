//! The builder that wires a service.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use baton_access::{AccessLayer, IdentityCache, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, ServiceTokens, Tenancy};
use baton_consent::{WITHDRAWN_JOB, Withdrawn};
use baton_events::{Handler, Streams, consumer, relay};
use baton_ledger::Ledger;
use baton_proto::baton::privacy::v1::subject_data_service_server::SubjectDataServiceServer;
use baton_runtime::{Clock, Next, Shutdown, periodic, periodic_or_notified, server};
use baton_store::{
    Db, Restrictions, auto_analyze,
    jobs::{self, Job},
    personal_data::PersonalData,
    retention,
    subject_data::Subject,
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use http::{Request, Response};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::Layer as _;
use uuid::Uuid;

use crate::{
    ServiceConfig, Spec,
    account_deletion::{self, AccountDeletion, BeforeDeletion},
    restored::knows_ledger,
    subject_data::{self, BeforeErasure},
};

type JobHandler = Arc<dyn Fn(Job) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;
type Worker = BoxFuture<'static, ()>;
type Mount = Box<dyn FnOnce(Routes, &AccessLayer) -> Routes + Send>;

/// A service that is being wired.
pub struct Service {
    spec: &'static Spec,
    personal_data: Arc<PersonalData>,
    db: Db,
    streams: Streams,
    ledger: Ledger,
    peers: HashMap<&'static str, Peer>,
    tokens: Option<ServiceTokens>,
    issuer: String,
    access: Option<AccessLayer>,
    rpcs: Vec<(&'static str, Mount)>,
    consumer: Option<Worker>,
    before_deletion: Option<BeforeDeletion>,
    before_erasure: Option<BeforeErasure>,
    ready: Vec<Worker>,
    operator_account: Option<Uuid>,
    restrictions: Restrictions,
    purposes: &'static [&'static str],
    jobs: HashMap<&'static str, JobHandler>,
    workers: Vec<Worker>,
    shutdown: Shutdown,
}

impl Service {
    /// Opens the database, the event streams and the peers of the service. Connections are made when they are needed,
    /// so services may start in any order.
    ///
    /// # Errors
    /// When the configuration or the spec is wrong.
    pub fn open(spec: &'static Spec, config: &ServiceConfig, clock: Clock, shutdown: Shutdown) -> anyhow::Result<Self> {
        let db =
            Db::open(spec.name, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
        let personal_data = PersonalData::parse(spec.personal_data)
            .with_context(|| format!("migrations/{}/personal_data.toml", spec.name))?;
        let peers = spec.peers.iter().map(|&name| Ok((name, Peer::connect(name, config.peer(name)?)?)));
        let peers: HashMap<_, _> = peers.collect::<anyhow::Result<_>>()?;
        let tokens = match peers.get("auth") {
            Some(auth) if spec.has_service_secret => {
                Some(ServiceTokens::new(auth.clone(), spec.name, config.service_secret()?.clone()))
            }
            _ => None,
        };
        Ok(Self {
            spec,
            personal_data: Arc::new(personal_data),
            db,
            streams: Streams::open(&config.redis_url)?,
            ledger: Ledger::open(&config.ledger)?,
            peers,
            tokens,
            issuer: config.issuer.clone(),
            access: None,
            rpcs: Vec::new(),
            consumer: None,
            before_deletion: None,
            before_erasure: None,
            ready: Vec::new(),
            operator_account: config.operator_account,
            restrictions: Restrictions::default(),
            purposes: &[],
            jobs: HashMap::new(),
            workers: Vec::new(),
            shutdown,
        })
    }

    /// The database.
    pub fn db(&self) -> Db {
        self.db.clone()
    }

    /// The event streams.
    pub fn streams(&self) -> Streams {
        self.streams.clone()
    }

    /// The ledger of erasures.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// A peer of the spec.
    ///
    /// # Errors
    /// When the spec does not name it.
    pub fn peer(&self, name: &str) -> anyhow::Result<Peer> {
        self.peers.get(name).cloned().with_context(|| format!("{name} is no peer in the spec of {}", self.spec.name))
    }

    /// The auth service.
    ///
    /// # Errors
    /// When it is no peer of the service.
    pub fn auth(&self) -> anyhow::Result<Auth> {
        self.peer("auth").map(Auth::new)
    }

    /// The tenancy service.
    ///
    /// # Errors
    /// When it is no peer of the service.
    pub fn tenancy(&self) -> anyhow::Result<Tenancy> {
        self.peer("tenancy").map(Tenancy::new)
    }

    /// The credentials of calls on the service's own behalf.
    ///
    /// # Errors
    /// When the spec has no service secret.
    pub fn service_tokens(&self) -> anyhow::Result<ServiceTokens> {
        self.tokens.clone().with_context(|| format!("{} has no service secret", self.spec.name))
    }

    /// Decides about calls with these tokens and identities, instead of those of auth and tenancy: for the services that
    /// know them themselves.
    ///
    /// # Errors
    /// When an RPC of the service has no access rule.
    pub fn identify_by(mut self, tokens: TokenVerifier, identities: IdentityCache) -> anyhow::Result<Self> {
        let rules = rules(self.spec)?;
        let access = AccessLayer::new(self.spec.name, rules, tokens, identities, self.db.clock().clone());
        self.access = Some(self.complete(access));
        Ok(self)
    }

    /// The layer that decides about calls.
    ///
    /// # Errors
    /// When an RPC of the service has no access rule, or auth and tenancy are no peers.
    pub fn access(&mut self) -> anyhow::Result<AccessLayer> {
        if let Some(access) = &self.access {
            return Ok(access.clone());
        }
        let identities = IdentityCache::new(self.auth()?, self.tenancy()?);
        let rules = rules(self.spec)?;
        let access =
            AccessLayer::new(self.spec.name, rules, self.token_verifier()?, identities, self.db.clock().clone());
        let access = self.complete(access);
        Ok(self.access.insert(access).clone())
    }

    /// A layer that knows the operators, and whose processing is restricted.
    fn complete(&self, access: AccessLayer) -> AccessLayer {
        access.with_restrictions(self.restrictions.clone()).with_operators(self.operator_account)
    }

    /// The verifier of access tokens of auth, for [`Service::identify_by`].
    ///
    /// # Errors
    /// When auth is no peer.
    pub fn token_verifier(&self) -> anyhow::Result<TokenVerifier> {
        Ok(TokenVerifier::new(&self.issuer, self.auth()?))
    }

    /// Mounts an RPC service behind the access layer.
    #[must_use]
    pub fn rpc<S>(mut self, rpc: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        self.rpcs.push((S::NAME, Box::new(move |routes, access| routes.add_service(access.layer(rpc)))));
        self
    }

    /// Handles events with `handler`, which replaces an earlier one. `account.deleted` is handled by the kit as well.
    #[must_use]
    pub fn consume(self, handler: impl Handler) -> Self {
        self.consume_after(std::future::ready(()), handler)
    }

    /// [`Service::consume`], not before `ready` completes. Events wait in their streams meanwhile.
    #[must_use]
    pub fn consume_after(mut self, ready: impl Future<Output = ()> + Send + 'static, handler: impl Handler) -> Self {
        let handler = AccountDeletion { handler, has_tenant_tables: self.personal_data.has_tenant_tables() };
        let (db, streams, shutdown) = (self.db.clone(), self.streams.clone(), self.shutdown.clone());
        self.consumer = Some(Box::pin(async move {
            tokio::select! {
                () = ready => consumer::run(db, streams, handler, shutdown).await,
                () = shutdown.stop().cancelled() => {}
            }
        }));
        self
    }

    /// Runs `work` for each account that was deleted, before its rows are: for data outside of Postgres. It may run more
    /// than once.
    #[must_use]
    pub fn before_account_deletion<F, Fut>(mut self, work: F) -> Self
    where
        F: Fn(Uuid) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.before_deletion = Some(Arc::new(move |account_id| Box::pin(work(account_id))));
        self
    }

    /// Runs `work` for each person who is to be erased, everywhere or in an account, before their rows are: for what no
    /// catalogue describes. It may run more than once, and is repeated as long as it returns [`Next::Again`].
    #[must_use]
    pub fn before_erasure<F, Fut>(mut self, work: F) -> Self
    where
        F: Fn(Subject) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<Next>> + Send + 'static,
    {
        self.before_erasure = Some(Arc::new(move |subject| Box::pin(work(subject))));
        self
    }

    /// Is not ready, and works on nothing, before `ready` completes. RPCs are served meanwhile.
    #[must_use]
    pub fn ready_after(mut self, ready: impl Future<Output = ()> + Send + 'static) -> Self {
        self.ready.push(Box::pin(ready));
        self
    }

    /// The people the processing of whose data is restricted.
    pub fn restrictions(&self) -> Restrictions {
        self.restrictions.clone()
    }

    /// Says that the service collects data for these purposes, which need consent: every statement that stores it asks the
    /// gate ([`baton_consent`]). `delete` deletes what was collected about a person for a purpose, after they have withdrawn
    /// their consent. It may run more than once.
    #[must_use]
    pub fn collects<F, Fut>(mut self, purposes: &'static [&'static str], delete: F) -> Self
    where
        F: Fn(Db, Withdrawn) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.purposes = purposes;
        let delete = Arc::new(delete);
        self.job(WITHDRAWN_JOB, move |db, job| {
            let delete = Arc::clone(&delete);
            async move { delete(db, job.payload()?).await }
        })
    }

    /// Runs the jobs of this kind with `work`: at least once each, see [`jobs::run`]. A kind with a final dot (`mail.`)
    /// stands for its family.
    #[must_use]
    pub fn job<F, Fut>(mut self, kind: &'static str, work: F) -> Self
    where
        F: Fn(Db, Job) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let db = self.db.clone();
        self.jobs.insert(kind, Arc::new(move |job| Box::pin(work(db.clone(), job))));
        self
    }

    /// Runs `work` at this interval: see [`periodic`]. `name` (`task.trash`) is its name in logs and metrics.
    #[must_use]
    pub fn every<F, Fut, T, E>(self, name: &'static str, interval: Duration, mut work: F) -> Self
    where
        F: FnMut(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Into<Next> + Send,
        E: Display + Send,
    {
        let (db, shutdown) = (self.db.clone(), self.shutdown.clone());
        self.run(async move { periodic(name, interval, &shutdown, || work(db.clone())).await })
    }

    /// [`Service::every`], and as soon as `wake` is notified.
    #[must_use]
    pub fn every_or_notified<F, Fut, T, E>(
        self,
        name: &'static str,
        interval: Duration,
        wake: Arc<Notify>,
        mut work: F,
    ) -> Self
    where
        F: FnMut(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Into<Next> + Send,
        E: Display + Send,
    {
        let (db, shutdown) = (self.db.clone(), self.shutdown.clone());
        self.run(async move { periodic_or_notified(name, interval, &wake, &shutdown, || work(db.clone())).await })
    }

    /// Runs a worker that ends by itself when the process stops.
    #[must_use]
    pub fn run(mut self, worker: impl Future<Output = ()> + Send + 'static) -> Self {
        self.workers.push(Box::pin(worker));
        self
    }

    /// Serves until the process stops, and waits for the work that has begun.
    ///
    /// # Errors
    /// When an RPC service of the contract is not mounted, a mounted one has no access rule, or the server fails.
    pub async fn serve(mut self, listener: TcpListener) -> anyhow::Result<()> {
        let before_erasure = self.before_erasure.take();
        let subjects =
            subject_data::Rpc::new(self.db.clone(), self.personal_data.clone(), self.purposes, before_erasure);
        self = self.rpc(SubjectDataServiceServer::new(subjects));
        let access = self.access()?;
        let (mut names, mut routes) = (Vec::new(), Routes::default());
        for (name, mount) in std::mem::take(&mut self.rpcs) {
            names.push(name);
            routes = mount(routes, &access);
        }
        let package = self.spec.package();
        let contract = baton_proto::pool().services().filter(|it| it.parent_file().package_name() == package);
        for service in contract {
            ensure!(names.contains(&service.full_name()), "the RPC service {} is not mounted", service.full_name());
        }

        if self.consumer.is_none() && self.personal_data.has_tenant_tables() {
            self = self.consume(account_deletion::Nothing);
        }
        if self.personal_data.has_tenant_tables() {
            let (data, before) = (self.personal_data.clone(), self.before_deletion.clone());
            self = self.job(account_deletion::JOB, move |db, job| {
                account_deletion::run(db, data.clone(), before.clone(), job)
            });
        }
        let rules: Arc<[retention::Rule]> = retention::Rule::all(&self.personal_data)?.into();
        self = self
            .every(retention::WORK, retention::INTERVAL, move |db| {
                let rules = Arc::clone(&rules);
                async move { retention::sweep(db, &rules).await }
            })
            .every("platform.auto_analyze", auto_analyze::INTERVAL, auto_analyze::analyze_grown_tables);
        let (db, shutdown) = (self.db, self.shutdown);
        // Whoever is restricted is so from the first moment.
        let (restrictions_read, read) = oneshot::channel();
        self.ready.push(Box::pin(read.map(drop)));
        let conditions: Vec<Worker> =
            self.ready.into_iter().chain([knows_ledger(db.clone(), self.ledger).boxed()]).collect();
        let ready = join_all(conditions).map(drop).shared();
        let mut workers = JoinSet::new();
        let follow = self.restrictions.follow(db.clone(), shutdown.clone(), || {
            let _ = restrictions_read.send(());
        });
        workers.spawn(follow);
        let handlers = self.jobs;
        let jobs = jobs::run(db.clone(), shutdown.clone(), move |job| {
            let family = job.kind.split_once('.').map(|(family, _)| format!("{family}."));
            let handler = handlers.get(job.kind.as_str()).or_else(|| handlers.get(family?.as_str())).cloned();
            async move {
                let handler = handler.with_context(|| format!("no handler of jobs of kind {}", job.kind))?;
                handler(job).await
            }
        });
        let relay = relay::run(db, self.streams, shutdown.clone());
        let work: [Worker; 2] = [Box::pin(relay), Box::pin(jobs)];
        for worker in work.into_iter().chain(self.consumer).chain(self.workers) {
            // What an older database brings back is not told to anybody.
            let (ready, stop) = (ready.clone(), shutdown.stop().clone());
            workers.spawn(async move {
                tokio::select! {
                    () = ready => worker.await,
                    () = stop.cancelled() => {}
                }
            });
        }
        server::serve(listener, &names, routes, ready, shutdown).await?;
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// The rules of the service's own RPCs, and of what every service serves.
fn rules(spec: &Spec) -> anyhow::Result<Rules> {
    let package = spec.package();
    let own = baton_proto::pool().services().filter(|service| service.parent_file().package_name() == package);
    let names = own.map(|service| service.full_name().to_owned());
    let names: BTreeSet<String> = names.chain([SubjectDataServiceServer::<()>::NAME.to_owned()]).collect();
    Rules::of(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("spec", &self.spec).finish_non_exhaustive()
    }
}
