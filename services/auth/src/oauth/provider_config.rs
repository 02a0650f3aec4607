//! Configuration of the providers: `BATON_AUTH_PROVIDERS`.

use std::collections::HashSet;

use anyhow::{Context as _, ensure};
use baton_runtime::Secret;
use serde::Deserialize;
use url::Url;

use super::http;

/// Kind of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProviderKind {
    /// OpenID Connect.
    Oidc,
    /// OpenID Connect with Google's issuer.
    Google,
    /// OpenID Connect with Microsoft Entra, for the tenant in the issuer; `common` stands for all.
    Microsoft,
    /// OAuth 2.0 with GitHub's API.
    Github,
}

/// Configuration of one provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderConfig {
    pub(super) name: String,
    pub(super) kind: ProviderKind,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// The issuer. For a GitHub Enterprise server it is the server's URL.
    #[serde(default)]
    issuer: Option<String>,
    /// For GitHub only.
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default = "enabled_by_default")]
    enabled: bool,
}

fn enabled_by_default() -> bool {
    true
}

/// Parses the list and returns the enabled providers.
///
/// # Errors
/// When the list is invalid. The error holds no secret.
pub(super) fn parse(list: Option<&Secret>) -> anyhow::Result<Vec<ProviderConfig>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let list: Vec<ProviderConfig> = serde_json::from_str(list.expose())
        .map_err(|error| anyhow::anyhow!("line {}, column {}", error.line(), error.column()))
        .context("BATON_AUTH_PROVIDERS is not a JSON list of providers (services/auth/README.md shows one)")?;
    let mut names = HashSet::new();
    for config in &list {
        let name = &config.name;
        let fits = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure!(fits, "BATON_AUTH_PROVIDERS: a name must be 1 to 32 lower-case letters, digits or '-'");
        ensure!(names.insert(name), "BATON_AUTH_PROVIDERS: {name} is defined twice");
        ensure!(!config.client_id.is_empty(), "BATON_AUTH_PROVIDERS: {name} has no client_id");
        ensure!(!config.client_secret.is_empty(), "BATON_AUTH_PROVIDERS: {name} has no client_secret");
        ensure!(
            config.kind != ProviderKind::Oidc || config.issuer.is_some(),
            "BATON_AUTH_PROVIDERS: {name} has no issuer"
        );
        for text in [config.issuer(), config.api_url()] {
            let url: Url =
                text.parse().with_context(|| format!("BATON_AUTH_PROVIDERS: {name}: {text} is not a URL"))?;
            ensure!(http::is_safe(&url), "BATON_AUTH_PROVIDERS: {name}: {text} is neither https nor on this machine");
        }
    }
    Ok(list.into_iter().filter(|config| config.enabled).collect())
}

impl ProviderConfig {
    /// Returns the issuer or its preset, as text, since issuers are compared as text.
    pub(super) fn issuer(&self) -> &str {
        self.issuer.as_deref().unwrap_or(match self.kind {
            ProviderKind::Google => "https://accounts.google.com",
            ProviderKind::Microsoft => "https://login.microsoftonline.com/common/v2.0",
            ProviderKind::Oidc | ProviderKind::Github => "https://github.com",
        })
    }

    /// Returns the URL of GitHub's API.
    pub(super) fn api_url(&self) -> &str {
        self.api_url.as_deref().unwrap_or("https://api.github.com")
    }

    /// Returns the requested scopes, separated by spaces.
    pub(super) fn scopes(&self) -> String {
        match (&*self.scopes, self.kind) {
            ([], ProviderKind::Github) => "read:user user:email".to_owned(),
            ([], _) => "openid email profile".to_owned(),
            (scopes, _) => scopes.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str) -> anyhow::Result<Vec<ProviderConfig>> {
        parse(Some(&Secret::new(list)))
    }

    #[test]
    fn presets_need_only_a_client_and_disabled_providers_are_left_out() {
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
    fn invalid_config_is_refused_without_naming_secrets() {
        for (list, expected) in [
            ("{}", "not a JSON list"),
            (r#"[{"name": "x", "kind": "hunter2"}]"#, "not a JSON list"),
            (r#"[{"name": "X y", "kind": "google", "client_id": "a", "client_secret": "hunter2"}]"#, "a name must be"),
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
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
