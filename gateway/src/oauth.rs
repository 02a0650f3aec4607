//! Sign-in with another provider in browsers: binds the callback to the browser that started the sign-in.
//!
//! The response that starts a sign-in contains a browser token. The gateway moves it into the cookie
//! `__Host-baton_oauth` (`Secure; HttpOnly; SameSite=Lax`, since the provider's page navigates back), and the callback
//! reads it from the cookie only. A callback link made by an attacker therefore signs nobody in to the attacker's
//! account (login CSRF, RFC 9700, section 4.7). A browser that navigates gets redirects instead of JSON: to the
//! provider, and after the callback to the page of the web app that it requested, with the refresh token in its cookie
//! (`cookies.rs`).

use std::borrow::Cow;

use axum::{body::Body, response::Response};
use baton_errors::Reason;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, LOCATION, SET_COOKIE},
    request::Parts,
};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use url::form_urlencoded;

use crate::{
    cookies::{self, Mode},
    problem::Problem,
    routes::Route,
};

const COOKIE: &str = "__Host-baton_oauth";
/// The field of requests and responses that the cookie replaces.
pub(crate) const FIELD: &str = "browser_token";
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether the route redirects browsers to a provider.
pub(crate) fn redirects_to_provider(route: &Route) -> bool {
    route.verb == Method::GET && route.method.output().get_field_by_name(FIELD).is_some()
}

/// Whether the route is a provider's callback.
fn is_callback(route: &Route) -> bool {
    route.method.input().get_field_by_name(FIELD).is_some()
}

/// Returns the query of a callback with known parameters only. A provider may add others (RFC 6749, section 4.1.2). The
/// browser token is removed too: it must come from the cookie.
pub(crate) fn known_query<'q>(route: &Route, query: &'q str) -> Cow<'q, str> {
    if !is_callback(route) {
        return query.into();
    }
    let known = |name: &str| name != FIELD && route.query.parameters().iter().any(|known| known.field.name() == name);
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| known(name));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into()
}

/// Sets the browser token of a callback from the cookie.
pub(crate) fn read_request(route: &Route, headers: &HeaderMap, request: &mut DynamicMessage) {
    if is_callback(route) {
        let token = cookies::cookie_value(headers, COOKIE).unwrap_or_default().to_owned();
        request.set_field_by_name(FIELD, Value::String(token));
    }
}

/// Cookie and redirect for a browser, beside the JSON response.
#[derive(Debug, Default)]
pub(crate) struct BrowserResponse {
    cookie: Option<HeaderValue>,
    /// The redirect, if any.
    redirect_to: Option<(StatusCode, HeaderValue)>,
}

/// Moves the browser token of a response into the cookie, and decides the redirect.
pub(crate) fn finish_response(
    route: &Route,
    parts: &Parts,
    message: &mut DynamicMessage,
) -> Result<BrowserResponse, Problem> {
    let text = |message: &DynamicMessage, field: &str| {
        message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let value = |text: String| HeaderValue::try_from(text).map_err(|_| Problem::from(Reason::Internal));
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    let mut response = BrowserResponse::default();
    if is_callback(route) {
        response.cookie = Some(value(format!("{COOKIE}=; {attributes}; Max-Age=0"))?);
        let redirect = url::Url::parse(&text(message, "redirect")).ok();
        let navigates = parts.headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate");
        if let Some(mut url) = redirect.filter(|_| navigates) {
            let token = text(message, "mfa_token");
            if !token.is_empty() {
                // A fragment is never sent to a server.
                url.set_fragment(Some(&format!("mfa_token={token}")));
            }
            response.redirect_to = Some((StatusCode::SEE_OTHER, value(url.into())?));
        }
    } else if message.descriptor().get_field_by_name(FIELD).is_some() {
        let seconds = message.get_field_by_name("expires_in").and_then(|seconds| seconds.as_i32()).unwrap_or_default();
        response.cookie = Some(value(format!("{COOKIE}={}; {attributes}; Max-Age={seconds}", text(message, FIELD)))?);
        message.clear_field_by_name(FIELD);
        if redirects_to_provider(route) {
            response.redirect_to = Some((StatusCode::FOUND, value(text(message, "authorization_url"))?));
        }
    }
    Ok(response)
}

impl BrowserResponse {
    /// How the response carries tokens: a browser that is redirected does not read JSON.
    pub(crate) fn mode(&self, route: &Route, asked: Mode) -> Mode {
        if self.redirect_to.is_some() && cookies::returns_token(route) { Mode::Cookie } else { asked }
    }

    /// Adds cookie and redirect to a response.
    pub(crate) fn apply(self, response: &mut Response) {
        if let Some(cookie) = self.cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if let Some((status, location)) = self.redirect_to {
            *response.status_mut() = status;
            response.headers_mut().insert(LOCATION, location);
            response.headers_mut().remove(CONTENT_TYPE);
            *response.body_mut() = Body::empty();
        }
    }
}
