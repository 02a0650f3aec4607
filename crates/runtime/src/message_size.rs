//! Adds a reason to the refusal of too large messages.
//!
//! tonic refuses them before any handler or codec runs, with OUT_OF_RANGE and a text. No Baton service returns that
//! code itself.

use baton_proto::codec::too_large;
use http::{HeaderMap, Response};
use tonic::Status;

/// Adds the reason to an OUT_OF_RANGE response without one.
pub(crate) fn explain<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let is_out_of_range = headers.get("grpc-status").is_some_and(|code| code == "11");
    if !is_out_of_range || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let message = Status::from_header_map(headers).map(|status| status.message().to_owned()).unwrap_or_default();
    let limit = message.split_once("the limit is: ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let mut explained = HeaderMap::new();
    if too_large(limit).add_header(&mut explained).is_ok() {
        headers.extend(explained);
    }
    response
}

#[cfg(test)]
mod tests {
    use baton_proto::codec::REQUEST_TOO_LARGE;
    use tokio::net::TcpListener;
    use tonic::{Code, service::Routes, transport::Endpoint};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_types::StatusExt as _;

    use crate::{Shutdown, server};

    #[tokio::test]
    async fn message_over_the_limit_is_refused_with_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        tokio::spawn(server::serve(listener, &[], Routes::default(), std::future::ready(()), shutdown.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let refused = health.check(HealthCheckRequest { service: "x".repeat(5 << 20) }).await.unwrap_err();
        let info = refused.get_details_error_info().unwrap();
        assert_eq!((refused.code(), info.reason.as_str()), (Code::ResourceExhausted, REQUEST_TOO_LARGE));
        assert_eq!(info.metadata["limit"], (4 << 20).to_string());
        assert_eq!(refused.message(), "the message is larger than 4194304 bytes");
        // Other responses are not changed.
        let unknown = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
    }
}
