//! Email, sent over SMTP.
//!
//! In production the URL names a relay (`smtps://user:password@host`). In embedded mode it names the dev mailbox of
//! `baton up`, which speaks SMTP too, so there is one code path.

use std::time::Duration;

use anyhow::{Context, anyhow};
use baton_runtime::{Permanent, Secret};
use baton_text::email;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};

baton_runtime::config! {
    /// Settings of outgoing mail.
    pub struct MailConfig {
        /// SMTP server: `smtp://host:port` for a trusted network, `smtps://user:password@host` elsewhere.
        pub smtp_url: Secret = "BATON_SMTP_URL";
        /// Sender of all mails.
        pub from: String = "BATON_MAIL_FROM", default "Baton <no-reply@baton.localhost>";
        /// Base of the links in mails: the URL of the web app, without a trailing slash.
        pub link_base: url::Url = "BATON_PUBLIC_URL", default "http://127.0.0.1:8080";
    }
}

/// Sends mails. Clones share a small pool of connections.
#[derive(Debug, Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    link_base: url::Url,
}

/// The content of a mail: a heading, sentences, and one link.
#[derive(Debug, Clone)]
pub struct Email<'a> {
    /// Subject line and heading.
    pub subject: &'a str,
    /// Paragraphs before the link.
    pub paragraphs: &'a [&'a str],
    /// Text and URL of the link.
    pub link: Option<(&'a str, url::Url)>,
}

impl Mailer {
    /// Creates a mailer, which connects on first use.
    ///
    /// # Errors
    /// If the URL or the sender does not parse.
    pub fn new(config: &MailConfig) -> anyhow::Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.smtp_url.expose())
            .context("BATON_SMTP_URL is not a URL such as smtps://user:password@mail.example.org")?
            .timeout(Some(Duration::from_secs(20)))
            .build();
        let from =
            config.from.parse().context("BATON_MAIL_FROM is not a sender such as Baton <no-reply@example.org>")?;
        Ok(Self { transport, from, link_base: config.link_base.clone() })
    }

    /// The URL of a page of the web app, with a token.
    pub fn link(&self, path: &str, token: &str) -> url::Url {
        let mut url = self.link_base.clone();
        url.set_path(path);
        url.query_pairs_mut().clear().append_pair("token", token);
        url
    }

    /// Sends a mail. An international domain is sent in ASCII (IDNA). An international local part needs a server that
    /// supports SMTPUTF8 (RFC 6531).
    ///
    /// # Errors
    /// If the address is invalid, or the server does not accept the mail. The error contains neither the address nor
    /// the content. It is [`Permanent`] if no retry can succeed: the address is invalid, the server refused this mail
    /// for good (5yz), or it does not support such an address.
    pub async fn send(&self, to: &str, email: &Email<'_>) -> anyhow::Result<()> {
        let to = recipient(to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(email.subject)
            .multipart(MultiPart::alternative_plain_html(email.text(), email.html()))?;
        let Err(error) = self.transport.send(message).await else { return Ok(()) };
        let is_final = error.is_permanent() || error.is_client();
        // The server's message may repeat the address, so the error contains only its code.
        let failure = match error.status() {
            Some(code) => anyhow!("the SMTP server did not take a mail: {code}"),
            None if error.is_client() => anyhow!("the SMTP server cannot take a mail to such an address"),
            None => anyhow::Error::from(error).context("the SMTP server cannot be reached"),
        };
        // 5yz may also mean that the server refuses all our mails, for example because of a wrong password. An operator
        // fixes that, and a retry succeeds then.
        if is_final && self.transport.test_connection().await.is_ok_and(|connected| connected) {
            return Err(failure.context(Permanent("this mail can never be delivered")));
        }
        Err(failure)
    }
}

/// Parses an address for lettre, with its domain in ASCII.
fn recipient(to: &str) -> anyhow::Result<Address> {
    const INVALID: Permanent = Permanent("the recipient's address is invalid");
    let address: email::Address = to.parse().map_err(|_| INVALID)?;
    Ok(address.for_smtp().parse().map_err(|_| INVALID)?)
}

impl Email<'_> {
    fn text(&self) -> String {
        let mut text = self.paragraphs.join("\n\n");
        if let Some((label, url)) = &self.link {
            text.push_str(&format!("\n\n{label}:\n{url}"));
        }
        text.push_str("\n\nBaton\n");
        text
    }

    fn html(&self) -> String {
        let paragraphs: String = self.paragraphs.iter().map(|p| format!("<p>{}</p>", escape(p))).collect();
        let link = self.link.as_ref().map_or_else(String::new, |(label, url)| {
            format!(
                "<p style=\"margin:28px 0\"><a href=\"{}\" style=\"background:#1f4fd8;color:#ffffff;padding:12px 20px;\
                 border-radius:6px;text-decoration:none;font-weight:600\">{}</a></p>",
                escape(url.as_str()),
                escape(label)
            )
        });
        format!(
            "<!doctype html><html lang=\"en\"><body style=\"margin:0;background:#f4f5f7;\
             font-family:system-ui,-apple-system,'Segoe UI',sans-serif;color:#1b1f27;line-height:1.5\">\
             <div style=\"max-width:520px;margin:32px auto;background:#ffffff;border-radius:10px;padding:32px\">\
             <h1 style=\"font-size:20px;margin:0 0 16px\">{}</h1>{paragraphs}{link}\
             <p style=\"color:#6b7280;font-size:13px;margin:24px 0 0\">Baton</p></div></body></html>",
            escape(self.subject)
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_sent_in_ascii() {
        assert_eq!(recipient("ada@münchen.example").unwrap().to_string(), "ada@xn--mnchen-3ya.example");
        assert_eq!(recipient("josé@example.org").unwrap().to_string(), "josé@example.org");
        // The database may contain such addresses from before the rule.
        for bad in ["john..doe@example.com", "ada", "ada@example.org\r\nBcc: eve@example.org"] {
            assert!(Permanent::is_cause_of(&recipient(bad).unwrap_err()), "{bad}");
        }
    }

    #[test]
    fn html_is_escaped() {
        let email = Email { subject: "<b>", paragraphs: &["\"x\" & y"], link: None };
        let html = email.html();
        assert!(html.contains("&lt;b&gt;") && html.contains("&quot;x&quot; &amp; y") && !html.contains("<b>"));
    }
}
