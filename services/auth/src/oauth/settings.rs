//! Which providers there are: `BATON_AUTH_PROVIDERS`.

use std::collections::HashSet;

use anyhow::{Context as _, ensure};
use baton_runtime::Secret;
use serde::Deserialize;
use url::Url;

use super::http;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// OpenID Connect.
    Oidc,
    /// OpenID Connect of Google.
    Google,
    /// OpenID Connect of Microsoft Entra, for the tenant that the issuer names; `common` is all of them.
    Microsoft,
    /// OAuth 2.0 and GitHub's own API.
    Github,
}

/// One provider, as it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// Of a GitHub Enterprise server, its address.
    #[serde(default)]
    issuer: Option<String>,
    /// Of GitHub only.
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// The providers that are switched on.
pub(super) fn parse(list: Option<&Secret>) -> anyhow::Result<Vec<Settings>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let list: Vec<Settings> = serde_json::from_str(list.expose())
        .map_err(|error| anyhow::anyhow!("line {}, column {}", error.line(), error.column()))
        .context("BATON_AUTH_PROVIDERS is not a JSON list of providers (services/auth/README.md shows one)")?;
    let mut names = HashSet::new();
    for settings in &list {
        let name = &settings.name;
        let fits = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure!(fits, "BATON_AUTH_PROVIDERS: a name is 1 to 32 lower-case letters, digits or '-'");
        ensure!(names.insert(name), "BATON_AUTH_PROVIDERS: {name} is there twice");
        ensure!(!settings.client_id.is_empty(), "BATON_AUTH_PROVIDERS: {name} has no client_id");
        ensure!(!settings.client_secret.is_empty(), "BATON_AUTH_PROVIDERS: {name} has no client_secret");
        ensure!(settings.kind != Kind::Oidc || settings.issuer.is_some(), "BATON_AUTH_PROVIDERS: {name} has no issuer");
        for text in [settings.issuer(), settings.api_url()] {
            let url: Url = text.parse().with_context(|| format!("BATON_AUTH_PROVIDERS: {name}: {text} is no URL"))?;
            ensure!(http::is_safe(&url), "BATON_AUTH_PROVIDERS: {name}: {text} is neither https nor on this machine");
        }
    }
    Ok(list.into_iter().filter(|settings| settings.enabled).collect())
}

impl Settings {
    /// The issuer, or its preset: as text, since that is how issuers are compared.
    pub(super) fn issuer(&self) -> &str {
        self.issuer.as_deref().unwrap_or(match self.kind {
            Kind::Google => "https://accounts.google.com",
            Kind::Microsoft => "https://login.microsoftonline.com/common/v2.0",
            Kind::Oidc | Kind::Github => "https://github.com",
        })
    }

    /// Where GitHub's API is.
    pub(super) fn api_url(&self) -> &str {
        self.api_url.as_deref().unwrap_or("https://api.github.com")
    }

    /// What is asked for, separated by spaces.
    pub(super) fn scopes(&self) -> String {
        match (&*self.scopes, self.kind) {
            ([], Kind::Github) => "read:user user:email".to_owned(),
            ([], _) => "openid email profile".to_owned(),
            (scopes, _) => scopes.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str) -> anyhow::Result<Vec<Settings>> {
        parse(Some(&Secret::new(list)))
    }

    #[test]
    fn presets_need_a_client_only_and_what_is_off_is_not_there() {
        let list = of(r#"[
            {"name": "google", "kind": "google", "client_id": "a", "client_secret": "b"},
            {"name": "off", "kind": "github", "client_id": "a", "client_secret": "b", "enabled": false}
        ]"#)
        .unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].issuer(), "https://accounts.google.com");
        assert_eq!(list[0].scopes(), "openid email profile");
        assert!(parse(None).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_work_is_told_at_start_without_the_secret() {
        for (list, told) in [
            ("{}", "not a JSON list"),
            (r#"[{"name": "x", "kind": "hunter2"}]"#, "not a JSON list"),
            (r#"[{"name": "X y", "kind": "google", "client_id": "a", "client_secret": "hunter2"}]"#, "a name is"),
            (r#"[{"name": "x", "kind": "oidc", "client_id": "a", "client_secret": "hunter2"}]"#, "no issuer"),
            (
                r#"[{"name": "x", "kind": "oidc", "issuer": "http://id.example", "client_id": "a", "client_secret": "hunter2"}]"#,
                "neither https",
            ),
            (
                r#"[{"name": "x", "kind": "google", "client_id": "a", "client_secret": "hunter2"},
                    {"name": "x", "kind": "google", "client_id": "a", "client_secret": "hunter2"}]"#,
                "twice",
            ),
        ] {
            let error = format!("{:#}", of(list).err().expect(list));
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
    }
}
