//! API key RPCs.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_access::{ApiKey, Caller, caller, is_fresh};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, DeleteApiKeyResponse, ListApiKeysRequest,
        ListApiKeysResponse, api_key_service_server::ApiKeyService,
    },
    convert::{datetime, timestamp},
};
use baton_store::{Idempotency, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    api_key::{self, MAX_KEYS_PER_USER, StoredKey},
    auth_event::AuthEventKind,
    emails,
    events::publish,
    store,
};

#[tonic::async_trait]
impl ApiKeyService for Rpc {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        // Remove the password first: a hash of the request is stored, which would allow fast guesses.
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
        let scopes = api_key::parse_scopes(&scopes)?;
        let password_verified = self.verify_password(user_id, password).await?;

        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        // A stolen token alone must not be enough, since a key outlives it. A retry returns the key too, so it takes
        // the proof.
        let session = store::session::lock_open(&mut tx, session_id, user_id, now).await?;
        let session = session.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        if !password_verified && !is_fresh(session.proved_at, now) {
            return Err(Error::from(Reason::ProofRequired).into());
        }
        if let Some(response) = tx.replay::<CreateApiKeyResponse>(&call).await? {
            return Ok(Response::new(self.unseal_key(response)?));
        }
        let secret = ApiKey::new();
        let key = StoredKey {
            id: clock.new_id(),
            user_id,
            name,
            prefix: secret.prefix().to_owned(),
            scopes,
            // The binding only narrows the key. Membership is checked at each call.
            bound_account_id: account_id.and_then(|id| id.parse().ok()),
            // From the session, not the token: the token may name a second factor that has been disabled since.
            amr: session.amr,
            created_at: now,
            expires_at,
            last_used_at: None,
        };
        if !store::api_key::insert(&mut tx, &key, &secret.hash(), MAX_KEYS_PER_USER).await? {
            return Err(Error::from(Reason::ApiKeyLimit).into());
        }
        tx.publish(publish::api_key_created(key.id, user_id, key.bound_account_id)).await?;
        tx.enqueue(emails::API_KEY_CREATED, &emails::ToUser { user_id }).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::ApiKeyCreated, Some(session_id)).await?;
        let response = CreateApiKeyResponse {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.prefix,
            key: secret.expose().to_owned(),
            scopes: key.scopes,
            account_id: key.bound_account_id.map(|id| id.to_string()),
            created_at: Some(timestamp(key.created_at)),
            expires_at: key.expires_at.map(timestamp),
        };
        // A retry returns the same key, which is stored sealed.
        let sealed = self.sealer.seal(&seal_context(&response.id), response.key.as_bytes()).map_err(Error::internal)?;
        tx.remember(&call, &CreateApiKeyResponse { key: STANDARD.encode(sealed), ..response.clone() }).await?;
        tx.commit().await?;
        Ok(Response::new(response))
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
        tx.publish(publish::api_key_revoked(id, user_id, bound)).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::ApiKeyRevoked, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteApiKeyResponse {}))
    }
}

impl Rpc {
    fn unseal_key(&self, response: CreateApiKeyResponse) -> Result<CreateApiKeyResponse> {
        let sealed = STANDARD.decode(&response.key).map_err(Error::internal)?;
        let key = self.sealer.open(&seal_context(&response.id), &sealed).map_err(Error::internal)?;
        Ok(CreateApiKeyResponse { key: String::from_utf8(key).map_err(Error::internal)?, ..response })
    }
}

/// Context in which the key of a stored response is sealed.
fn seal_context(id: &str) -> String {
    format!("api_key:{id}")
}
