//! `PUT` and `GET /v1/files/<token>`: the URLs of attached files when they are in a folder of this machine. With an
//! S3-compatible store clients go there instead, and these routes are not there.

use anyhow::Context;
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_files::{Download, Files, Folder, Refused};
use baton_runtime::Env;
use serde_json::json;
use tonic::codegen::http::{
    StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
};
use url::Url;

/// Names a folder beside the data, unless the environment names a store.
pub(crate) fn provide(env: &mut Env, data: &std::path::Path) -> anyhow::Result<()> {
    let folder = std::path::absolute(data.join("attachments"))?;
    let url = Url::from_file_path(folder).ok().context("the folder of data has no path")?;
    env.set_default("BATON_TASK_ATTACHMENTS_URL", url);
    Ok(())
}

/// The routes, if there is a folder.
pub(crate) fn router(files: &Files) -> Router {
    let Some(folder) = files.folder() else { return Router::new() };
    Router::new().route("/v1/files/{token}", get(give).put(take)).with_state(folder.clone())
}

async fn take(State(folder): State<Folder>, Path(token): Path<String>, body: Body) -> Response {
    match folder.take(&token, body.into_data_stream()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(why) => refuse(why),
    }
}

async fn give(State(folder): State<Folder>, Path(token): Path<String>) -> Response {
    match folder.give(&token).await {
        Ok(Download { size, content_type, disposition, content }) => {
            let headers =
                [(CONTENT_TYPE, content_type), (CONTENT_LENGTH, size.to_string()), (CONTENT_DISPOSITION, disposition)];
            (headers, Body::from_stream(content)).into_response()
        }
        Err(why) => refuse(why),
    }
}

fn refuse(why: Refused) -> Response {
    let (status, title) = match why {
        Refused::Ticket => (StatusCode::FORBIDDEN, "The URL has expired, or is for another method."),
        Refused::Absent => (StatusCode::NOT_FOUND, "The file is gone."),
        Refused::Size => (StatusCode::PAYLOAD_TOO_LARGE, "The content is not as long as was announced."),
        Refused::Broken(error) => {
            tracing::warn!(%error, "a file broke off");
            (StatusCode::SERVICE_UNAVAILABLE, "The file broke off; send it again.")
        }
    };
    let problem = json!({"type": "about:blank", "title": title, "status": status.as_u16()});
    (status, [(CONTENT_TYPE, "application/problem+json")], Json(problem)).into_response()
}
