//! Sessions: browsers, devices, refresh, throttling.

use baton_tests::{PASSWORD, Platform, RestResponse, eventually};
use serde_json::{Value, json};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";

fn cookie(response: &RestResponse, name: &str) -> String {
    let cookies = response.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let (name, found) = (format!("{name}="), cookies.filter(|cookie| cookie.contains("Secure")));
    let found: Vec<_> = found.filter_map(|cookie| cookie.strip_prefix(&*name)?.split(';').next()).collect();
    assert_eq!(found.len(), 1, "{name} is set once: {:?}", response.headers);
    found[0].to_owned()
}

/// A page in a browser, with its cookies and request headers.
struct Page<'a> {
    platform: &'a Platform,
    refresh: String,
    csrf: String,
}

impl Page<'_> {
    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> RestResponse {
        let kept = format!("__Host-baton_refresh={}; __Host-baton_csrf={}", self.refresh, self.csrf);
        let url = self.platform.url();
        let all = [("cookie", &*kept), ("origin", &*url), ("sec-fetch-site", "same-origin"), ("user-agent", FIREFOX)];
        let mut call = self.platform.rest().post(path, &json!({}));
        for (name, value) in all.iter().filter(|(name, _)| !headers.iter().any(|(changed, _)| changed == name)) {
            call = call.header(name, value);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            call = call.header(name, value);
        }
        call.send().await
    }

    fn keep(&mut self, response: &RestResponse) {
        self.refresh = cookie(response, "__Host-baton_refresh");
        self.csrf = cookie(response, "__Host-baton_csrf");
    }
}

