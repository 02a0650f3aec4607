//! Texts of the service's e-mails, and their dispatch to the mail server.

use baton_mail::{Email, Mailer};
use baton_proto::baton::auth::v1::Contact;
use baton_text::{mail::quoted, person::full_name};

/// Sends an invitation.
///
/// # Errors
/// Those of the mail server.
pub(crate) async fn send_invitation(
    mailer: &Mailer,
    to: &str,
    account_name: &str,
    inviter: Option<&Contact>,
    token: &str,
) -> anyhow::Result<()> {
    let introduction = introduce(account_name, inviter);
    let email = Email {
        subject: "You are invited",
        paragraphs: &[
            "You are invited to an account at Baton, where teams share their work.",
            &introduction,
            "Sign in, or register with this address, and accept the invitation. The link works for 14 days.",
            "If you do not know who invited you, ignore this mail.",
        ],
        link: Some(("Accept the invitation", mailer.link("/accept-invitation", token))),
    };
    mailer.send(to, &email).await
}

/// Names the account and the inviter, with as little user-written text as possible: the recipient knows neither, and
/// trusts the e-mail because Baton sends it.
fn introduce(account: &str, inviter: Option<&Contact>) -> String {
    let account = Some(quoted(account)).filter(|name| !name.is_empty());
    let person = inviter.map(|by| quoted(&full_name(&by.first_name, &by.last_name))).filter(|name| !name.is_empty());
    let account = account.map(|name| format!("Its name is {name}."));
    let person = person.map(|name| format!("The person who invites you goes by {name}."));
    [account, person].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invitations_contain_no_user_written_links() {
        let inviter = Contact {
            first_name: "http://evil.example".to_owned(),
            email: "pay@evil.example".to_owned(),
            ..Contact::default()
        };
        let introduction = introduce("You won. www.evil.example", Some(&inviter));
        assert_eq!(
            introduction,
            "Its name is “You won www evil example”. The person who invites you goes by “http evil example”."
        );
        let suharto = Contact { first_name: "Suharto".to_owned(), ..Contact::default() };
        assert_eq!(
            introduce("Acme", Some(&suharto)),
            "Its name is “Acme”. The person who invites you goes by “Suharto”."
        );
        assert_eq!(introduce("Acme", None), "Its name is “Acme”.");
    }
}
