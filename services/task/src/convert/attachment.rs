//! Attachments in the contract.

use std::fmt::Write as _;

use baton_proto::{
    baton::task::v1::{self as proto, CreateAttachmentRequest, CreateAttachmentResponse},
    convert::{timestamp, to_struct},
};

use baton_errors::Result;
use baton_files::Upload;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::task::attachment::{AnnouncedFile, Attachment, checksum};

/// A completed attachment.
pub(crate) fn attachment(attachment: Attachment) -> proto::Attachment {
    proto::Attachment {
        id: attachment.id.to_string(),
        task_id: attachment.task_id.to_string(),
        file_name: attachment.file_name,
        content_type: attachment.content_type,
        size_bytes: attachment.size_bytes,
        checksum_sha256: attachment.checksum.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        uploaded_by: attachment.uploaded_by.to_string(),
        created_at: Some(timestamp(attachment.created_at)),
        completed_at: attachment.completed_at.map(timestamp),
    }
}

/// The announced file.
pub(crate) fn announced_file(request: &CreateAttachmentRequest) -> Result<AnnouncedFile> {
    Ok(AnnouncedFile {
        file_name: request.file_name.clone(),
        content_type: request.content_type.to_ascii_lowercase(),
        size_bytes: request.size_bytes,
        checksum: checksum(&request.checksum_sha256)?,
    })
}

/// The response. The copy stored for idempotency has no `upload`, because the URL is a credential.
pub(crate) fn create_response(id: Uuid, expires_at: DateTime<Utc>, upload: Option<Upload>) -> CreateAttachmentResponse {
    let (url, headers) = upload.map(|upload| (upload.url.into(), upload.headers)).unwrap_or_default();
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
    CreateAttachmentResponse {
        id: id.to_string(),
        upload_url: url,
        upload_method: "PUT".to_owned(),
        upload_headers: Some(to_struct(headers.collect())),
        expires_at: Some(timestamp(expires_at)),
    }
}
