//! Which failures are permanent: those of the mail, not those of the server or of the connection.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use baton_mail::{Email, MailConfig, Mailer};
use baton_runtime::{Permanent, Secret};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

/// Responses of a server to a connection, to EHLO and to RCPT.
#[derive(Clone, Copy)]
struct Responses {
    greeting: &'static str,
    ehlo: &'static str,
    rcpt: &'static str,
}

const ACCEPTING: Responses =
    Responses { greeting: "220 here", ehlo: "250-here\r\n250-8BITMIME\r\n250 SMTPUTF8", rcpt: "250 ok" };

async fn server(responses: Responses) -> Mailer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                stream.write_all(format!("{}\r\n", responses.greeting).as_bytes()).await.unwrap();
                let (mut line, mut in_data) = (String::new(), false);
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
                    let response = match verb.as_str() {
                        _ if in_data && line != ".\r\n" => {
                            line.clear();
                            continue;
                        }
                        "EHLO" => responses.ehlo,
                        "RCPT" => responses.rcpt,
                        "DATA" => "354 go on",
                        _ => "250 ok",
                    };
                    in_data = verb == "DATA";
                    line.clear();
                    if stream.write_all(format!("{response}\r\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    mailer(&format!("smtp://{address}"))
}

fn mailer(url: &str) -> Mailer {
    let link_base = url::Url::parse("http://127.0.0.1").unwrap();
    Mailer::new(&MailConfig { smtp_url: Secret::new(url), from: "Baton <no-reply@example.org>".to_owned(), link_base })
        .unwrap()
}

/// Whether the mail was sent; the error is true if the failure is permanent.
async fn send(mailer: &Mailer, to: &str) -> Result<(), bool> {
    let email = Email { subject: "Hello", paragraphs: &["Hello"], link: None };
    let sent = mailer.send(to, &email).await;
    if let Err(error) = &sent {
        assert!(!format!("{error:#}").contains(to), "{error:#}");
    }
    sent.map_err(|error| Permanent::is_cause_of(&error))
}

#[tokio::test]
async fn undeliverable_mail_fails_permanently() {
    let accepting = server(ACCEPTING).await;
    for to in ["ada@example.org", "josé@example.org", "ada@münchen.example"] {
        assert_eq!(send(&accepting, to).await, Ok(()), "{to}");
    }
    assert_eq!(send(&accepting, "john..doe@example.com").await, Err(true), "no address");
    let refusing = server(Responses { rcpt: "550 5.1.1 who is ada@example.org?", ..ACCEPTING }).await;
    assert_eq!(send(&refusing, "ada@example.org").await, Err(true));
    let plain = server(Responses { ehlo: "250-here\r\n250 8BITMIME", ..ACCEPTING }).await;
    assert_eq!(send(&plain, "josé@example.org").await, Err(true), "the server lacks SMTPUTF8");
    assert_eq!(send(&plain, "ada@münchen.example").await, Ok(()), "a domain needs no SMTPUTF8");
}

#[tokio::test]
async fn server_failures_are_retryable() {
    let busy = server(Responses { rcpt: "451 4.3.0 later", ..ACCEPTING }).await;
    assert_eq!(send(&busy, "ada@example.org").await, Err(false));
    // The server refuses all clients, which an operator must fix.
    let closed = server(Responses { greeting: "554 no service here", ..ACCEPTING }).await;
    assert_eq!(send(&closed, "ada@example.org").await, Err(false));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(send(&mailer(&format!("smtp://{gone}")), "ada@example.org").await, Err(false));
}
