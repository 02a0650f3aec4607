//! The dev mailbox of embedded mode and of the tests. Services send to it over SMTP, as they would to any server, and
//! people read it at `GET /dev/mailbox`.
//!
//! It keeps the newest thousand mails in memory. It is for loopback only, and not a mail server to expose. Requests
//! with another host name than this machine's are refused, as a protection against DNS rebinding.

mod smtp;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, Request},
    http::{StatusCode, header::HOST, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_runtime::{Clock, host};
use chrono::{DateTime, Utc};
use mail_parser::MessageParser;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Mails that are kept, at most.
const MAX_MAILS: usize = 1000;

/// A received mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mail {
    /// Id of the mail.
    pub id: Uuid,
    /// The recipient.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
    /// Time of receipt.
    pub created_at: DateTime<Utc>,
}

/// A mailbox. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Mutex<VecDeque<Mail>>>);

impl Mailbox {
    /// An empty mailbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Receives mails over SMTP (RFC 5321) until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (mailbox, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                let session = smtp::session(stream, |to, message| mailbox.store(to, message));
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = session => if let Err(error) = ended { tracing::debug!(%error, "an SMTP session failed") },
                }
            });
        }
    }

    /// The mails to an address, or all mails, newest first.
    pub fn mails(&self, to: Option<&str>) -> Vec<Mail> {
        let Ok(mails) = self.0.lock() else { return Vec::new() };
        mails.iter().rev().filter(|mail| to.is_none_or(|to| mail.to.eq_ignore_ascii_case(to))).cloned().collect()
    }

    /// The HTTP API, to be served on a loopback address only. Requests whose `Host` is not a name of this machine get a
    /// 421 (RFC 9110, section 15.5.20).
    ///
    /// `GET /dev/mailbox?to=…` returns `{messages: [{id, to, subject, text, html, created_at}]}`, newest first.
    pub fn router(&self) -> Router {
        #[derive(Deserialize)]
        struct Parameters {
            to: Option<String>,
        }
        #[derive(Serialize)]
        struct MailList {
            messages: Vec<Mail>,
        }
        let mailbox = self.clone();
        let list = move |Query(parameters): Query<Parameters>| async move {
            Json(MailList { messages: mailbox.mails(parameters.to.as_deref()) })
        };
        Router::new().route("/dev/mailbox", get(list)).layer(middleware::from_fn(require_local_host))
    }

    fn store(&self, recipients: &[String], message: &[u8]) {
        let parsed = MessageParser::default().parse(message);
        let body = |text: Option<std::borrow::Cow<'_, str>>| text.map(|t| t.into_owned()).unwrap_or_default();
        let Ok(mut mails) = self.0.lock() else { return };
        for to in recipients {
            let parsed = parsed.as_ref();
            mails.push_back(Mail {
                id: Uuid::now_v7(),
                to: to.clone(),
                subject: parsed.and_then(|m| m.subject()).unwrap_or_default().to_owned(),
                text: body(parsed.and_then(|m| m.body_text(0))),
                html: body(parsed.and_then(|m| m.body_html(0))),
                created_at: Clock::system().now(),
            });
        }
        while mails.len() > MAX_MAILS {
            mails.pop_front();
        }
    }
}

/// Refuses requests whose host is not a name of this machine.
async fn require_local_host(request: Request, next: Next) -> Response {
    // HTTP/2 has it in the URI.
    let host_name = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    // HTTP/2 has the host in the URI.
    let host_name = host_name.or_else(|| request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if host::is_local(host_name) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "The mailbox is available at localhost only.\n").into_response()
}

#[cfg(test)]
mod tests {
    use baton_mail::{Email, MailConfig, Mailer};
    use baton_runtime::Env;

    use super::*;

    #[tokio::test]
    async fn rebound_host_name_is_refused() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Mailbox::new().router()).await });
        for (host, status) in [("localhost:1", "200"), ("evil.example", "421")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET /dev/mailbox HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {response}");
        }
    }

    #[tokio::test]
    async fn mail_arrives_with_its_link() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mailbox = Mailbox::new();
        tokio::spawn(mailbox.clone().serve(listener, CancellationToken::new()));

        let env: Env = [("BATON_SMTP_URL", url.as_str())].into_iter().collect();
        let mailer = Mailer::new(&MailConfig::from_env(&env).unwrap()).unwrap();
        let link = mailer.link("/accept", "a.b-c");
        let paragraphs = [".a line that begins with a dot", "Grüße"];
        let email = Email { subject: "Grüße aus Köln", paragraphs: &paragraphs, link: Some(("Go", link)) };
        mailer.send("ada@example.org", &email).await.unwrap();
        mailer.send("ben@example.org", &email).await.unwrap();

        let mails = mailbox.mails(Some("ADA@example.org"));
        assert_eq!((mails.len(), mailbox.mails(None).len()), (1, 2));
        assert_eq!(mails[0].subject, "Grüße aus Köln");
        assert!(mails[0].text.starts_with(".a line"), "{}", mails[0].text);
        assert!(mails[0].text.contains("?token=a.b-c"), "{}", mails[0].text);
        assert!(mails[0].html.contains("Grüße") && mails[0].html.contains("?token=a.b-c"));
    }
}
