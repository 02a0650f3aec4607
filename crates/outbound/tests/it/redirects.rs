//! Redirects are responses.

use crate::receiver::{Names, Receiver, Untouched, call, client};

#[tokio::test]
async fn redirects_are_not_followed() {
    let listener = Untouched::listen().await;
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
            let location = format!("http://{host}:{}/", listener.port());
            let response = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let receiver = Receiver::answering(response).await;
            // The client may call the place of the redirect, if it were named by the customer.
            let client = client("127.0.0.0/8,::/0", &Names::default());
            let response = call(&client, &format!("http://127.0.0.1:{}/", receiver.port())).await.unwrap();
            assert_eq!(response.status.as_str(), &status[..3]);
            assert_eq!(response.headers["location"], location);
            assert_eq!(receiver.requests().len(), 1);
        }
    }
    listener.assert("by a redirect").await;
}
