//! A REST client, as simple as a script.

use reqwest::{
    Client, Method, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;
use uuid::Uuid;

/// A REST client, optionally with a token and an account.
#[derive(Debug, Clone)]
pub struct Rest {
    client: Client,
    root: String,
    token: Option<String>,
    account_id: Option<Uuid>,
}

impl Rest {
    pub(crate) fn new(client: Client, root: String) -> Self {
        Self { client, root, token: None, account_id: None }
    }

    /// A copy with this access token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// A copy whose calls are in this account.
    #[must_use]
    pub fn in_account(&self, account_id: Uuid) -> Self {
        Self { account_id: Some(account_id), ..self.clone() }
    }

    /// A call with this method and path.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let mut request = self.client.request(method, format!("{}{path}", self.root));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(account_id) = self.account_id {
            request = request.header("x-account-id", account_id.to_string());
        }
        Call(request)
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST of a JSON object.
    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    /// A PATCH with a JSON object.
    pub fn patch(&self, path: &str, body: &Value) -> Call {
        self.call(Method::PATCH, path).json(body)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }
}

/// A call that has not been sent.
#[derive(Debug)]
pub struct Call(RequestBuilder);

impl Call {
    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body))
    }

    /// Sets a body of this content type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header(CONTENT_TYPE, content_type).body(body))
    }

    /// Sets a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Sends the call.
    pub async fn send(self) -> RestResponse {
        self.try_send().await.expect("an answer")
    }

    /// Sends the call; fails if the response is incomplete.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn try_send(self) -> reqwest::Result<RestResponse> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(RestResponse { status, headers, text: response.text().await? })
    }

    /// Sends the call, expects 200, and returns the JSON.
    pub async fn ok(self) -> Value {
        let response = self.send().await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.json()
    }

    /// Sends the call, expects this status and reason, and returns the problem.
    pub async fn refused(self, status: u16, reason: &str) -> Value {
        self.send().await.refused(status, reason)
    }
}

/// A response.
#[derive(Debug, Clone)]
pub struct RestResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl RestResponse {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.text))
    }

    /// A header's value; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII")).unwrap_or_default()
    }

    /// The version at the start of the `ETag`; empty if absent.
    pub fn etag_version(&self) -> &str {
        self.header("etag").trim_matches('"').split('-').next().unwrap_or_default()
    }

    /// Expects this status and reason in the error format (RFC 9457) and returns the problem.
    pub fn refused(&self, status: u16, reason: &str) -> Value {
        let problem = self.problem();
        assert_eq!((self.status, problem["reason"].as_str()), (status, Some(reason)), "{problem}");
        problem
    }

    /// Expects a 4xx error of any reason and returns the problem.
    pub fn problem(&self) -> Value {
        assert!((400..500).contains(&self.status), "{} is not a 4xx status: {}", self.status, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for member in ["type", "title", "detail", "reason"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {problem}");
        }
        problem
    }
}
