//! File upload and download by signed URLs, as a client of the API does it.

use reqwest::{
    Client, Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Person;

/// The response to a signed URL.
#[derive(Debug)]
pub struct SignedResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Person {
    /// Announces a file and returns the attachment with its upload URL.
    pub async fn announce(&self, task: Uuid, file_name: &str, content_type: &str, content: &[u8]) -> Value {
        let file = json!({
            "file_name": file_name, "content_type": content_type, "size_bytes": content.len(),
            "checksum_sha256": sha256(content),
        });
        self.post(&format!("/v1/tasks/{task}/attachments"), &file).ok().await
    }

    /// Announces, uploads and completes a file, and returns the attachment's id.
    pub async fn attach(&self, task: Uuid, file_name: &str, content_type: &str, content: &[u8]) -> Uuid {
        let announced = self.announce(task, file_name, content_type, content).await;
        let sent = upload(&announced, content).await;
        assert_eq!(sent.status, 200, "{}", String::from_utf8_lossy(&sent.body));
        let path = format!("/v1/attachments/{}/complete", announced["id"].as_str().expect("an id"));
        let attachment = self.post(&path, &json!({})).ok().await;
        attachment["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
    }
}

/// Uploads content to the URL, with the method and headers, of an announced attachment.
pub async fn upload(announced: &Value, content: &[u8]) -> SignedResponse {
    let headers = announced["upload_headers"].as_object().expect("headers").iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, HeaderValue::from_str(value.as_str().expect("text")).expect("a header's value"))
    });
    let method = announced["upload_method"].as_str().expect("a method").parse().expect("a method");
    signed(method, &announced["upload_url"], headers.collect(), content).await
}

/// Downloads from a signed URL.
pub async fn download(url: &Value) -> SignedResponse {
    signed(Method::GET, url, HeaderMap::new(), &[]).await
}

/// Sends a request to a signed URL, without a token.
pub async fn signed(method: Method, url: &Value, headers: HeaderMap, content: &[u8]) -> SignedResponse {
    let request = Client::new().request(method, url.as_str().expect("a URL")).headers(headers).body(content.to_vec());
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    SignedResponse { status, headers, body: response.bytes().await.expect("a body").to_vec() }
}

/// SHA-256 in hexadecimal.
fn sha256(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
