//! Service tokens: the credentials of calls that a service makes on its own behalf, to `service_only` RPCs.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_errors::{Error, Result};
use baton_proto::baton::auth::v1::{IssueServiceTokenRequest, internal_service_client::InternalServiceClient};
use baton_runtime::{Secret, propagation};
use tokio::sync::Mutex;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{Peer, Transport};

/// Time before its expiry at which a token is replaced, so that none expires on its way.
const REFRESH_MARGIN: Duration = Duration::from_secs(60);

/// The tokens of one service, by audience. Issued at the first use and again before they expire. Clones share them.
#[derive(Clone)]
pub struct ServiceTokens<T = Channel>(Arc<Inner<T>>);

struct Inner<T> {
    auth: Peer<T>,
    service: &'static str,
    secret: Secret,
    issued: Mutex<HashMap<&'static str, Issued>>,
}

struct Issued {
    authorization: MetadataValue<Ascii>,
    valid_until: Instant,
}

impl<T: Transport> ServiceTokens<T> {
    /// The tokens of `service`. Auth knows its `secret` from `BATON_AUTH_SERVICE_SECRETS`.
    pub fn new(auth: Peer<T>, service: &'static str, secret: Secret) -> Self {
        Self(Arc::new(Inner { auth, service, secret, issued: Mutex::default() }))
    }

    /// The credential of a call to the service `audience`: the `Authorization` value.
    ///
    /// # Errors
    /// UNAVAILABLE when auth does not respond, INTERNAL when auth does not accept the secret.
    pub async fn authorization(&self, audience: &'static str) -> Result<MetadataValue<Ascii>> {
        // Locked during the call, so that concurrent callers cause one call.
        let mut issued = self.0.issued.lock().await;
        if let Some(Issued { authorization, .. }) = issued.get(audience).filter(|it| it.valid_until > Instant::now()) {
            return Ok(authorization.clone());
        }
        let requested_at = Instant::now();
        let message = IssueServiceTokenRequest {
            service: self.0.service.to_owned(),
            secret: self.0.secret.expose().to_owned(),
            audience: audience.to_owned(),
        };
        let response = self.0.auth.call(
            || Request::new(message.clone()),
            async |auth, request| InternalServiceClient::new(auth).issue_service_token(request).await,
        );
        let response = response.await?;
        let authorization: MetadataValue<Ascii> =
            format!("Bearer {}", response.access_token).parse().map_err(Error::internal)?;
        let lifetime = Duration::from_secs(u64::try_from(response.expires_in).unwrap_or_default());
        let valid_until = requested_at + lifetime.saturating_sub(REFRESH_MARGIN);
        issued.insert(audience, Issued { authorization: authorization.clone(), valid_until });
        Ok(authorization)
    }
}

/// A request to a `service_only` RPC with this credential, in the current trace.
pub(crate) fn request<M>(authorization: &MetadataValue<Ascii>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", authorization.clone());
    propagation::inject(request.metadata_mut());
    request
}

impl<T> std::fmt::Debug for ServiceTokens<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceTokens").field("service", &self.0.service).finish_non_exhaustive()
    }
}
