//! API keys.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_access::{ApiKey, Caller, caller, is_fresh};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        self as proto, AuthEventKind, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest,
        DeleteApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse, api_key_service_server::ApiKeyService,
    },
    convert::{datetime, timestamp},
};
use baton_store::{Idempotency, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    api_key::{self, LIMIT, StoredKey},
    events, mails, store,
};

#[tonic::async_trait]
impl ApiKeyService for Rpc {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        // Delivery out first: a hash of the request is kept, by which passwords could be tried fast.
        let mut request = request;
        let password = request.get_mut().password.take();
        let call = Idempotency::of("ApiKeyService/CreateApiKey", request.metadata(), request.get_ref())?;
        let CreateApiKeyRequest { name, scopes, expires_at, account_id, password: _ } = request.into_inner();
        let clock = self.db.clock();
        let now = clock.now();
        let expires_at = match expires_at {
            None => None,
            Some(time) => {
                let time = datetime(&time).filter(|time| *time > now);
                Some(time.ok_or_else(|| Error::invalid("expires_at", "must be in the future"))?)
            }
        };
        let scopes = api_key::scopes(&scopes)?;
        let knows_password = self.knows_password(user_id, password).await?;

        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        // A token alone may be stolen, and a key outlives it. A repetition too answers the key, so it takes the proof.
        let session = store::session::hold(&mut tx, session_id, user_id, now).await?;
        let session = session.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        if !knows_password && !is_fresh(session.proved_at, now) {
            return Err(Error::from(Reason::ProofRequired).into());
        }
        if let Some(answer) = tx.replay::<CreateApiKeyResponse>(&call).await? {
            return Ok(Response::new(self.with_key_opened(answer)?));
        }
        let secret = ApiKey::new();
        let key = StoredKey {
            id: clock.new_id(),
            user_id,
            name,
            prefix: secret.prefix().to_owned(),
            scopes,
            // Whether the person is a member there is asked at each call: being bound only narrows.
            bound_account_id: account_id.and_then(|id| id.parse().ok()),
            // Of the session, not of the token, which may tell of a second factor that is off by now.
            amr: session.amr,
            created_at: now,
            expires_at,
            last_used_at: None,
        };
        if !store::api_key::add(&mut tx, &key, &secret.hash(), LIMIT).await? {
            return Err(Error::from(Reason::ApiKeyLimit).into());
        }
        tx.publish(events::api_key_created(key.id, user_id, key.bound_account_id)).await?;
        tx.enqueue(mails::API_KEY_CREATED, &mails::To { user_id }).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::ApiKeyCreated, Some(session_id)).await?;
        let answer = CreateApiKeyResponse {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.prefix,
            key: secret.expose().to_owned(),
            scopes: key.scopes,
            account_id: key.bound_account_id.map(|id| id.to_string()),
            created_at: Some(timestamp(key.created_at)),
            expires_at: key.expires_at.map(timestamp),
        };
        // A repetition gets the same key; what is kept for it is sealed.
        let sealed = self.sealer.seal(&replay_of(&answer.id), answer.key.as_bytes()).map_err(Error::internal)?;
        tx.remember(&call, &CreateApiKeyResponse { key: STANDARD.encode(sealed), ..answer.clone() }).await?;
        tx.commit().await?;
        Ok(Response::new(answer))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let keys = store::api_key::list(&mut tx, user_id).await?;
        Ok(Response::new(ListApiKeysResponse { api_keys: keys.into_iter().map(Into::into).collect() }))
    }

    async fn delete_api_key(
        &self,
        request: Request<DeleteApiKeyRequest>,
    ) -> Result<Response<DeleteApiKeyResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let not_found = || Error::from(Reason::ApiKeyNotFound);
        let id: Uuid = request.into_inner().id.parse().map_err(|_| not_found())?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let bound = store::api_key::delete(&mut tx, id, user_id).await?.ok_or_else(not_found)?;
        tx.publish(events::api_key_revoked(id, user_id, bound)).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::ApiKeyRevoked, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteApiKeyResponse {}))
    }
}

impl Rpc {
    fn with_key_opened(&self, answer: CreateApiKeyResponse) -> Result<CreateApiKeyResponse> {
        let sealed = STANDARD.decode(&answer.key).map_err(Error::internal)?;
        let key = self.sealer.open(&replay_of(&answer.id), &sealed).map_err(Error::internal)?;
        Ok(CreateApiKeyResponse { key: String::from_utf8(key).map_err(Error::internal)?, ..answer })
    }
}

/// What the key in a remembered answer is sealed for.
fn replay_of(id: &str) -> String {
    format!("api_key:{id}")
}

impl From<StoredKey> for proto::ApiKey {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            account_id: key.bound_account_id.map(|id| id.to_string()),
            created_at: Some(timestamp(key.created_at)),
            expires_at: key.expires_at.map(timestamp),
            last_used_at: key.last_used_at.map(timestamp),
        }
    }
}