/// OWASP, Cross-Site Request Forgery Prevention; ASVS 5.0, 3.3 and 3.5.1.
#[tokio::test]
async fn browser_refresh_token_is_in_an_http_only_cookie() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let login = json!({"email": ada.email, "password": PASSWORD});
    let ours = platform.url();
    let sign_in = |origin: &str| {
        let call = platform.rest().post("/v1/auth/login", &login);
        call.header("x-baton-session", "cookie").header("origin", origin)
    };
    sign_in("https://evil.example").refused(403, "ORIGIN_NOT_ALLOWED").await;
    let response = sign_in(&ours).send().await;
    assert_eq!((response.status, &response.json()["refresh_token"]), (200, &Value::Null), "{}", response.text);
    for cookie in response.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()) {
        assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure; SameSite=Strict"), "{cookie}");
        assert!(cookie.contains("; Path=/") && !cookie.contains("Domain"), "{cookie}");
        assert_eq!(cookie.contains("HttpOnly"), cookie.contains("baton_refresh"), "{cookie}");
    }
    assert_eq!(response.header("cache-control"), "no-store");
    let mut page = Page { platform: &platform, refresh: String::new(), csrf: String::new() };
    page.keep(&response);
    assert_eq!(response.header("x-csrf-token"), page.csrf);
    assert!(!response.text.contains(&page.refresh));

    // A cross-site page can make a browser send the cookie, but neither the CSRF token nor the right origin.
    let evil = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
        page.post(path, &[]).await.refused(403, "CSRF_TOKEN_MISSING");
        page.post(path, &[("x-csrf-token", "guessed")]).await.refused(403, "CSRF_TOKEN_INVALID");
        page.post(path, &evil).await.refused(403, "ORIGIN_NOT_ALLOWED");
        page.post(path, &[evil[0], evil[1], ("x-csrf-token", &page.csrf)]).await.refused(403, "ORIGIN_NOT_ALLOWED");
    }
    // The session is still valid: none of these requests has used its token.
    let response = page.post("/v1/auth/refresh", &[("x-csrf-token", &page.csrf)]).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let token = response.json()["access_token"].as_str().unwrap().to_owned();
    let old = page.csrf.clone();
    page.keep(&response);
    assert!(!response.text.contains(&page.refresh) && page.csrf != old);
    page.post("/v1/auth/refresh", &[("x-csrf-token", &old)]).await.refused(403, "CSRF_TOKEN_INVALID");

    let signed_in = platform.rest().with_token(&token);
    signed_in.get("/v1/users/me").ok().await;
    // A cookie does not replace an access token.
    page.post("/v1/users/me/deactivate", &[("x-csrf-token", &page.csrf)]).await.refused(401, "TOKEN_MISSING");

    let response = page.post("/v1/auth/logout", &[("x-csrf-token", &page.csrf)]).await;
    assert_eq!(response.status, 200, "{}", response.text);
    page.keep(&response);
    assert_eq!((page.refresh.as_str(), page.csrf.as_str()), ("", ""), "the cookies are gone");
    eventually("the session has ended", || async {
        (signed_in.get("/v1/users/me").send().await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn user_lists_and_closes_their_sessions() {
    let platform = Platform::start().await;
    let here = platform.person("ada").await;
    let login = json!({"email": here.email, "password": PASSWORD});
    let laptop = platform.rest().post("/v1/auth/login", &login).header("user-agent", FIREFOX).ok().await;
    let laptop = platform.rest().with_token(laptop["access_token"].as_str().unwrap());
    let third = platform.sign_in(&here.email).await;

    let list = here.get("/v1/auth/sessions").ok().await;
    assert_eq!(list["meta"]["total_count"], 3, "{list}");
    let session = &list["sessions"][1];
    assert_eq!((&session["device"], &session["address"]), (&json!("Firefox on Linux"), &json!("127.0.0.1")));
    assert_eq!((&session["current"], &list["sessions"][2]["current"]), (&json!(false), &json!(true)), "{list}");
    assert_eq!(session["amr"], json!(["pwd"]));

    let path = format!("/v1/auth/sessions/{}", session["id"].as_str().unwrap());
    let ben = platform.person("ben").await;
    ben.delete(&path).refused(404, "SESSION_NOT_FOUND").await;
    laptop.get("/v1/users/me").ok().await;
    here.delete(&path).ok().await;
    let ended = std::time::Instant::now();
    eventually("the laptop is signed out", || async {
        (laptop.get("/v1/users/me").send().await.status == 401).then_some(())
    })
    .await;
    assert!(ended.elapsed().as_millis() < 1500, "within a second: {:?}", ended.elapsed());

    assert_eq!(here.delete("/v1/auth/sessions").ok().await["revoked_count"], 1);
    eventually("all others are signed out", || async {
        (third.get("/v1/users/me").send().await.status == 401).then_some(())
    })
    .await;
    here.get("/v1/users/me").ok().await;

    let events = here.get("/v1/auth/events?per_page=2").ok().await;
    assert_eq!(events["events"][0]["kind"], "session_revoked", "{events}");
    assert_eq!(events["meta"]["total_count"], 5, "{events}");
    let mails = platform.rest().get(&format!("/dev/mailbox?to={}", here.email)).ok().await;
    assert!(mails.to_string().contains("New sign-in to Baton"), "{mails}");
}

#[tokio::test]
async fn twenty_concurrent_refreshes_keep_the_session() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let refresh = |token: &str| platform.rest().post("/v1/auth/refresh", &json!({"refresh_token": token}));
    let responses = futures_util::future::join_all((0..20).map(|_| refresh(&ada.refresh_token).ok())).await;
    for response in &responses {
        platform.rest().with_token(response["access_token"].as_str().unwrap()).get("/v1/users/me").ok().await;
    }
    let next = refresh(responses[7]["refresh_token"].as_str().unwrap()).ok().await;
    platform.rest().with_token(next["access_token"].as_str().unwrap()).get("/v1/users/me").ok().await;
}

#[tokio::test]
async fn repeated_guesses_are_throttled_with_retry_after() {
    let platform = Platform::start_with(&[("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "4")]).await;
    let login = |email: &str| platform.rest().post("/v1/auth/login", &json!({"email": email, "password": "wrong"}));
    for n in 0..4 {
        login(&format!("{n}@example.com")).refused(401, "CREDENTIALS_INVALID").await;
    }
    let response = login("4@example.com").send().await;
    response.refused(429, "TOO_MANY_ATTEMPTS");
    assert_eq!(response.header("retry-after"), "1", "{:?}", response.headers);
}
