//! Calls that a service makes on its own behalf, to the `service_only` RPCs of another.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::baton::auth::v1::{IssueServiceTokenRequest, internal_service_client::InternalServiceClient};
use baton_runtime::{Secret, propagation};
use tokio::sync::Mutex;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Auth answers within this, or the call is off.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A token is replaced this long before it expires, so that none runs out on its way.
const SPARE: Duration = Duration::from_secs(60);

/// Another service, as the caller of a `service_only` RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Its name: `tenancy`.
    pub name: String,
}

/// The caller of an RPC whose rule is `service_only`.
///
/// # Errors
/// INTERNAL when the RPC's rule is another: the handler and its rule disagree.
pub fn service<T>(request: &Request<T>) -> Result<&ServiceCaller> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule establishes no service"))
}

/// A service's own tokens: fetched when they are first needed, and again before they expire. Clones share them.
#[derive(Clone)]
pub struct ServiceTokens(Arc<Inner>);

struct Inner {
    auth: InternalServiceClient<Channel>,
    service: &'static str,
    secret: Secret,
    issued: Mutex<HashMap<&'static str, Issued>>,
}

struct Issued {
    authorization: MetadataValue<Ascii>,
    good_until: Instant,
}

impl ServiceTokens {
    /// The tokens of `service`, which auth knows by `secret`.
    pub fn new(auth: Channel, service: &'static str, secret: Secret) -> Self {
        let auth = InternalServiceClient::new(auth);
        Self(Arc::new(Inner { auth, service, secret, issued: Mutex::default() }))
    }

    /// A request to a `service_only` RPC of the service `audience`, in the current trace.
    ///
    /// # Errors
    /// UNAVAILABLE when auth does not answer, INTERNAL when it does not know the secret.
    pub async fn request<T>(&self, audience: &'static str, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization(audience).await?);
        propagation::inject(request.metadata_mut());
        Ok(request)
    }

    async fn authorization(&self, audience: &'static str) -> Result<MetadataValue<Ascii>> {
        // Held while auth is asked, so that it is asked once.
        let mut issued = self.0.issued.lock().await;
        if let Some(Issued { authorization, .. }) = issued.get(audience).filter(|it| it.good_until > Instant::now()) {
            return Ok(authorization.clone());
        }
        let asked = Instant::now();
        let mut request = Request::new(IssueServiceTokenRequest {
            service: self.0.service.to_owned(),
            secret: self.0.secret.expose().to_owned(),
            audience: audience.to_owned(),
        });
        request.set_timeout(TIMEOUT);
        let answer = self.0.auth.clone().issue_service_token(request).await;
        let answer = answer.map_err(|status| match reason_of(&status) {
            Some(Reason::CredentialsInvalid) => Error::internal("auth does not know this service's secret"),
            _ => Error::from(Reason::Unavailable).with_source(status),
        })?;
        let answer = answer.into_inner();
        let authorization: MetadataValue<Ascii> =
            format!("Bearer {}", answer.access_token).parse().map_err(Error::internal)?;
        let lasts = Duration::from_secs(u64::try_from(answer.expires_in).unwrap_or_default());
        let good_until = asked + lasts.saturating_sub(SPARE);
        issued.insert(audience, Issued { authorization: authorization.clone(), good_until });
        Ok(authorization)
    }
}

impl std::fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceTokens").field("service", &self.0.service).finish_non_exhaustive()
    }
}
