//! Browser sessions: the refresh token in a cookie that no script can read.
//!
//! If a page sends `X-Baton-Session: cookie` with a call that returns a refresh token, the token becomes the cookie
//! `__Host-baton_refresh` (`Secure; HttpOnly; SameSite=Strict`) and is removed from the JSON. Calls that take a refresh
//! token then read it from the cookie if the body has none. Access tokens stay in the `Authorization` header, so these
//! are the only calls that depend on a cookie, and the only ones that another site's page could forge. The protection,
//! in this order (OWASP, Cross-Site Request Forgery Prevention):
//!
//! - The cookie is `SameSite=Strict`, and `__Host-` keeps other hosts from setting it.
//! - `Origin` and `Sec-Fetch-Site` must name this host or a configured CORS origin.
//! - `X-CSRF-Token` must be the value of the readable cookie `__Host-baton_csrf`: an HMAC keyed with the refresh token.
//!   Only a page that can read the cookie can send it, and it is valid for this session only. The gateway needs no key
//!   and no state: each new refresh token has a new CSRF token.
//!
//! Pages of allowed origins on other hosts cannot read the cookie; they read the response header `X-CSRF-Token`.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_errors::Reason;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, ORIGIN, SET_COOKIE},
    request::Parts,
};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use crate::{config::Config, problem::Problem, routes::Route, same_origin};

/// `cookie` requests a browser session.
pub(crate) const X_BATON_SESSION: HeaderName = HeaderName::from_static("x-baton-session");
/// Proves that the page can read the CSRF cookie.
pub(crate) const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REFRESH_COOKIE: &str = "__Host-baton_refresh";
const CSRF_COOKIE: &str = "__Host-baton_csrf";
/// The field of requests and responses that the cookie replaces.
const FIELD: &str = "refresh_token";
/// Lifetime of a session without a refresh.
const MAX_AGE_SECONDS: u32 = 30 * 86_400;
/// The message of the CSRF token's HMAC.
const CSRF_MESSAGE: &[u8] = b"baton csrf";

/// Where a call carries the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In the body, as for clients that are not browsers.
    Body,
    /// In the cookie.
    Cookie,
}

/// Sets the refresh token from the cookie if the body has none, and returns where the response carries it.
pub(crate) fn read_request(
    route: &Route,
    parts: &Parts,
    config: &Config,
    request: &mut DynamicMessage,
) -> Result<Mode, Problem> {
    let takes = takes_token(route);
    if !takes && !returns_token(route) {
        return Ok(Mode::Body);
    }
    let asked = match parts.headers.get(X_BATON_SESSION).map(HeaderValue::as_bytes) {
        None => false,
        Some(b"cookie") => true,
        Some(_) => return Err(Problem::field(X_BATON_SESSION.as_str(), "must be `cookie` or absent")),
    };
    let in_body = request.get_field_by_name(FIELD).is_some_and(|token| token.as_str().is_some_and(|t| !t.is_empty()));
    let cookie = if takes && !in_body { cookie_value(&parts.headers, REFRESH_COOKIE) } else { None };
    if !asked && cookie.is_none() {
        return Ok(Mode::Body);
    }
    if !is_allowed_origin(parts, config) {
        return Err(Reason::OriginNotAllowed.into());
    }
    match cookie {
        Some(token) => {
            check_csrf(&parts.headers, token)?;
            request.set_field_by_name(FIELD, Value::String(token.to_owned()));
        }
        None if takes && !in_body => {
            return Err(Problem::new(Reason::TokenInvalid, "the refresh token cookie is missing; sign in"));
        }
        None => {}
    }
    Ok(Mode::Cookie)
}

/// Moves the refresh token of a response into cookies, and returns their headers. A call that takes a refresh token and
/// returns none has ended the session: the cookies are deleted.
pub(crate) fn finish_response(route: &Route, mode: Mode, message: &mut DynamicMessage) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    if mode == Mode::Body {
        return Ok(headers);
    }
    let (token, csrf, seconds) = if returns_token(route) {
        let token = message.get_field_by_name(FIELD).and_then(|token| token.as_str().map(str::to_owned));
        // Absent while a second factor is pending.
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(headers) };
        message.clear_field_by_name(FIELD);
        let csrf = URL_SAFE_NO_PAD.encode(hmac::sign(&csrf_key(&token), CSRF_MESSAGE));
        (token, csrf, MAX_AGE_SECONDS)
    } else {
        (String::new(), String::new(), 0)
    };
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Problem::from(Reason::Internal));
    let attributes = format!("Path=/; Secure; SameSite=Strict; Max-Age={seconds}");
    headers.append(SET_COOKIE, value(&format!("{REFRESH_COOKIE}={token}; HttpOnly; {attributes}"))?);
    headers.append(SET_COOKIE, value(&format!("{CSRF_COOKIE}={csrf}; {attributes}"))?);
    if !csrf.is_empty() {
        headers.insert(X_CSRF_TOKEN, value(&csrf)?);
    }
    Ok(headers)
}

/// Whether the route's request has a refresh token.
pub(crate) fn takes_token(route: &Route) -> bool {
    has_field(&route.method.input())
}

/// Whether the route's response has a refresh token.
pub(crate) fn returns_token(route: &Route) -> bool {
    has_field(&route.method.output())
}

fn has_field(message: &MessageDescriptor) -> bool {
    message.get_field_by_name(FIELD).is_some_and(|field| field.kind() == Kind::String && !field.is_list())
}

/// Returns the value of a cookie. Two cookies of this name are ambiguous, and none is returned.
pub(crate) fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

/// Whether the page is of this host or of a configured origin. Requests without both headers are refused: all browsers
/// with `SameSite` send one.
fn is_allowed_origin(parts: &Parts, config: &Config) -> bool {
    let text = |name: &HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (origin, site) = (text(&ORIGIN), text(&SEC_FETCH_SITE));
    match (origin, site) {
        (None, site) => site == Some("same-origin"),
        // `*` matches no origin here.
        (Some(origin), _) if config.cors_origins.iter().any(|allowed| allowed == origin) => true,
        (Some(origin), site) => {
            let public = config.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
            let own = same_origin::is_same_origin(origin, &parts.uri, &parts.headers)
                || public.is_some_and(|url| url.origin().ascii_serialization() == origin);
            own && site.is_none_or(|site| site == "same-origin")
        }
    }
}

fn check_csrf(headers: &HeaderMap, token: &str) -> Result<(), Problem> {
    let mut sent = headers.get_all(X_CSRF_TOKEN).iter();
    let only = sent.next().ok_or_else(|| Problem::from(Reason::CsrfTokenMissing))?;
    let tag = URL_SAFE_NO_PAD.decode(only.as_bytes()).unwrap_or_default();
    // Compared in constant time.
    let is_valid = hmac::verify(&csrf_key(token), CSRF_MESSAGE, &tag).is_ok() && sent.next().is_none();
    if is_valid { Ok(()) } else { Err(Reason::CsrfTokenInvalid.into()) }
}

/// The HMAC key: the refresh token has 256 random bits.
fn csrf_key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

#[cfg(test)]
mod tests;
