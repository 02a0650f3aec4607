//! `PUT` and `GET /v1/files/<token>`: the URLs of attached files when they are in a folder of this machine. With an
//! S3-compatible store clients go there instead, and these routes are not there. Like such a store, they answer
//! conditional requests and ranges (RFC 9110, sections 13 and 14), so that a download can be resumed.

use anyhow::Context;
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_files::{Content, Download, Files, Folder, Refused};
use baton_runtime::Env;
use serde_json::json;
use tonic::codegen::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, LAST_MODIFIED,
    },
};
use url::Url;

/// Names folders beside the data for attachments, exports, the ledger and the vault, unless the environment names a store.
pub(crate) fn provide(env: &mut Env, data: &std::path::Path) -> anyhow::Result<()> {
    let folders = [
        ("attachments", "BATON_TASK_ATTACHMENTS_URL"),
        ("exports", "BATON_PRIVACY_EXPORTS_URL"),
        ("ledger", "BATON_LEDGER_URL"),
        ("vault", "BATON_VAULT_URL"),
    ];
    for (name, variable) in folders {
        let folder = std::path::absolute(data.join(name))?;
        let url = Url::from_file_path(folder).ok().context("the folder of data has no path")?;
        env.set_default(variable, url);
    }
    Ok(())
}

/// The routes, if there is a folder.
pub(crate) fn router(files: &Files) -> Router {
    let Some(folder) = files.folder() else { return Router::new() };
    Router::new().route("/v1/files/{token}", get(give).put(take)).with_state(folder.clone())
}

async fn take(State(folder): State<Folder>, Path(token): Path<String>, headers: HeaderMap, body: Body) -> Response {
    // The file is kept as it was announced, and no coding was.
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let title = "The content has a content coding (Content-Encoding); send it without.";
        let mut response = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, title);
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return response;
    }
    match folder.take(&token, body.into_data_stream()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(why) => refuse(why),
    }
}

async fn give(State(folder): State<Folder>, Path(token): Path<String>, method: Method, headers: HeaderMap) -> Response {
    let Download { size, content_type, disposition, etag, last_modified, content } =
        match folder.give(&token, &method, &headers).await {
            Ok(download) => download,
            Err(why) => return refuse(why),
        };
    let of_file =
        [(CONTENT_TYPE, content_type), (CONTENT_DISPOSITION, disposition), (ACCEPT_RANGES, "bytes".to_owned())];
    let mut response = match content {
        Content::Whole(content) => {
            (of_file, [(CONTENT_LENGTH, size.to_string())], Body::from_stream(content)).into_response()
        }
        Content::Part(part, content) => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            let length = (part.end - part.start).to_string();
            let of_part = [(CONTENT_LENGTH, length), (CONTENT_RANGE, range)];
            (StatusCode::PARTIAL_CONTENT, of_file, of_part, Body::from_stream(content)).into_response()
        }
        Content::Unsatisfiable => {
            let mut response = problem(StatusCode::RANGE_NOT_SATISFIABLE, "The file does not have these bytes.");
            response.headers_mut().extend(header(CONTENT_RANGE, &format!("bytes */{size}")));
            response
        }
        Content::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Content::Failed => {
            return problem(StatusCode::PRECONDITION_FAILED, "The file is not the one that the request expects.");
        }
    };
    response.headers_mut().extend(header(ETAG, &etag));
    response.headers_mut().extend(header(LAST_MODIFIED, &httpdate::fmt_http_date(last_modified)));
    response
}

fn header(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(value).ok().map(|value| (name, value))
}

fn refuse(why: Refused) -> Response {
    let (status, title) = match why {
        Refused::Ticket => (StatusCode::FORBIDDEN, "The URL has expired, or is for another method."),
        Refused::Absent => (StatusCode::NOT_FOUND, "The file is gone."),
        Refused::Size => (StatusCode::PAYLOAD_TOO_LARGE, "The content is not as long as was announced."),
        Refused::Header(malformed) => return problem(StatusCode::BAD_REQUEST, &malformed.to_string()),
        Refused::Broken(error) => {
            tracing::warn!(%error, "a file broke off");
            (StatusCode::SERVICE_UNAVAILABLE, "The file broke off; send it again.")
        }
    };
    problem(status, title)
}

fn problem(status: StatusCode, title: &str) -> Response {
    let problem = json!({"type": "about:blank", "title": title, "status": status.as_u16()});
    (status, [(CONTENT_TYPE, "application/problem+json")], Json(problem)).into_response()
}
