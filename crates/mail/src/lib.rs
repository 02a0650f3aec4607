//! Mails to people, over SMTP.
//!
//! In production the URL names a relay (`smtps://user:password@host`); in embedded mode it names the dev
//! mailbox that `baton up` runs, which speaks SMTP too, so there is one code path.

use std::time::Duration;

use anyhow::{Context, anyhow};
use baton_runtime::{Permanent, Secret};
use baton_text::email;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};

baton_runtime::config! {
    /// How mail goes out.
    pub struct MailConfig {
        /// SMTP server: `smtp://host:port` for a trusted network, `smtps://user:password@host` elsewhere.
        pub smtp_url: Secret = "BATON_SMTP_URL";
        /// Sender of all mails.
        pub from: String = "BATON_MAIL_FROM", default "Baton <no-reply@baton.localhost>";
        /// Where the links in mails lead: the address of the web app, without a slash at its end.
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

/// What a mail says: a heading, sentences, and one thing to follow.
#[derive(Debug, Clone)]
pub struct Email<'a> {
    /// Subject line and heading.
    pub subject: &'a str,
    /// Sentences before the link.
    pub paragraphs: &'a [&'a str],
    /// Words on the link, and where it leads.
    pub link: Option<(&'a str, url::Url)>,
}

impl Mailer {
    /// Prepares to send; connects when first used.
    ///
    /// # Errors
    /// When the URL or the sender does not parse.
    pub fn new(config: &MailConfig) -> anyhow::Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.smtp_url.expose())
            .context("BATON_SMTP_URL is not a URL such as smtps://user:password@mail.example.org")?
            .timeout(Some(Duration::from_secs(20)))
            .build();
        let from =
            config.from.parse().context("BATON_MAIL_FROM is not a sender such as Baton <no-reply@example.org>")?;
        Ok(Self { transport, from, link_base: config.link_base.clone() })
    }

    /// The address of a page of the web app, with a token.
    pub fn link(&self, path: &str, token: &str) -> url::Url {
        let mut url = self.link_base.clone();
        url.set_path(path);
        url.query_pairs_mut().clear().append_pair("token", token);
        url
    }

    /// Sends a letter. An international domain is sent in ASCII (IDNA); an international local part needs a server that
    /// announces SMTPUTF8 (RFC 6531).
    ///
    /// # Errors
    /// When the address is none, or the server does not take the mail. The error names neither address
    /// nor contents. It is [`Permanent`] when no repetition can succeed: the address is none, the server refused this mail
    /// for good (5yz), or it cannot take such an address.
    pub async fn send(&self, to: &str, letter: &Email<'_>) -> anyhow::Result<()> {
        let to = recipient(to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .multipart(MultiPart::alternative_plain_html(letter.text(), letter.html()))?;
        let Err(error) = self.transport.send(message).await else { return Ok(()) };
        let is_final = error.is_permanent() || error.is_client();
        // What the server says may repeat the address: only its code is told.
        let failure = match error.status() {
            Some(code) => anyhow!("the SMTP server did not take a mail: {code}"),
            None if error.is_client() => anyhow!("the SMTP server cannot take a mail to such an address"),
            None => anyhow::Error::from(error).context("the SMTP server cannot be reached"),
        };
        // 5yz may also mean that the server turns us away altogether, by a wrong password for instance. That is mended by
        // an operator, and the mail goes out then.
        if is_final && self.transport.test_connection().await.is_ok_and(|connected| connected) {
            return Err(failure.context(Permanent("this mail can never be delivered")));
        }
        Err(failure)
    }
}

/// The address as lettre has it, with its domain in ASCII.
fn recipient(to: &str) -> anyhow::Result<Address> {
    const NONE: Permanent = Permanent("the recipient's address is none");
    let address: email::Address = to.parse().map_err(|_| NONE)?;
    Ok(address.for_smtp().parse().map_err(|_| NONE)?)
}

impl Email<'_> {
    fn text(&self) -> String {
        let mut text = self.paragraphs.join("\n\n");
        if let Some((words, url)) = &self.link {
            text.push_str(&format!("\n\n{words}:\n{url}"));
        }
        text.push_str("\n\nBaton\n");
        text
    }

    fn html(&self) -> String {
        let paragraphs: String = self.paragraphs.iter().map(|p| format!("<p>{}</p>", escape(p))).collect();
        let link = self.link.as_ref().map_or_else(String::new, |(words, url)| {
            format!(
                "<p style=\"margin:28px 0\"><a href=\"{}\" style=\"background:#1f4fd8;color:#ffffff;padding:12px 20px;\
                 border-radius:6px;text-decoration:none;font-weight:600\">{}</a></p>",
                escape(url.as_str()),
                escape(words)
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
    fn addresses_are_sent_as_servers_know_them() {
        assert_eq!(recipient("ada@münchen.example").unwrap().to_string(), "ada@xn--mnchen-3ya.example");
        assert_eq!(recipient("josé@example.org").unwrap().to_string(), "josé@example.org");
        // What may be in the database from before there was a rule.
        for bad in ["john..doe@example.com", "ada", "ada@example.org\r\nBcc: eve@example.org"] {
            assert!(Permanent::is_cause_of(&recipient(bad).unwrap_err()), "{bad}");
        }
    }

    #[test]
    fn what_people_wrote_is_escaped() {
        let letter = Email { subject: "<b>", paragraphs: &["\"x\" & y"], link: None };
        let html = letter.html();
        assert!(html.contains("&lt;b&gt;") && html.contains("&quot;x&quot; &amp; y") && !html.contains("<b>"));
    }
}
