use baton_runtime::Env;
use http::{Method, Request, header::HOST};
use prost_reflect::DynamicMessage;

use super::*;
use crate::routes::routes;

const TOKEN: &str = "c2VjcmV0LXJlZnJlc2gtdG9rZW4";

fn route(rpc: &str) -> Route {
    routes().unwrap().into_iter().find(|route| route.method.full_name() == rpc).unwrap()
}

fn refresh_route() -> Route {
    route("baton.auth.v1.AuthService.Refresh")
}

fn config(origins: &str) -> Config {
    let urls = ["AUTH", "TENANCY", "TASK", "NOTIFICATION"].map(|name| (format!("BATON_{name}_URL"), "http://x".into()));
    let mut env: Env = urls.into_iter().collect::<Vec<(String, String)>>().into_iter().collect();
    env.set("BATON_REDIS_URL", "redis://x");
    env.set("BATON_GATEWAY_SERVICE_SECRET", "secret");
    env.set("BATON_GATEWAY_CORS_ORIGINS", origins);
    Config::from_env(&env).unwrap()
}

fn csrf() -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&csrf_key(TOKEN), CSRF_MESSAGE))
}

/// A call with cookie from an allowed page, with some headers added, changed, or (if empty) removed.
fn call(changes: &[(&str, &str)]) -> Parts {
    let cookie = format!("theme=dark; {REFRESH_COOKIE}={TOKEN}");
    let csrf = csrf();
    let mut headers =
        vec![("host", "baton.example"), ("origin", "https://baton.example"), ("sec-fetch-site", "same-origin")];
    headers.extend([("cookie", &*cookie), ("x-csrf-token", &*csrf)]);
    headers.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    headers.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let mut request = Request::builder().method(Method::POST).uri("/v1/auth/refresh");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read_request_at(route: &Route, parts: &Parts, origins: &str) -> Result<(Mode, String), String> {
    let mut request = DynamicMessage::new(route.method.input());
    let mode =
        read_request(route, parts, &config(origins), &mut request).map_err(|problem| problem.reason().to_owned())?;
    let token = request.get_field_by_name(FIELD).map(|token| token.as_str().unwrap().to_owned());
    Ok((mode, token.unwrap_or_default()))
}

#[test]
fn the_cookie_needs_its_csrf_token_and_an_allowed_origin() {
    let route = refresh_route();
    let accepted = Ok((Mode::Cookie, TOKEN.to_owned()));
    assert_eq!(read_request_at(&route, &call(&[]), ""), accepted, "the control");
    assert_eq!(read_request_at(&route, &call(&[("sec-fetch-site", "")]), ""), accepted, "an older browser");
    assert_eq!(read_request_at(&route, &call(&[("origin", "")]), ""), accepted, "Sec-Fetch-Site is enough");
    let app = [("origin", "https://app.baton.example"), ("sec-fetch-site", "same-site")];
    assert_eq!(read_request_at(&route, &call(&app), "https://app.baton.example"), accepted, "a configured origin");

    let other = URL_SAFE_NO_PAD.encode(hmac::sign(&csrf_key("another session's"), CSRF_MESSAGE));
    for (case, changes, reason) in [
        ("no CSRF token", vec![("x-csrf-token", "")], "CSRF_TOKEN_MISSING"),
        ("an invalid CSRF token", vec![("x-csrf-token", "AAAA")], "CSRF_TOKEN_INVALID"),
        ("not base64", vec![("x-csrf-token", "!")], "CSRF_TOKEN_INVALID"),
        ("the CSRF token of another session", vec![("x-csrf-token", &*other)], "CSRF_TOKEN_INVALID"),
        ("the refresh token itself", vec![("x-csrf-token", TOKEN)], "CSRF_TOKEN_INVALID"),
        (
            "another site",
            vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
            "ORIGIN_NOT_ALLOWED",
        ),
        (
            "another site, older browser",
            vec![("origin", "https://evil.example"), ("sec-fetch-site", "")],
            "ORIGIN_NOT_ALLOWED",
        ),
        ("a sandboxed frame", vec![("origin", "null")], "ORIGIN_NOT_ALLOWED"),
        ("our origin with another site", vec![("sec-fetch-site", "cross-site")], "ORIGIN_NOT_ALLOWED"),
        (
            "a sibling host",
            vec![("origin", "https://app.baton.example"), ("sec-fetch-site", "same-site")],
            "ORIGIN_NOT_ALLOWED",
        ),
        ("neither header", vec![("origin", ""), ("sec-fetch-site", "")], "ORIGIN_NOT_ALLOWED"),
        ("the address bar", vec![("origin", ""), ("sec-fetch-site", "none")], "ORIGIN_NOT_ALLOWED"),
    ] {
        for origins in ["", "*"] {
            assert_eq!(read_request_at(&route, &call(&changes), origins), Err(reason.to_owned()), "{case}");
        }
    }
}

#[test]
fn without_a_cookie_the_body_is_used_unless_a_browser_session_is_requested() {
    let route = refresh_route();
    let none = Ok((Mode::Body, String::new()));
    assert_eq!(read_request_at(&route, &call(&[("cookie", "")]), ""), none);
    assert_eq!(read_request_at(&route, &call(&[("cookie", "__Host-baton_refresh=")]), ""), none);
    let twice = format!("{REFRESH_COOKIE}={TOKEN}; {REFRESH_COOKIE}=another");
    assert_eq!(read_request_at(&route, &call(&[("cookie", &twice)]), ""), none, "two cookies are none");
    let asked = call(&[("cookie", ""), ("x-baton-session", "cookie")]);
    assert_eq!(read_request_at(&route, &asked, ""), Err("TOKEN_INVALID".to_owned()));
    let wrong = call(&[("x-baton-session", "yes")]);
    assert_eq!(read_request_at(&route, &wrong, ""), Err("VALIDATION_FAILED".to_owned()));
    // Calls without a refresh token do not depend on cookies.
    let me = self::route("baton.auth.v1.UserService.GetMe");
    assert_eq!(read_request_at(&me, &call(&[("origin", "https://evil.example")]), ""), none);
}

#[test]
fn a_page_of_another_site_cannot_sign_its_visitor_in() {
    let login = route("baton.auth.v1.AuthService.Login");
    let asked = ("x-baton-session", "cookie");
    assert_eq!(read_request_at(&login, &call(&[asked]), "").unwrap().0, Mode::Cookie);
    let evil = call(&[asked, ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]);
    assert_eq!(read_request_at(&login, &evil, "*"), Err("ORIGIN_NOT_ALLOWED".to_owned()));
}

#[test]
fn the_token_of_a_response_moves_into_the_cookie() {
    let route = refresh_route();
    let mut message = DynamicMessage::new(route.method.output());
    message.set_field_by_name(FIELD, Value::String(TOKEN.to_owned()));
    let mut untouched = message.clone();
    assert!(finish_response(&route, Mode::Body, &mut untouched).unwrap().is_empty());
    assert_eq!(untouched, message);

    let headers = finish_response(&route, Mode::Cookie, &mut message).unwrap();
    assert!(!message.has_field_by_name(FIELD));
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
    let csrf = csrf();
    assert_eq!(
        cookies,
        [
            format!("{REFRESH_COOKIE}={TOKEN}; HttpOnly; Path=/; Secure; SameSite=Strict; Max-Age=2592000"),
            format!("{CSRF_COOKIE}={csrf}; Path=/; Secure; SameSite=Strict; Max-Age=2592000"),
        ]
    );
    assert_eq!(headers[X_CSRF_TOKEN], csrf);

    let logout = self::route("baton.auth.v1.AuthService.Logout");
    let headers = finish_response(&logout, Mode::Cookie, &mut DynamicMessage::new(logout.method.output())).unwrap();
    assert!(headers.get_all(SET_COOKIE).iter().all(|cookie| cookie.to_str().unwrap().ends_with("Max-Age=0")));
    assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 2);
}

#[test]
fn the_host_of_the_uri_is_used_over_http_2() {
    let mut parts = call(&[("host", "")]);
    parts.headers.remove(HOST);
    parts.uri = "https://baton.example/v1/auth/refresh".parse().unwrap();
    assert!(read_request_at(&refresh_route(), &parts, "").is_ok());
}
