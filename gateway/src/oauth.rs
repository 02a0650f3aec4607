//! Sign-in by another provider, for browsers: what begins there comes back here, to the same browser.
//!
//! The answer that begins it has a browser token. Here it becomes the cookie `__Host-baton_oauth` (`Secure;
//! HttpOnly; SameSite=Lax`, since the provider's page leads back), and the callback takes it from there and from
//! nowhere else: a link that somebody else made signs nobody in to that somebody's account (login CSRF, RFC 9700,
//! section 4.7). A browser that navigates is sent on instead of shown JSON: to the provider, and in the end to the
//! page of the web app that it asked for, with the refresh token in its cookie (`cookies.rs`).

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
/// The field of requests and answers that the cookie stands for.
pub(crate) const FIELD: &str = "browser_token";
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether the route sends browsers to a provider.
pub(crate) fn redirects_to_provider(route: &Route) -> bool {
    route.verb == Method::GET && route.method.output().get_field_by_name(FIELD).is_some()
}

/// Whether browsers come back from a provider to the route.
fn is_callback(route: &Route) -> bool {
    route.method.input().get_field_by_name(FIELD).is_some()
}

/// The query of a request. A provider's answer may have parameters that nobody asked for (RFC 6749, section 4.1.2);
/// they are left out. So is a browser token: that comes from the cookie.
pub(crate) fn known_query<'q>(route: &Route, query: &'q str) -> Cow<'q, str> {
    if !is_callback(route) {
        return query.into();
    }
    let known = |name: &str| name != FIELD && route.query.parameters().iter().any(|known| known.field.name() == name);
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| known(name));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into()
}

/// Says in a callback which browser it is.
pub(crate) fn read_request(route: &Route, headers: &HeaderMap, request: &mut DynamicMessage) {
    if is_callback(route) {
        let token = cookies::cookie_value(headers, COOKIE).unwrap_or_default().to_owned();
        request.set_field_by_name(FIELD, Value::String(token));
    }
}

/// What an answer means to a browser, beside its JSON.
#[derive(Debug, Default)]
pub(crate) struct BrowserResponse {
    cookie: Option<HeaderValue>,
    /// Where the browser is sent.
    redirect_to: Option<(StatusCode, HeaderValue)>,
}

/// Takes the browser token out of an answer that begins a sign-in, and says where a browser goes on.
pub(crate) fn finish_response(
    route: &Route,
    parts: &Parts,
    answer: &mut DynamicMessage,
) -> Result<BrowserResponse, Problem> {
    let text = |answer: &DynamicMessage, field: &str| {
        answer.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let value = |text: String| HeaderValue::try_from(text).map_err(|_| Problem::from(Reason::Internal));
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    let mut response = BrowserResponse::default();
    if is_callback(route) {
        response.cookie = Some(value(format!("{COOKIE}=; {attributes}; Max-Age=0"))?);
        let redirect = url::Url::parse(&text(answer, "redirect")).ok();
        let navigates = parts.headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate");
        if let Some(mut url) = redirect.filter(|_| navigates) {
            let token = text(answer, "mfa_token");
            if !token.is_empty() {
                // Behind the `#`, it is sent to no server.
                url.set_fragment(Some(&format!("mfa_token={token}")));
            }
            response.redirect_to = Some((StatusCode::SEE_OTHER, value(url.into())?));
        }
    } else if answer.descriptor().get_field_by_name(FIELD).is_some() {
        let seconds = answer.get_field_by_name("expires_in").and_then(|seconds| seconds.as_i32()).unwrap_or_default();
        response.cookie = Some(value(format!("{COOKIE}={}; {attributes}; Max-Age={seconds}", text(answer, FIELD)))?);
        answer.clear_field_by_name(FIELD);
        if redirects_to_provider(route) {
            response.redirect_to = Some((StatusCode::FOUND, value(text(answer, "authorization_url"))?));
        }
    }
    Ok(response)
}

impl BrowserResponse {
    /// How the tokens of the answer are given: a browser that is sent on reads no JSON.
    pub(crate) fn mode(&self, route: &Route, asked: Mode) -> Mode {
        if self.redirect_to.is_some() && cookies::returns_token(route) { Mode::Cookie } else { asked }
    }

    /// Adds what the browser needs to an answer.
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
